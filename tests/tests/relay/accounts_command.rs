//! `doveauth accounts` on a relay whose users are there: what an operator changes holds at once, for those who are
//! logged in too.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testbed::client::{Envelope, ImapClient, ImapError};
use testbed::foreign;
use testbed::{Target, TestRelay, binaries};

use crate::fixture::{Outsider, Person, accepted, messages, send, shared_relay, unhurried};

/// What `doveauth` prints as root, as an operator runs it; it must end like this.
pub(crate) fn doveauth(
    target: &Target,
    arguments: &[&str],
    status: i32,
) -> anyhow::Result<Vec<Value>> {
    let output = Command::new(binaries::release("doveauth")?)
        .arg("--config")
        .arg(&target.chatmail_ini)
        .args(arguments)
        .arg("--json")
        .env_remove("JOURNAL_STREAM")
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let ended = output.status.code();
    ensure!(ended == Some(status), "{arguments:?}: {ended:?}, {said}");
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// Does something to one account, whose sessions must then be in this state.
fn accounts(
    target: &Target,
    command: &str,
    person: &Person,
    sessions: &str,
) -> anyhow::Result<Value> {
    let address = person.address.to_string();
    let lines = doveauth(target, &["accounts", command, &address], 0)?;
    let line = lines.into_iter().next().context("no line")?;
    let found = line["sessions"].as_str().unwrap_or("-").to_owned();
    ensure!(found == sessions, "sessions of {command}: {found}");
    Ok(line)
}

/// An error unless the server ends the connection, with or without a word.
pub(crate) async fn is_ended(mut session: ImapClient) -> anyhow::Result<()> {
    match session.connection().read_to_end().await {
        Err(error) if !error.is_disconnect() => Err(error).context("the session goes on"),
        _ => Ok(()),
    }
}

pub(crate) async fn is_refused(target: &Target, person: &Person) -> anyhow::Result<()> {
    match person.log_in(target).await {
        Err(ImapError::AuthenticationFailed { .. }) => Ok(()),
        Err(other) => Err(other).context("not refused as wrong"),
        Ok(_) => anyhow::bail!("let in"),
    }
}

#[tokio::test]
async fn a_blocked_account_is_thrown_out_and_gets_nothing_until_it_is_unblocked()
-> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let mut carol = Outsider::new(&relay).await?;
    let bob = carol.bob.clone();
    let alice = Person::new(target)?;
    let mut submission = alice.submission(target).await?;
    let mut other = alice.inbox(target).await?;
    let session = bob.inbox(target).await?;
    accepted(&carol.send_signed().await?)?;
    messages(&mut carol.inbox, 1).await?;
    let mut sending = bob.submission(target).await?;
    let reply = bob.writes_to(&alice)?;
    let back = Envelope::new(&bob.address, &alice.address);
    accepted(&send(&mut sending, &back, &reply).await?)?;
    messages(&mut other, 1).await?;

    accounts(target, "block", &bob, "ended")?;
    is_ended(session).await?;
    is_refused(target, &bob).await?;
    ensure!(bob.submission(target).await.is_err(), "let in to send");
    let late = send(&mut sending, &back, &reply.renewed()).await?;
    let verdict = late.verdict().to_string();
    ensure!(verdict.starts_with("554 5.7.1"), "{verdict}");
    other.command("NOOP").await?;

    // From outside and from here; the second one can only be sent back.
    carol.smtp = foreign::connect(target).await?;
    let refused = carol.send_signed().await?;
    let verdict = refused.verdict().to_string();
    ensure!(verdict.starts_with("550 5.7.1"), "{verdict}");
    let message = alice.writes_to(&bob)?;
    let envelope = Envelope::new(&alice.address, &bob.address);
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    messages(&mut other, 2).await.context("a report")?;

    accounts(target, "block", &bob, "none")?;
    accounts(target, "unblock", &bob, "-")?;
    let mut inbox = bob.inbox(target).await?;
    ensure!(messages(&mut inbox, 1).await?.len() == 1, "it got mail");
    carol.smtp = foreign::connect(target).await?;
    accepted(&carol.send_signed().await?)?;
    messages(&mut inbox, 2).await?;
    relay.stop()
}

/// What stands in the password file of a blocked account lets nobody in, whoever reads it: Dovecot takes it for
/// a hash of a scheme that it does not know. (Classic relays hand the file's content to Dovecot.)
#[tokio::test]
async fn what_is_stored_of_a_blocked_account_is_no_hash_for_dovecot() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let bob = Person::new(target)?;
    let session = bob.log_in(target).await?;
    let file = target
        .mailboxes_dir
        .join(bob.address.to_string())
        .join("password");
    let verifies = || -> anyhow::Result<bool> {
        let stored = std::fs::read_to_string(&file)?;
        let output = Command::new("doveadm")
            .arg("-c")
            .arg(target.state_dir.join("etc/dovecot.conf"))
            .args(["pw", "-t", &stored, "-p", &bob.password])
            .output()?;
        Ok(output.status.success() && output.stdout.ends_with(b"(verified)\n"))
    };
    ensure!(verifies()?, "the hash of an account");
    accounts(target, "block", &bob, "ended")?;
    is_ended(session).await?;
    ensure!(!verifies()?, "the hash of a blocked account");
    accounts(target, "unblock", &bob, "-")?;
    ensure!(verifies()?, "the hash of an unblocked account");
    Ok(())
}

#[tokio::test]
async fn a_new_password_throws_out_who_has_the_old_one() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let bob = Person::new(target)?;
    let session = bob.inbox(target).await?;
    let changed = accounts(target, "passwd", &bob, "ended")?;
    is_ended(session).await?;
    is_refused(target, &bob).await?;
    let password = changed["password"].as_str().context("no password")?;
    let bob = Person {
        password: password.to_owned(),
        ..bob
    };
    bob.log_in(target).await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_account_is_gone_and_its_address_nobody_elses() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let mut carol = Outsider::new(&relay).await?;
    let bob = carol.bob.clone();
    let session = bob.inbox(target).await?;
    accepted(&carol.send_signed().await?)?;
    messages(&mut carol.inbox, 1).await?;

    accounts(target, "delete", &bob, "ended")?;
    is_ended(session).await?;
    let home = target.mailboxes_dir.join(bob.address.to_string());
    ensure!(!home.exists(), "the mailbox is there");
    carol.smtp = foreign::connect(target).await?;
    let refused = carol.send_signed().await?;
    ensure!(!refused.is_accepted(), "mail for nobody is taken");
    let address = bob.address.to_string();
    doveauth(target, &["accounts", "delete", &address], 1)?;
    // Nobody takes over the address, but at the operator's word.
    is_refused(target, &bob).await?;
    let made = doveauth(target, &["accounts", "create", &address], 0)?;
    let password = made[0]["password"].as_str().context("no password")?;
    let password = password.to_owned();
    let mut anew = Person { password, ..bob }.log_in(target).await?;
    ensure!(anew.select("INBOX").await?.exists == 0, "old mail");
    Ok(())
}

#[tokio::test]
async fn an_account_that_an_operator_makes_is_one() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let target = &relay.target;
    let made = doveauth(target, &["accounts", "create"], 0)?;
    let text = |name: &str| made[0][name].as_str().map(str::to_owned);
    let person = Person {
        address: text("address").context("no address")?.parse()?,
        password: text("password").context("no password")?,
    };
    let mut inbox = person.inbox(target).await?;
    let alice = Person::new(target)?;
    let mut submission = alice.submission(target).await?;
    let envelope = Envelope::new(&alice.address, &person.address);
    let message = alice.writes_to(&person)?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    messages(&mut inbox, 1).await?;
    let address = person.address.to_string();
    let shown = doveauth(target, &["accounts", "show", &address], 0)?;
    ensure!(shown[0]["state"] == "active", "{shown:?}");
    Ok(())
}
