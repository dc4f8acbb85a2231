//! What operators do with accounts.

use std::os::unix::fs::symlink;

use super::*;

#[rstest]
#[tokio::test]
async fn a_blocked_account_is_as_it_was_afterwards(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::new(kind);
    let (operator, bob) = (&fixture.operator, parse("bob@x.org"));
    assert_eq!(operator.block(&bob).await.unwrap(), Change::Missing);
    let created = fixture.login("bob@x.org", "a password").await.unwrap();
    let before = fixture.content("bob@x.org");
    let last_login = fixture.day("bob@x.org").await;

    assert_eq!(operator.block(&bob).await.unwrap(), Change::Done);
    assert_eq!(operator.block(&bob).await.unwrap(), Change::Unchanged);
    let outcome = fixture.login("bob@x.org", "a password").await.unwrap();
    assert_eq!(outcome, LoginOutcome::Refused(Refusal::Blocked));
    let policy = fixture.service.policy(&bob).await.unwrap();
    assert!(policy.exists && policy.blocked);
    // A classic relay takes what is there for a hash, of a scheme that Dovecot does not know.
    let stored = fixture.content("bob@x.org");
    assert_eq!(stored, [b"{BLOCKED}", before.as_slice()].concat());
    assert_eq!(fixture.day("bob@x.org").await, last_login);

    assert_eq!(operator.unblock(&bob).await.unwrap(), Change::Done);
    assert_eq!(operator.unblock(&bob).await.unwrap(), Change::Unchanged);
    assert_eq!(fixture.content("bob@x.org"), before);
    let again = fixture.login("bob@x.org", "a password").await.unwrap();
    assert!(matches!((created, again),
        (LoginOutcome::Created(one), LoginOutcome::Existing(other)) if one == other));
    assert!(!fixture.service.policy(&bob).await.unwrap().blocked);
    if kind == Files {
        assert_eq!(fs::read_dir(fixture.home("bob@x.org")).unwrap().count(), 2);
    }
}

#[rstest]
#[case(b"")]
#[case(b"locked by hand\n")]
#[case(b"{SHA512-CRYPT}$6$salt$hash\n")]
#[tokio::test]
async fn whatever_was_in_the_file_comes_back(
    #[case] content: &[u8],
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::new(kind);
    let (operator, bob) = (&fixture.operator, parse("bob@x.org"));
    fixture.put("bob@x.org", content, 10).await;
    assert_eq!(operator.block(&bob).await.unwrap(), Change::Done);
    assert_eq!(fixture.account("bob@x.org").await, Account::Blocked);
    assert_eq!(operator.unblock(&bob).await.unwrap(), Change::Done);
    assert_eq!(fixture.content("bob@x.org"), content);
}

#[rstest]
#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_unblocks_nothing(
    #[values(Files, Postgres)] kind: Kind,
) {
    let fixture = Fixture::new(kind);
    let (operator, bob) = (&fixture.operator, parse("bob@x.org"));
    assert_eq!(operator.set_password(&bob, None).await.unwrap(), None);
    fixture.login("bob@x.org", "a password").await.unwrap();
    let random = operator.set_password(&bob, None).await.unwrap().unwrap();
    let Account::Present(hash) = fixture.account("bob@x.org").await else {
        panic!("no account");
    };
    assert!(verifies(&hash, &random) && !verifies(&hash, "a password"));

    operator.block(&bob).await.unwrap();
    let given = operator
        .set_password(&bob, Some("another password"))
        .await
        .unwrap();
    assert_eq!(given.as_deref(), Some("another password"));
    assert_eq!(fixture.account("bob@x.org").await, Account::Blocked);
    operator.unblock(&bob).await.unwrap();
    let Account::Present(hash) = fixture.account("bob@x.org").await else {
        panic!("no account");
    };
    assert!(verifies(&hash, "another password"));

    let refused = operator
        .set_password(&bob, Some("short"))
        .await
        .unwrap_err();
    assert!(matches!(
        refused,
        OperatorError::Refused(Refusal::PasswordTooShort)
    ));
    assert_eq!(fixture.account("bob@x.org").await, Account::Present(hash));
}

#[rstest]
#[tokio::test]
async fn operators_make_accounts_that_nobody_else_could(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::new(kind);
    let operator = &fixture.operator;
    let made = operator.create(None, None).await.unwrap().unwrap();
    let Account::Present(hash) = fixture.account(&made.address.to_string()).await else {
        panic!("no account");
    };
    assert!(verifies(&hash, &made.password));
    let admin = parse("admin@x.org");
    let made = operator
        .create(Some(&admin), Some("a password"))
        .await
        .unwrap();
    assert_eq!(made.unwrap().password, "a password");
    assert_eq!(operator.create(Some(&admin), None).await.unwrap(), None);
    for (name, refusal) in [
        ("bob@y.org", Refusal::ForeignDomain),
        ("b..b@x.org", Refusal::Name),
        ("a/b@x.org", Refusal::Name),
    ] {
        let refused = operator.create(Some(&parse(name)), None).await.unwrap_err();
        assert!(matches!(refused, OperatorError::Refused(found) if found == refusal));
    }
    assert_eq!(fixture.names().await.len(), 2);
}

#[tokio::test]
async fn a_deleted_account_leaves_nothing_and_can_be_made_anew() {
    let fixture = Fixture::new(Files);
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
        assert_eq!(store.read(&bob).unwrap(), Account::Missing);
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
    let fixture = Fixture::new(Files);
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

#[rstest]
#[tokio::test]
async fn what_is_about_to_expire_can_be_changed_and_stays(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::expiring(kind).await;
    let (operator, bob) = (&fixture.operator, parse("bob@x.org"));
    assert!(operator.details(&bob).await.unwrap().is_some());
    assert_eq!(operator.block(&bob).await.unwrap(), Change::Done);
    assert_eq!(fixture.account("bob@x.org").await, Account::Blocked);
    assert!(!fixture.is_expiring("bob@x.org"));
}

#[tokio::test]
async fn a_deletion_follows_no_links() {
    let fixture = Fixture::new(Files);
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

#[rstest]
#[tokio::test]
async fn there_is_something_to_know_of_an_account(#[values(Files, Postgres)] kind: Kind) {
    let fixture = Fixture::new(kind);
    let (operator, bob) = (&fixture.operator, parse("bob@x.org"));
    assert_eq!(operator.details(&bob).await.unwrap(), None);
    fixture.login("bob@x.org", "a password").await.unwrap();
    let home = fixture.home("bob@x.org");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("maildirsize"), "500S\n70 2\n").unwrap();
    let today = Day::of(SystemTime::now()).number().cast_unsigned();
    let details = operator.details(&bob).await.unwrap().unwrap();
    assert!(matches!(details.account, Account::Present(_)));
    assert!(!details.cleartext);
    assert!((today.saturating_sub(1)..=today).contains(&details.last_login_day));
    assert_eq!(details.bytes_used, Some(70));
}
