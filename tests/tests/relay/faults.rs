//! Our daemons are killed while mail flows: clients see something temporary, and no mail that was
//! acknowledged is lost.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use nix::sys::signal::Signal;
use testbed::client::ImapError;
use testbed::{Target, TestRelay};

use crate::fixture::{Correspondents, PATIENCE, Person, eventually, messages, unhurried};
use crate::traffic::{Attempt, Progress, RETRY, Traffic, arrive, attempt};

const SENDERS: usize = 3;
const KILLS: usize = 3;
/// Acknowledged messages before each kill.
const MESSAGES_BETWEEN: usize = 20;

/// Whether the relay lets somebody in. That the password is called wrong is an error.
async fn log_in_to_read(target: &Target, person: &Person) -> anyhow::Result<bool> {
    match person.log_in(target).await {
        Ok(_) => Ok(true),
        Err(ImapError::Unavailable { .. }) => Ok(false),
        Err(ImapError::Client(error)) if error.is_disconnect() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Logs in over and over until the traffic may end.
async fn keep_logging_in(
    target: Target,
    person: Person,
    progress: Arc<Progress>,
) -> anyhow::Result<()> {
    while !progress.may_end() {
        log_in_to_read(&target, &person).await?;
        tokio::time::sleep(RETRY).await;
    }
    Ok(())
}

/// Kills the daemon several times while mail flows, and counts what arrives.
async fn killed_during_traffic(daemon: &str) -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let bob = Person::new(target)?;
    bob.log_in(target).await?;
    let mut traffic = Traffic::begin(target, &bob, SENDERS).await?;
    let logins = keep_logging_in(target.clone(), bob.clone(), traffic.progress());
    let logins = tokio::spawn(logins);

    for _ in 0..KILLS {
        traffic.flows(MESSAGES_BETWEEN).await?;
        ensure!(!logins.is_finished(), "a login went wrong");
        let before = relay.signal(daemon, Signal::SIGKILL)?;
        eventually("the next process", || Ok(relay.pid(daemon)? != before)).await?;
    }
    let sent = traffic.end().await?;
    logins.await??;
    arrive(&[target], &bob, &sent).await?;
    relay.stop()
}

#[tokio::test]
async fn killed_filtermail_costs_no_mail() -> anyhow::Result<()> {
    killed_during_traffic("filtermail").await
}

#[tokio::test]
async fn killed_doveauth_costs_no_mail_and_calls_no_password_wrong() -> anyhow::Result<()> {
    killed_during_traffic("doveauth").await
}

#[tokio::test]
async fn a_message_under_way_survives_the_end_of_filtermail() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    let message = testbed::mail::encrypted(&people.alice.address, &people.bob.address, 500_000)?;
    let bytes = message.to_bytes();
    let (first, rest) = bytes.split_at(bytes.len() / 2);

    let smtp = people.begin_content().await?;
    smtp.raw(first).await?;
    let before = relay.signal("filtermail", Signal::SIGTERM)?;
    smtp.raw(rest).await?;
    smtp.raw(b".\r\n").await?;
    let reply = smtp.reply("the reply to the final dot").await?;
    ensure!(reply.code == 250 || reply.is_temporary(), "{reply}");
    let arrived = usize::from(reply.code == 250);

    eventually(
        "the next process",
        || Ok(relay.pid("filtermail")? != before),
    )
    .await?;
    // The new process has its pid before its socket.
    let mut connection = None;
    let next = people.alice.writes_to(&people.bob)?;
    let deadline = Instant::now() + PATIENCE;
    while let Attempt::Again =
        attempt(target, &people.alice, &people.bob, &next, &mut connection).await?
    {
        ensure!(Instant::now() < deadline, "filtermail does not come back");
        tokio::time::sleep(RETRY).await;
    }
    let found = messages(&mut people.inbox, arrived + 1).await?;
    ensure!(
        found.len() == arrived + 1,
        "{} messages, {reply}",
        found.len()
    );
    relay.stop()
}
