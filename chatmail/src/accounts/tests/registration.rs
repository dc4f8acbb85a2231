//! Who may make an account.

use super::*;
use crate::invites::{NoGood, Token};
use crate::registration::Answer;

fn is_created(outcome: &LoginOutcome) -> bool {
    matches!(outcome, LoginOutcome::Created(_))
}

#[rstest]
#[tokio::test]
async fn a_closed_relay_makes_no_account_and_keeps_the_old_ones(
    #[values(Files, Postgres)] kind: Kind,
) {
    let closed = |rules: &mut NewAccountRules| rules.registration = Registration::Closed;
    let fixture = Fixture::with(kind, closed, HostLimits::default(), None);
    let hash = PasswordHash::parse(b"{PLAIN}x").unwrap();
    fixture.put("old@x.org", b"{PLAIN}x", 10).await;
    let token = Token::random().unwrap();
    for password in ["a password".to_owned(), token.password("a password")] {
        let outcome = fixture.login("bob@x.org", &password).await.unwrap();
        assert_eq!(outcome, LoginOutcome::Refused(Refusal::Closed));
    }
    assert_eq!(fixture.account("bob@x.org").await, Account::Missing);
    let old = fixture.login("old@x.org", "x").await.unwrap();
    assert_eq!(old, LoginOutcome::Existing(hash));
    let answer = fixture.service.registration(Some(&token)).await.unwrap();
    assert_eq!(answer, Answer::Closed);
}

#[rstest]
#[tokio::test]
async fn a_password_with_an_invite_makes_an_account_and_stays_its_password(
    #[values(Files, Postgres)] kind: Kind,
) {
    let (fixture, token) = Fixture::by_invite(kind, 1).await;
    let password = token.password("a password");
    let LoginOutcome::Created(hash) = fixture.login("bob@x.org", &password).await.unwrap() else {
        panic!("not created");
    };
    assert!(verifies(&hash, &password));
    assert_eq!(fixture.uses_left().await, 0);
    let again = fixture.login("bob@x.org", &password).await.unwrap();
    assert_eq!(again, LoginOutcome::Existing(hash));
    let other = fixture.login("eve@x.org", &password).await.unwrap();
    let refusal = Refusal::Invite(NoGood::UsedUp);
    assert_eq!(other, LoginOutcome::Refused(refusal));
    assert_eq!(fixture.account("eve@x.org").await, Account::Missing);
}

#[rstest]
#[tokio::test]
async fn what_is_no_invite_makes_no_account(#[values(Files, Postgres)] kind: Kind) {
    let (fixture, token) = Fixture::by_invite(kind, 1).await;
    let unknown = Token::random().unwrap();
    for (password, refusal) in [
        ("a password".to_owned(), Refusal::NoInvite),
        (format!("{} a password", token.as_str()), Refusal::NoInvite),
        (token.as_str().to_owned(), Refusal::NoInvite),
        // Everybody who has the invite knows what comes before.
        (token.password("short"), Refusal::PasswordTooShort),
        (token.password(""), Refusal::PasswordTooShort),
        (
            unknown.password("a password"),
            Refusal::Invite(NoGood::Unknown),
        ),
    ] {
        let outcome = fixture.login("bob@x.org", &password).await.unwrap();
        assert_eq!(outcome, LoginOutcome::Refused(refusal));
    }
    assert_eq!(fixture.account("bob@x.org").await, Account::Missing);
    assert_eq!(fixture.uses_left().await, 1);

    match fixture.service.postgres() {
        Some(postgres) => assert!(
            postgres
                .postgres()
                .revoke_invite(&token.id())
                .await
                .unwrap()
        ),
        None => assert!(fixture.invite_file().revoke(&token.id()).unwrap()),
    }
    let revoked = fixture
        .login("bob@x.org", &token.password("a password"))
        .await;
    let refusal = Refusal::Invite(NoGood::Unknown);
    assert_eq!(revoked.unwrap(), LoginOutcome::Refused(refusal));
}

#[rstest]
#[tokio::test]
async fn an_open_relay_takes_no_invite(#[values(Files, Postgres)] kind: Kind) {
    let (by_invite, token) = Fixture::by_invite(kind, 1).await;
    let open = Fixture::new(kind);
    let mut service = open
        .service
        .with_invites(by_invite.dir.path().join("tables"));
    if kind == Postgres {
        service = service.with_postgres(by_invite.another_host());
    }
    let password = token.password("x");
    let login = service
        .login(&parse("bob@x.org"), password.as_bytes(), None)
        .await;
    assert!(is_created(&login.unwrap().outcome));
    assert_eq!(by_invite.uses_left().await, 1);
    let answer = service.registration(Some(&token)).await.unwrap();
    assert_eq!(answer, Answer::Open);
}

#[tokio::test]
async fn an_account_that_cannot_be_written_costs_no_use() {
    let (fixture, token) = Fixture::by_invite(Files, 1).await;
    let password = token.password("a password");
    let in_the_way = fixture.home("bob@x.org").join("enforceE2EEincoming");
    fs::create_dir_all(&in_the_way).unwrap();
    assert!(fixture.login("bob@x.org", &password).await.is_err());
    assert_eq!(fixture.uses_left().await, 1);
    fs::remove_dir(&in_the_way).unwrap();
    assert!(is_created(
        &fixture.login("bob@x.org", &password).await.unwrap()
    ));
}

#[tokio::test]
async fn broken_invites_are_an_error_and_no_refusal() {
    let (fixture, token) = Fixture::by_invite(Files, 1).await;
    fs::write(fixture.dir.path().join("tables"), "garbage").unwrap();
    let password = token.password("a password");
    assert!(fixture.login("bob@x.org", &password).await.is_err());
    assert!(fixture.service.registration(Some(&token)).await.is_err());
    assert!(fixture.service.recover_invites().await.is_err());
    // What needs none is not held up.
    let none = fixture.login("bob@x.org", "a password").await.unwrap();
    assert_eq!(none, LoginOutcome::Refused(Refusal::NoInvite));
    fs::remove_file(fixture.dir.path().join("tables")).unwrap();
    let answer = fixture.service.registration(Some(&token)).await.unwrap();
    assert_eq!(answer, Answer::InviteUnknown);
    fixture.service.recover_invites().await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_at_once_as_many_get_an_account_as_there_are_uses(
    #[values(Files, Postgres)] kind: Kind,
) {
    let (fixture, token) = Fixture::by_invite(kind, 3).await;
    let fixture = Arc::new(fixture);
    let logins: Vec<_> = (0..20)
        .map(|number| {
            let (fixture, password) = (Arc::clone(&fixture), token.password("a password"));
            tokio::spawn(async move {
                let address = format!("bob{number}@x.org");
                fixture.login(&address, &password).await.unwrap()
            })
        })
        .collect();
    let mut created = 0;
    for login in logins {
        match login.await.unwrap() {
            LoginOutcome::Created(_) => created += 1,
            other => assert_eq!(
                other,
                LoginOutcome::Refused(Refusal::Invite(NoGood::UsedUp))
            ),
        }
    }
    assert_eq!((created, fixture.uses_left().await), (3, 0));
    assert_eq!(fixture.names().await.len(), 3);
}

#[tokio::test]
async fn a_start_settles_what_a_killed_process_has_left() {
    let (fixture, token) = Fixture::by_invite(Files, 2).await;
    for name in ["made@x.org", "not@x.org"] {
        let mut invites = fixture.invite_file();
        let left = invites.claim(&token, &parse(name), SystemTime::now(), |_| Some(false));
        let _ = left.unwrap().unwrap();
    }
    let hash = PasswordHash::parse(b"{PLAIN}x").unwrap();
    let store = fixture.service.store();
    store
        .create(&parse("made@x.org"), &hash, SystemTime::now())
        .unwrap();
    assert_eq!(fixture.uses_left().await, 0);
    fixture.service.recover_invites().await.unwrap();
    assert_eq!(fixture.uses_left().await, 1);
}

#[rstest]
#[tokio::test]
async fn it_is_known_beforehand_whether_an_account_could_be_made(
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::new(kind);
    assert_eq!(
        fixture.service.registration(None).await.unwrap(),
        Answer::Open
    );
    fs::write(fixture.dir.path().join("nocreate"), "").unwrap();
    assert_eq!(
        fixture.service.registration(None).await.unwrap(),
        Answer::Closed
    );

    let (fixture, token) = Fixture::by_invite(kind, 1).await;
    let asked = |invite| fixture.service.registration(invite);
    assert_eq!(asked(None).await.unwrap(), Answer::InviteNeeded);
    assert_eq!(asked(Some(&token)).await.unwrap(), Answer::Invited);
    let unknown = Token::random().unwrap();
    assert_eq!(asked(Some(&unknown)).await.unwrap(), Answer::InviteUnknown);
    assert_eq!(fixture.uses_left().await, 1);

    let full = HostLimits {
        min_free_disk_space: u64::MAX,
        ..HostLimits::default()
    };
    let fixture = Fixture::with(kind, |_| {}, full, None);
    assert_eq!(
        fixture.service.registration(None).await.unwrap(),
        Answer::Busy
    );
}

#[rstest]
#[tokio::test]
async fn a_network_has_a_rate_of_its_own(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::with(kind, |_| {}, HostLimits::default(), Some(3));
    let service = fixture.service.with_network_rate(NonZeroU32::new(1));
    let login = async |name: &str, client: Option<&str>| {
        let client = client.map(|client| client.parse().unwrap());
        let login = service.login(&parse(name), b"a password", client).await;
        let login = login.map(|login| login.outcome);
        login.unwrap()
    };
    let refused = LoginOutcome::Refused(Refusal::NetworkRate);
    assert!(is_created(&login("bob1@x.org", Some("192.0.2.1")).await));
    for number in 2..9 {
        let name = format!("bob{number}@x.org");
        assert_eq!(login(&name, Some("192.0.2.2")).await, refused);
    }
    // Who is refused takes nothing from the others, and who is there may come in.
    assert!(is_created(&login("bob2@x.org", Some("198.51.100.1")).await));
    assert!(is_created(&login("bob3@x.org", None).await));
    let over = LoginOutcome::Refused(Refusal::Rate);
    assert_eq!(login("bob4@x.org", None).await, over);
    let old = login("bob1@x.org", Some("192.0.2.2")).await;
    assert!(matches!(old, LoginOutcome::Existing(_)));
}
