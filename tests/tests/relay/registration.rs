//! The first login makes the account, once, and what may not have one gets none.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use testbed::client::{ImapClient, ImapError};
use testbed::{Target, TestRelay};
use tokio::task::JoinSet;

use crate::fixture::{Person, config, eventually, random_name, shared_relay};

const DAY: u64 = 86_400;

/// Where an account's password is kept.
fn password_file(target: &Target, address: &str) -> PathBuf {
    target.mailboxes_dir.join(address).join("password")
}

fn today() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(now.as_secs() / DAY)
}

/// An error unless the login was refused as wrong, not as something to try again.
fn refused<T>(login: Result<T, ImapError>, what: &str) -> anyhow::Result<()> {
    match login {
        Ok(_) => anyhow::bail!("{what}: let in"),
        Err(ImapError::AuthenticationFailed { .. }) => Ok(()),
        Err(other) => Err(other).with_context(|| what.to_owned()),
    }
}

#[tokio::test]
async fn the_first_login_leaves_what_a_classic_relay_leaves() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let alice = Person::new(target)?;
    let day_before = today()?;
    alice.log_in(target).await?;

    let path = password_file(target, &alice.address.to_string());
    let hash = fs::read_to_string(&path)?;
    let parameters = hash
        .strip_prefix("{SHA512-CRYPT}$6$")
        .with_context(|| format!("not SHA512-CRYPT: {hash}"))?;
    // crypt(3): either salt$hash, or rounds=N$salt$hash.
    let salt = parameters.rsplit('$').nth(1).context("no salt")?;
    assert_eq!(salt.len(), 16, "{hash}");

    let file = fs::metadata(&path)?;
    let vmail = nix::unistd::User::from_name("vmail")?.context("no user vmail")?;
    assert_eq!(file.uid(), vmail.uid.as_raw());
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let modified = u64::try_from(file.mtime())?;
    assert_eq!(modified % DAY, 0, "a time of day is nobody's business");
    assert!((day_before..=today()?).contains(&(modified / DAY)));
    Ok(())
}

#[tokio::test]
async fn of_fifty_simultaneous_first_logins_one_wins() -> anyhow::Result<()> {
    const LOGINS: usize = 50;
    let relay = shared_relay()?;
    let target = &relay.target;
    let person = Person::new(target)?;
    // Everybody is connected before anybody logs in.
    let mut clients = Vec::new();
    for _ in 0..LOGINS {
        let client = ImapClient::connect(&target.imap, testbed::client::Security::TLS).await?;
        clients.push((client, random_name(20)));
    }
    let mut logins = JoinSet::new();
    for (mut client, password) in clients {
        let address = person.address.to_string();
        logins.spawn(async move {
            let outcome = client.authenticate(&address, &password).await;
            (password, outcome)
        });
    }
    let mut winners = Vec::new();
    while let Some(login) = logins.join_next().await {
        let (password, outcome) = login?;
        match outcome {
            Ok(()) => winners.push(password),
            refusal => refused(refusal, "one of fifty")?,
        }
    }
    assert_eq!(winners.len(), 1, "exactly one password is the account's");
    let winner = Person {
        password: winners.remove(0),
        ..person
    };
    winner.log_in(target).await?;
    Ok(())
}

#[tokio::test]
async fn names_and_passwords_that_may_not_have_an_account() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let domain = &target.domain;
    let good = random_name(20);
    let short = random_name(8);
    let full_length = random_name(9);
    let cases = [
        ("short password", format!("{full_length}@{domain}"), &short),
        ("short name", format!("{}@{domain}", random_name(8)), &good),
        ("long name", format!("{}@{domain}", random_name(10)), &good),
        (
            "two dots",
            format!("{}..{}@{domain}", random_name(4), random_name(3)),
            &good,
        ),
        (
            "leading dot",
            format!(".{}@{domain}", random_name(8)),
            &good,
        ),
        (
            "trailing dot",
            format!("{}.@{domain}", random_name(8)),
            &good,
        ),
        ("plus", format!("{}+ab@{domain}", random_name(6)), &good),
        (
            "exclamation mark",
            format!("{}!@{domain}", random_name(8)),
            &good,
        ),
        ("slash", format!("{}/ab@{domain}", random_name(6)), &good),
        (
            "way up",
            format!("../../{}@{domain}", random_name(3)),
            &good,
        ),
        ("blank", format!("{} ab@{domain}", random_name(6)), &good),
        ("percent", format!("{}%u@{domain}", random_name(7)), &good),
        ("umlaut", format!("{}ü@{domain}", random_name(8)), &good),
        ("reserved name", format!("webmaster@{domain}"), &good),
        (
            "foreign domain",
            format!("{}@elsewhere.test", random_name(9)),
            &good,
        ),
        ("subdomain", format!("{}@a.{domain}", random_name(9)), &good),
        ("no domain", random_name(9), &good),
        (
            "two domains",
            format!("{}@{domain}@{domain}", random_name(9)),
            &good,
        ),
        ("no name", format!("@{domain}"), &good),
    ];
    // Each refusal takes Dovecot two seconds: all at once.
    let mut logins = JoinSet::new();
    for (what, address, password) in cases {
        let (imap, password) = (target.imap.clone(), password.clone());
        logins.spawn(async move {
            let login = ImapClient::login(&imap, &address, &password).await;
            (what, address, login.map(|_| ()))
        });
    }
    while let Some(login) = logins.join_next().await {
        let (what, address, login) = login?;
        refused(login, what)?;
        let path = password_file(target, &address);
        assert!(!path.exists(), "{what}: {} exists", path.display());
    }
    Ok(())
}

#[tokio::test]
async fn while_the_nocreate_file_exists_only_old_accounts_log_in() -> anyhow::Result<()> {
    let relay = TestRelay::start(crate::fixture::unhurried())?;
    let target = &relay.target;
    let old = Person::new(target)?;
    old.log_in(target).await?;

    let switch = config(target)?.nocreate_file;
    fs::write(&switch, "")?;
    let new = Person::new(target)?;
    refused(new.log_in(target).await, "a new account")?;
    assert!(!password_file(target, &new.address.to_string()).exists());
    old.log_in(target).await?;

    fs::remove_file(&switch)?;
    new.log_in(target).await?;
    relay.stop()
}

#[tokio::test]
async fn a_login_is_recorded_by_its_day() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let alice = Person::new(target)?;
    alice.log_in(target).await?.logout().await?;

    let path = password_file(target, &alice.address.to_string());
    let before = SystemTime::now() - Duration::from_secs(40 * DAY);
    fs::File::options()
        .write(true)
        .open(&path)?
        .set_modified(before)?;
    let day_before = today()?;
    alice.log_in(target).await?.logout().await?;

    // Dovecot reports the login beside the session.
    let is_recorded = || {
        let modified = u64::try_from(fs::metadata(&path)?.mtime())?;
        Ok((day_before..=today()?).contains(&(modified / DAY)) && modified.is_multiple_of(DAY))
    };
    eventually("today's midnight in the password file", is_recorded).await
}

#[tokio::test]
async fn an_address_at_an_ip_address_is_an_account_like_any_other() -> anyhow::Result<()> {
    let options = testbed::RelayOptions {
        kind: testbed::DomainKind::IpLiteral.into(),
        ..crate::fixture::unhurried()
    };
    let relay = TestRelay::start(options)?;
    let target = &relay.target;
    ensure!(target.domain.starts_with("[127."), "{}", target.domain);
    let mut people = crate::fixture::Correspondents::new(target).await?;
    people.send_good(0).await?;
    assert!(password_file(target, &people.alice.address.to_string()).exists());
    relay.stop()
}
