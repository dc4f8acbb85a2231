//! What operators do with accounts.

use std::os::unix::fs::symlink;

use super::*;

impl Fixture {
    fn operator(&self) -> Operator {
        let text = format!(
            "[params]\nmail_domain = x.org\nmailboxes_dir = {}\n",
            self.dir.path().join("mail").display()
        );
        let (config, _) = crate::Config::parse(&text, "chatmail.ini".as_ref()).unwrap();
        Operator::from_config(&config)
    }

    fn password_file(&self, address: &str) -> Vec<u8> {
        fs::read(self.home(address).join("password")).unwrap()
    }
}

#[tokio::test]
async fn a_blocked_account_is_as_it_was_afterwards() {
    let fixture = Fixture::new();
    let (store, bob) = (fixture.service.store(), parse("bob@x.org"));
    assert_eq!(store.block(&bob).unwrap(), Change::Missing);
    let created = fixture.login("bob@x.org", "a password").await.unwrap();
    let before = fixture.password_file("bob@x.org");
    let day = || {
        let file = fs::metadata(fixture.home("bob@x.org").join("password"));
        file.unwrap().modified().unwrap()
    };
    let last_login = day();

    assert_eq!(store.block(&bob).unwrap(), Change::Done);
    assert_eq!(store.block(&bob).unwrap(), Change::Unchanged);
    let outcome = fixture.login("bob@x.org", "a password").await.unwrap();
    assert_eq!(outcome, LoginOutcome::Refused(Refusal::Blocked));
    let policy = fixture.service.policy(&bob).await.unwrap();
    assert!(policy.exists && policy.blocked);
    // A classic relay takes what is there for a hash, of a scheme that Dovecot does not know.
    let stored = fixture.password_file("bob@x.org");
    assert_eq!(stored, [b"{BLOCKED}", before.as_slice()].concat());
    assert_eq!(day(), last_login);

    assert_eq!(store.unblock(&bob).unwrap(), Change::Done);
    assert_eq!(store.unblock(&bob).unwrap(), Change::Unchanged);
    assert_eq!(fixture.password_file("bob@x.org"), before);
    let again = fixture.login("bob@x.org", "a password").await.unwrap();
    assert!(matches!((created, again),
        (LoginOutcome::Created(one), LoginOutcome::Existing(other)) if one == other));
    assert!(!fixture.service.policy(&bob).await.unwrap().blocked);
    assert_eq!(fs::read_dir(fixture.home("bob@x.org")).unwrap().count(), 2);
}

#[rstest]
#[case(b"")]
#[case(b"locked by hand\n")]
#[case(b"{SHA512-CRYPT}$6$salt$hash\n")]
fn whatever_was_in_the_file_comes_back(#[case] content: &[u8]) {
    let fixture = Fixture::new();
    let (store, bob) = (fixture.service.store(), parse("bob@x.org"));
    fs::create_dir(fixture.home("bob@x.org")).unwrap();
    fs::write(fixture.home("bob@x.org").join("password"), content).unwrap();
    assert_eq!(store.block(&bob).unwrap(), Change::Done);
    assert_eq!(store.read(&bob).unwrap(), Account::Blocked);
    assert_eq!(store.unblock(&bob).unwrap(), Change::Done);
    assert_eq!(fixture.password_file("bob@x.org"), content);
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_unblocks_nothing() {
    let fixture = Fixture::new();
    let (operator, bob) = (fixture.operator(), parse("bob@x.org"));
    assert_eq!(operator.set_password(&bob, None).unwrap(), None);
    fixture.login("bob@x.org", "a password").await.unwrap();
    let random = operator.set_password(&bob, None).unwrap().unwrap();
    let Account::Present(hash) = fixture.account("bob@x.org") else {
        panic!("no account");
    };
    assert!(verifies(&hash, &random) && !verifies(&hash, "a password"));

    fixture.service.store().block(&bob).unwrap();
    let given = operator
        .set_password(&bob, Some("another password"))
        .unwrap();
    assert_eq!(given.as_deref(), Some("another password"));
    assert_eq!(fixture.account("bob@x.org"), Account::Blocked);
    fixture.service.store().unblock(&bob).unwrap();
    let Account::Present(hash) = fixture.account("bob@x.org") else {
        panic!("no account");
    };
    assert!(verifies(&hash, "another password"));

    let refused = operator.set_password(&bob, Some("short")).unwrap_err();
    assert!(matches!(
        refused,
        OperatorError::Refused(Refusal::PasswordTooShort)
    ));
    assert_eq!(fixture.account("bob@x.org"), Account::Present(hash));
}

#[test]
fn operators_make_accounts_that_nobody_else_could() {
    let fixture = Fixture::new();
    let operator = fixture.operator();
    let made = operator.create(None, None).unwrap().unwrap();
    let Account::Present(hash) = fixture.account(&made.address.to_string()) else {
        panic!("no account");
    };
    assert!(verifies(&hash, &made.password));
    let admin = parse("admin@x.org");
    let made = operator.create(Some(&admin), Some("a password")).unwrap();
    assert_eq!(made.unwrap().password, "a password");
    assert_eq!(operator.create(Some(&admin), None).unwrap(), None);
    for (name, refusal) in [
        ("bob@y.org", Refusal::ForeignDomain),
        ("b..b@x.org", Refusal::Name),
        ("a/b@x.org", Refusal::Name),
    ] {
        let refused = operator.create(Some(&parse(name)), None).unwrap_err();
        assert!(matches!(refused, OperatorError::Refused(found) if found == refusal));
    }
    assert_eq!(fixture.service.store().accounts().unwrap().count(), 2);
}

#[tokio::test]
async fn a_deleted_account_leaves_nothing_and_can_be_made_anew() {
    let fixture = Fixture::new();
    let (store, bob) = (fixture.service.store(), parse("bob@x.org"));
    let unexpected = || panic!("there is nothing to reach");
    assert_eq!(store.delete(&bob, unexpected).unwrap(), Change::Missing);
    fixture.login("bob@x.org", "a password").await.unwrap();
    fixture.login("eve@x.org", "a password").await.unwrap();
    let home = fixture.home("bob@x.org");
    fs::create_dir_all(home.join(".folder/cur")).unwrap();
    fs::write(home.join(".folder/cur/1"), "mail").unwrap();

    let mut asked = false;
    let deleted = store.delete(&bob, || {
        asked = true;
        assert_eq!(fixture.account("bob@x.org"), Account::Missing);
        assert!(home.join(".folder/cur/1").exists());
    });
    assert_eq!((deleted.unwrap(), asked), (Change::Done, true));
    let left: Vec<_> = fs::read_dir(fixture.dir.path().join("mail"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["eve@x.org"]);
    let anew = fixture
        .login("bob@x.org", "another password")
        .await
        .unwrap();
    assert!(matches!(anew, LoginOutcome::Created(_)));
    assert!(!home.join(".folder").exists());
}

#[rstest]
#[case::no_account(None)]
#[case::about_to_expire(Some(EXPIRING_FILE))]
#[case::killed_on_the_way(Some(EXPIRED_FILE))]
fn a_mailbox_is_deleted_in_every_state(#[case] file: Option<&str>) {
    let fixture = Fixture::new();
    let home = fixture.home("bob@x.org");
    fs::create_dir_all(home.join("cur")).unwrap();
    if let Some(file) = file {
        fs::write(home.join(file), "{PLAIN}x").unwrap();
    }
    let (store, bob) = (fixture.service.store(), parse("bob@x.org"));
    let mut asked = false;
    let deleted = store.delete(&bob, || {
        asked = true;
        // Nobody gets an account in what is being removed.
        let hash = PasswordHash::parse(b"{PLAIN}x").unwrap();
        assert!(store.create(&bob, &hash, SystemTime::now()).is_err());
    });
    assert_eq!((deleted.unwrap(), asked), (Change::Done, true));
    assert!(!home.exists());
}

#[tokio::test]
async fn what_is_about_to_expire_can_be_changed_and_stays() {
    let fixture = Fixture::new();
    fixture.login("bob@x.org", "a password").await.unwrap();
    let (store, bob) = (fixture.service.store(), parse("bob@x.org"));
    let home = fixture.home("bob@x.org");
    fs::rename(home.join("password"), home.join(EXPIRING_FILE)).unwrap();
    assert!(store.details(&bob).unwrap().is_some());
    assert_eq!(store.block(&bob).unwrap(), Change::Done);
    assert_eq!(fixture.account("bob@x.org"), Account::Blocked);
    assert!(!home.join(EXPIRING_FILE).exists());
}

#[tokio::test]
async fn a_deletion_follows_no_links() {
    let fixture = Fixture::new();
    let store = fixture.service.store();
    let outside = fixture.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for file in ["password", "treasure"] {
        fs::write(outside.join(file), "{PLAIN}x").unwrap();
    }
    symlink(&outside, fixture.home("link@x.org")).unwrap();
    assert!(store.delete(&parse("link@x.org"), || {}).is_err());
    assert!(fixture.home("link@x.org").exists());

    fixture.login("bob@x.org", "a password").await.unwrap();
    symlink(&outside, fixture.home("bob@x.org").join("cur")).unwrap();
    symlink(
        outside.join("treasure"),
        fixture.home("bob@x.org").join("new"),
    )
    .unwrap();
    assert_eq!(
        store.delete(&parse("bob@x.org"), || {}).unwrap(),
        Change::Done
    );
    assert!(!fixture.home("bob@x.org").exists());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
    let up = parse("..@x.org");
    assert_eq!(store.delete(&up, || {}).unwrap(), Change::Missing);
}

#[tokio::test]
async fn there_is_something_to_know_of_an_account() {
    let fixture = Fixture::new();
    let (store, bob) = (fixture.service.store(), parse("bob@x.org"));
    assert_eq!(store.details(&bob).unwrap(), None);
    fixture.login("bob@x.org", "a password").await.unwrap();
    fs::write(
        fixture.home("bob@x.org").join("maildirsize"),
        "500S\n70 2\n",
    )
    .unwrap();
    let file = File::open(fixture.home("bob@x.org").join("password")).unwrap();
    file.set_modified(at(10 * DAY)).unwrap();
    let details = store.details(&bob).unwrap().unwrap();
    assert!(matches!(details.account, Account::Present(_)));
    assert_eq!((details.last_login_day, details.cleartext), (10, false));
    assert_eq!(details.bytes_used, Some(70));
}
