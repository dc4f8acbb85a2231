//! The store and the service together, on a temporary directory.

use std::fs::{self, File, FileTimes};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rstest::rstest;
use sha_crypt::{PasswordVerifier as _, ShaCrypt};
use tempfile::TempDir;

use super::deletion::{EXPIRED_FILE, EXPIRING_FILE};
use super::store::Creation;
use super::*;
use crate::Address;
use crate::database::{Database, SCHEMA};
use crate::policy::Policy;
use crate::postgres::{For, Made, NotNow};
use crate::registration::Registration;
use crate::tombstones::{Day, LiveTombstones, Tombstones};

mod fixture;
mod operator;
mod registration;

use fixture::{Files, Fixture, Kind, Postgres};

const DAY: u64 = 24 * 60 * 60;

fn parse(address: &str) -> Address {
    address.parse().unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn verifies(hash: &PasswordHash, password: &str) -> bool {
    let crypt = hash.as_str().strip_prefix("{SHA512-CRYPT}").unwrap();
    ShaCrypt::SHA512
        .verify_password(password.as_bytes(), crypt)
        .is_ok()
}

#[rstest]
#[tokio::test]
async fn the_first_login_creates_and_the_second_finds(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::new(kind);
    let LoginOutcome::Created(hash) = fixture.login("Bob@X.org", "a password").await.unwrap()
    else {
        panic!("not created");
    };
    assert!(verifies(&hash, "a password"));
    let again = fixture.login("bob@x.org", "another one").await.unwrap();
    assert_eq!(again, LoginOutcome::Existing(hash.clone()));

    assert_eq!(fixture.content("bob@x.org"), hash.as_str().as_bytes());
    let today = Day::of(SystemTime::now()).number();
    assert!((0..2).contains(&(today - fixture.day("bob@x.org").await.cast_signed())));
    let home = fixture.home("bob@x.org");
    if kind == Postgres {
        // Directories are Dovecot's business.
        return assert!(!home.exists());
    }
    assert_eq!(
        fs::metadata(&home).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let mut names: Vec<_> = fs::read_dir(&home)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["enforceE2EEincoming", "password"]);
    let modified = fs::metadata(home.join("password"))
        .unwrap()
        .modified()
        .unwrap();
    let seconds = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert_eq!(seconds % DAY, 0);
    assert!(
        SystemTime::now()
            .duration_since(modified)
            .unwrap()
            .as_secs()
            <= DAY
    );
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_first_logins_at_once_exactly_one_wins(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Arc::new(Fixture::new(kind));
    let logins: Vec<_> = (0..50)
        .map(|number| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                let password = format!("password {number}");
                (
                    fixture.login("bob@x.org", &password).await.unwrap(),
                    password,
                )
            })
        })
        .collect();
    let (mut created, mut existing) = (Vec::new(), Vec::new());
    for login in logins {
        match login.await.unwrap() {
            (LoginOutcome::Created(hash), password) => created.push((hash, password)),
            (LoginOutcome::Existing(hash), _) => existing.push(hash),
            (LoginOutcome::Refused(refusal), _) => panic!("refused: {refusal}"),
        }
    }
    assert_eq!((created.len(), existing.len()), (1, 49));
    let (hash, password) = &created[0];
    assert!(verifies(hash, password));
    assert!(existing.iter().all(|other| other == hash));
}

#[test]
fn of_processes_that_write_at_once_exactly_one_wins() {
    let fixture = Fixture::new(Files);
    let (store, address) = (fixture.service.store(), parse("bob@x.org"));
    let create = |number: usize| {
        let hash = PasswordHash::parse(format!("{{PLAIN}}{number}").as_bytes()).unwrap();
        let creation = store.create(&address, &hash, SystemTime::now()).unwrap();
        (creation, hash)
    };
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|number| scope.spawn(move || create(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    let winners: Vec<_> = results
        .iter()
        .filter(|(creation, _)| *creation == Creation::Created)
        .collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(
        store.read(&address).unwrap(),
        Account::Present(winners[0].1.clone())
    );
}

/// As hosts do that have not heard of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_hosts_that_write_at_once_exactly_one_wins() {
    let fixture = Fixture::new(Postgres);
    let hosts: Vec<_> = (0..10)
        .map(|number| {
            let host = fixture.another_host();
            tokio::spawn(async move {
                let hash = PasswordHash::parse(format!("{{PLAIN}}{number}").as_bytes()).unwrap();
                let (address, now) = (parse("bob@x.org"), SystemTime::now());
                let made = host.create(&address, &hash, now, For::Anybody).await;
                (made.unwrap(), hash)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for host in hosts {
        match host.await.unwrap() {
            (Made::Created(stored), hash) => {
                assert_eq!(stored.account, Account::Present(hash.clone()));
                winners.push(hash);
            }
            (other, _) => assert_eq!(other, Made::Exists),
        }
    }
    assert_eq!(winners.len(), 1);
    let there = fixture.account("bob@x.org").await;
    assert_eq!(there, Account::Present(winners[0].clone()));
}

#[tokio::test]
async fn an_address_whose_old_mailbox_is_still_there_has_to_wait() {
    let fixture = Fixture::new(Postgres);
    let (rows, bob) = (fixture.another_host(), parse("bob@x.org"));
    fixture.login("bob@x.org", "a password").await.unwrap();
    let deleted = rows.delete(&bob, None, false).await.unwrap();
    assert_eq!(deleted.map(|place| place.backend), Some(None));
    let early = fixture.login("bob@x.org", "a password").await;
    assert!(matches!(early, Err(LoginError::NotNow(NotNow::Leaving))));
    assert_eq!(fixture.account("bob@x.org").await, Account::Missing);
    rows.mailbox_is_gone(&bob).await.unwrap();
    let later = fixture.login("bob@x.org", "a password").await.unwrap();
    assert!(matches!(later, LoginOutcome::Created(_)));
    // With a tombstone it is a refusal from the first moment on.
    let until = Day::of(SystemTime::now()).plus(1);
    rows.delete(&bob, Some(until), false).await.unwrap();
    let refused = fixture.login("bob@x.org", "a password").await.unwrap();
    assert_eq!(refused, LoginOutcome::Refused(Refusal::Deleted));
}

#[rstest]
#[case("bob@y.org", "a password", Refusal::ForeignDomain)]
#[case("b@x.org", "a password", Refusal::NameLength)]
#[case("b..b@x.org", "a password", Refusal::Name)]
#[case("../bob@x.org", "a password", Refusal::Name)]
#[case("bob@x.org", "short", Refusal::PasswordTooShort)]
#[tokio::test]
async fn a_refused_login_leaves_nothing(
    #[case] address: &str,
    #[case] password: &str,
    #[case] refusal: Refusal,
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::new(kind);
    let outcome = fixture.login(address, password).await.unwrap();
    assert_eq!(outcome, LoginOutcome::Refused(refusal));
    assert_eq!(
        fs::read_dir(fixture.dir.path().join("mail"))
            .unwrap()
            .count(),
        0
    );
}

#[rstest]
#[tokio::test]
async fn an_account_outlives_the_rules_it_was_made_by(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::new(kind);
    let content = b"{SHA512-CRYPT}$6$salt$hash\n";
    fixture.put("o+ld..name@x.org", content, 10).await;
    fs::write(fixture.dir.path().join("nocreate"), "").unwrap();
    let outcome = fixture.login("o+ld..name@x.org", "x").await.unwrap();
    assert!(
        matches!(outcome, LoginOutcome::Existing(hash) if hash.as_str().ends_with("$salt$hash"))
    );
}

#[rstest]
#[tokio::test]
async fn creation_can_be_switched_off_and_on(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::new(kind);
    let switch = fixture.dir.path().join("nocreate");
    fs::write(&switch, "").unwrap();
    let refused = LoginOutcome::Refused(Refusal::SwitchedOff);
    assert_eq!(
        fixture.login("bob@x.org", "a password").await.unwrap(),
        refused
    );
    fs::remove_file(switch).unwrap();
    let outcome = fixture.login("bob@x.org", "a password").await.unwrap();
    assert!(matches!(outcome, LoginOutcome::Created(_)));
}

#[rstest]
#[tokio::test]
async fn creation_has_a_rate_and_existing_accounts_have_none(
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::with(kind, |_| {}, HostLimits::default(), Some(2));
    for address in ["bob1@x.org", "bob2@x.org"] {
        let outcome = fixture.login(address, "a password").await.unwrap();
        assert!(matches!(outcome, LoginOutcome::Created(_)));
    }
    let over = fixture.login("bob3@x.org", "a password").await.unwrap();
    assert_eq!(over, LoginOutcome::Refused(Refusal::Rate));
    assert_eq!(fixture.account("bob3@x.org").await, Account::Missing);
    let existing = fixture.login("bob1@x.org", "a password").await.unwrap();
    assert!(matches!(existing, LoginOutcome::Existing(_)));
}

#[rstest]
#[tokio::test]
async fn a_machine_beyond_its_limits_creates_nothing(#[values(Files, Postgres)] kind: Kind) {
    let limits = HostLimits {
        min_free_disk_space: u64::MAX,
        ..HostLimits::default()
    };
    let fixture = Fixture::with(kind, |_| {}, limits, None);
    let outcome = fixture.login("bob@x.org", "a password").await.unwrap();
    assert_eq!(outcome, LoginOutcome::Refused(Refusal::Disk));
}

#[tokio::test]
async fn a_mailbox_without_password_file_becomes_an_account_and_keeps_its_mail() {
    let fixture = Fixture::new(Files);
    let home = fixture.home("bob@x.org");
    fs::create_dir_all(home.join("cur")).unwrap();
    fs::write(home.join("cur/1"), "mail").unwrap();
    assert_eq!(fixture.account("bob@x.org").await, Account::Missing);
    let outcome = fixture.login("bob@x.org", "a password").await.unwrap();
    assert!(matches!(outcome, LoginOutcome::Created(_)));
    assert_eq!(fs::read(home.join("cur/1")).unwrap(), b"mail");
}

#[rstest]
#[case(b"")]
#[case(b"\n")]
#[case(b"blocked by the operator")]
#[case(b"\xff\xfe")]
#[case(&[b'x'; 5000])]
#[tokio::test]
async fn a_password_file_without_hash_locks_the_account(
    #[case] content: &[u8],
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::new(kind);
    fixture.put("bob@x.org", content, 10).await;
    let outcome = fixture.login("bob@x.org", "a password").await.unwrap();
    assert_eq!(outcome, LoginOutcome::Refused(Refusal::Locked));
    assert_eq!(fixture.content("bob@x.org"), content);
    assert!(
        fixture
            .service
            .policy(&parse("bob@x.org"))
            .await
            .unwrap()
            .exists
    );
}

#[rstest]
#[tokio::test]
async fn a_new_hash_in_the_file_holds_at_once(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::new(kind);
    fixture.login("bob@x.org", "a password").await.unwrap();
    fixture.put("bob@x.org", b"{PLAIN}other", 10).await;
    let outcome = fixture.login("bob@x.org", "a password").await.unwrap();
    assert!(matches!(outcome, LoginOutcome::Existing(hash) if hash.as_str() == "{PLAIN}other"));
    match kind {
        Files => fs::remove_file(fixture.home("bob@x.org").join("password")).unwrap(),
        Postgres => drop(fixture.sql("DELETE FROM accounts")),
    }
    assert_eq!(fixture.account("bob@x.org").await, Account::Missing);
}

#[tokio::test]
async fn a_killed_creation_leaves_no_account_and_its_remains_go() {
    let fixture = Fixture::new(Files);
    let home = fixture.home("bob@x.org");
    fs::create_dir(&home).unwrap();
    let remains = home.join("password.new.0123456789abcdef");
    fs::write(&remains, "{PLAIN}half").unwrap();
    assert_eq!(fixture.account("bob@x.org").await, Account::Missing);
    assert_eq!(fixture.service.store().accounts().unwrap().count(), 0);

    // As young as this it may be of another process that is at it.
    let outcome = fixture.login("bob@x.org", "a password").await.unwrap();
    assert!(matches!(outcome, LoginOutcome::Created(_)));
    assert!(remains.exists());

    fs::remove_file(home.join("password")).unwrap();
    let later = SystemTime::now() + Duration::from_secs(3600);
    let hash = PasswordHash::parse(b"{PLAIN}later").unwrap();
    let created = fixture
        .service
        .store()
        .create(&parse("bob@x.org"), &hash, later);
    assert_eq!(created.unwrap(), Creation::Created);
    assert!(!remains.exists());
}

#[tokio::test]
async fn a_broken_store_is_an_error_and_no_refusal() {
    let fixture = Fixture::new(Files);
    fs::write(fixture.home("bob@x.org"), "a file").unwrap();
    fs::create_dir_all(fixture.home("eve@x.org").join("password")).unwrap();
    for address in ["bob@x.org", "eve@x.org"] {
        let error = fixture.login(address, "a password").await.unwrap_err();
        assert!(
            !error.to_string().contains(address),
            "names the address: {error}"
        );
    }
    assert!(fixture.service.policy(&parse("bob@x.org")).await.is_err());
    let noted = fixture
        .service
        .store()
        .record_login(&parse("bob@x.org"), SystemTime::now());
    assert!(noted.is_err());
}

#[tokio::test]
async fn a_missing_mailboxes_directory_is_an_error() {
    let fixture = Fixture::new(Files);
    fs::remove_dir(fixture.dir.path().join("mail")).unwrap();
    assert!(fixture.login("bob@x.org", "a password").await.is_err());
    let (service, bob) = (&fixture.service, parse("bob@x.org"));
    assert!(service.account(&bob).await.is_err());
    assert!(service.policy(&bob).await.is_err());
    assert!(
        service
            .store()
            .record_login(&bob, SystemTime::now())
            .is_err()
    );
    assert!(service.store().accounts().is_err());
    assert!(!fixture.dir.path().join("mail").exists());
}

#[test]
fn a_creation_that_fails_leaves_no_account_and_no_remains() {
    let fixture = Fixture::new(Files);
    let home = fixture.home("bob@x.org");
    fs::create_dir_all(home.join("enforceE2EEincoming")).unwrap();
    let hash = PasswordHash::parse(b"{PLAIN}x").unwrap();
    let store = fixture.service.store();
    let created = store.create(&parse("bob@x.org"), &hash, SystemTime::now());
    assert!(created.is_err());
    assert_eq!(store.read(&parse("bob@x.org")).unwrap(), Account::Missing);
    assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
}

#[rstest]
// Stored, set to, found afterwards.
#[case(10, 12 * DAY + 5000, 12)]
#[case(10, 10 * DAY + 5000, 10)]
#[case(10, 9 * DAY, 10)]
#[tokio::test]
async fn last_logins_are_days_that_move_forward(
    #[case] stored: u64,
    #[case] set: u64,
    #[case] found: u64,
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::new(kind);
    fixture.put("bob@x.org", b"{PLAIN}x", stored).await;
    let note = async |address: &str| fixture.service.record_login(&parse(address), at(set)).await;
    assert!(note("bob@x.org").await.unwrap());
    assert_eq!(fixture.day("bob@x.org").await, found);
    assert!(!note("eve@x.org").await.unwrap());
    assert!(!note("bob@y.org").await.unwrap());
}

#[rstest]
#[case(10 * DAY + 77, 10 * DAY + 5000, 10 * DAY)]
#[case(10 * DAY + 77, 9 * DAY, 10 * DAY + 77)]
fn a_time_of_day_that_other_software_left_goes_with_the_next_login(
    #[case] stored: u64,
    #[case] set: u64,
    #[case] found: u64,
) {
    let fixture = Fixture::new(Files);
    let home = fixture.home("bob@x.org");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("password"), "{PLAIN}x").unwrap();
    let file = File::open(home.join("password")).unwrap();
    file.set_times(FileTimes::new().set_modified(at(stored)))
        .unwrap();
    let store = fixture.service.store();
    assert!(store.record_login(&parse("bob@x.org"), at(set)).unwrap());
    assert_eq!(file.metadata().unwrap().modified().unwrap(), at(found));
}

#[rstest]
#[case("bob@x.org", None, false, Policy { exists: true, cleartext: true, blocked: false, over_quota: false })]
#[case("bob@x.org", None, true, Policy { exists: true, cleartext: false, blocked: false, over_quota: false })]
#[case("BOB+tag@X.org", None, false, Policy { exists: true, cleartext: true, blocked: false, over_quota: false })]
#[case("bob@x.org", Some("500S\n999 2\n"), false, Policy { exists: true, cleartext: true, blocked: false, over_quota: false })]
#[case("bob@x.org", Some("500S\n999 2\n1 1\n"), false, Policy { exists: true, cleartext: true, blocked: false, over_quota: true })]
#[case("bob@x.org", Some("garbage\ngarbage"), false, Policy { exists: true, cleartext: true, blocked: false, over_quota: false })]
#[case("eve@x.org", None, false, Policy::default())]
#[case("bob@y.org", None, false, Policy::default())]
#[case("a/b@x.org", None, false, Policy::default())]
#[tokio::test]
async fn policies(
    #[case] address: &str,
    #[case] quota: Option<&str>,
    #[case] encrypted_only: bool,
    #[case] expected: Policy,
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::new(kind);
    fixture.put("bob@x.org", b"{PLAIN}x", 10).await;
    let home = fixture.home("bob@x.org");
    fs::create_dir_all(&home).unwrap();
    if let Some(quota) = quota {
        fs::write(home.join("maildirsize"), quota).unwrap();
    }
    if encrypted_only {
        match kind {
            Files => fs::write(home.join("enforceE2EEincoming"), "").unwrap(),
            Postgres => drop(fixture.sql("UPDATE accounts SET cleartext = false")),
        }
    }
    assert_eq!(
        fixture.service.policy(&parse(address)).await.unwrap(),
        expected
    );
}

#[rstest]
#[tokio::test]
async fn the_list_has_accounts_and_nothing_else(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::new(kind);
    for address in ["bob@x.org", "eve@x.org"] {
        fixture.put(address, b"{PLAIN}x", 10).await;
    }
    for name in ["Cap@x.org", "notes"] {
        fs::create_dir(fixture.home(name)).unwrap();
        fs::write(fixture.home(name).join("password"), "{PLAIN}x").unwrap();
    }
    fs::create_dir(fixture.home("none@x.org")).unwrap();
    fs::write(fixture.home("file@x.org"), "").unwrap();
    assert_eq!(fixture.names().await, ["bob@x.org", "eve@x.org"]);
}

#[rstest]
#[tokio::test]
async fn the_address_of_a_deleted_account_is_refused_and_an_account_that_is_there_is_not(
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::new(kind);
    fixture.login("bob@x.org", "a password").await.unwrap();
    fixture.lay_tombstone("bob@x.org").await;
    fixture.lay_tombstone("eve@x.org").await;
    let refused = fixture.login("Eve@x.org", "a password").await.unwrap();
    assert_eq!(refused, LoginOutcome::Refused(Refusal::Deleted));
    assert!(!fixture.home("eve@x.org").exists());
    let there = fixture.login("bob@x.org", "a password").await.unwrap();
    assert!(matches!(there, LoginOutcome::Existing(_)));

    match kind {
        Files => fs::write(fixture.dir.path().join("tables"), "broken").unwrap(),
        Postgres => drop(fixture.sql("ALTER TABLE tombstones RENAME TO elsewhere")),
    }
    let unknown = fixture.login("carol@x.org", "a password").await;
    match kind {
        Files => assert!(matches!(unknown, Err(LoginError::Tombstones(_)))),
        Postgres => assert!(matches!(unknown, Err(LoginError::Store(_)))),
    }
    assert_eq!(fixture.account("carol@x.org").await, Account::Missing);
    assert!(!fixture.home("carol@x.org").exists());
}

#[rstest]
#[tokio::test]
async fn a_login_keeps_an_account_that_is_about_to_be_deleted(
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::expiring(kind).await;
    // Who asks about it, or brings mail, finds it as it was, and changes nothing.
    assert!(matches!(
        fixture.account("bob@x.org").await,
        Account::Present(_)
    ));
    let policy = fixture.service.policy(&parse("bob@x.org")).await.unwrap();
    assert!(policy.exists);
    assert_eq!(fixture.names().await, ["bob@x.org"]);
    assert!(fixture.is_expiring("bob@x.org"));

    let found = fixture.login("bob@x.org", "a password").await.unwrap();
    assert!(matches!(found, LoginOutcome::Existing(_)));
    assert_eq!(fixture.day("bob@x.org").await, 1);
    assert!(!fixture.is_expiring("bob@x.org"));
}

#[rstest]
#[tokio::test]
async fn a_login_that_began_before_keeps_it_too(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::expiring(kind).await;
    let address = parse("bob@x.org");
    let noted = fixture.service.record_login(&address, at(5 * DAY + 7));
    assert!(noted.await.unwrap());
    assert_eq!(fixture.day("bob@x.org").await, 5);
    assert!(!fixture.is_expiring("bob@x.org"));
}

#[tokio::test]
async fn while_a_mailbox_is_being_removed_nobody_gets_an_account_in_it() {
    let fixture = Fixture::expiring(Files).await;
    let home = fixture.home("bob@x.org");
    fs::rename(home.join(EXPIRING_FILE), home.join(EXPIRED_FILE)).unwrap();
    assert_eq!(fixture.account("bob@x.org").await, Account::Missing);
    let address = parse("bob@x.org");
    let noted = fixture.service.record_login(&address, at(5 * DAY)).await;
    assert!(!noted.unwrap());
    let refused = fixture.login("bob@x.org", "a password").await;
    assert!(matches!(refused, Err(LoginError::Store(_))), "{refused:?}");
    assert!(!home.join("password").exists());
}
