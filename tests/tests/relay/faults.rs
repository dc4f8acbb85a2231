//! Our daemons are killed while mail flows: clients see something temporary, and no mail that was
//! acknowledged is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use testbed::client::{ClientError, Envelope, ImapError, Security, SmtpClient};
use testbed::mail::Message;
use testbed::{Target, TestRelay};
use tokio::task::JoinSet;

use crate::fixture::{Correspondents, PATIENCE, Person, eventually, messages, send, unhurried};

const SENDERS: usize = 3;
const KILLS: usize = 3;
/// Acknowledged messages before each kill.
const MESSAGES_BETWEEN: usize = 20;
/// Messages of each sender after the last kill.
const MESSAGES_AFTERWARDS: usize = 5;

/// How long a client waits before it tries again.
const RETRY: Duration = Duration::from_millis(50);

/// What became of one attempt to send.
enum Attempt {
    Acknowledged,
    /// A temporary reply, or the connection is gone.
    Again,
}

/// Tries once, with a connection of its own unless the last one still is good.
async fn attempt(
    target: &Target,
    sender: &Person,
    recipient: &Person,
    message: &Message,
    connection: &mut Option<SmtpClient>,
) -> anyhow::Result<Attempt> {
    let mut client = match connection.take() {
        Some(client) => client,
        None => match log_in_to_send(target, sender).await? {
            Some(client) => client,
            None => return Ok(Attempt::Again),
        },
    };
    let envelope = Envelope::new(&sender.address, &recipient.address);
    match send(&mut client, &envelope, message).await {
        Ok(transaction) if transaction.is_accepted() => {
            *connection = Some(client);
            Ok(Attempt::Acknowledged)
        }
        Ok(transaction) if transaction.verdict().is_temporary() => {
            *connection = Some(client);
            Ok(Attempt::Again)
        }
        Ok(transaction) => bail!("refused for good: {}", transaction.verdict()),
        Err(error) if error.is_disconnect() => Ok(Attempt::Again),
        Err(error) => Err(error.into()),
    }
}

/// `None` when the relay is in trouble. While nobody answers Dovecot it reports a temporary failure,
/// for which Postfix up to 3.7 has no other code than 535: what is temporary shows over IMAP, and
/// here in that the same password is let in later.
async fn log_in_to_send(target: &Target, person: &Person) -> anyhow::Result<Option<SmtpClient>> {
    let outcome = async {
        let mut client = SmtpClient::connect(&target.smtps, Security::TLS).await?;
        client.hello().await?;
        let reply = client
            .auth_plain(&person.address.to_string(), &person.password)
            .await?;
        Ok::<_, ClientError>((client, reply))
    };
    match outcome.await {
        Ok((client, reply)) if reply.code == 235 => Ok(Some(client)),
        Ok((_, reply)) if reply.is_temporary() || reply.code == 535 => Ok(None),
        Ok((_, reply)) => bail!("the right password was answered with {reply}"),
        Err(error) if error.is_disconnect() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As [`log_in_to_send`], over IMAP. That the password is called wrong is an error.
async fn log_in_to_read(target: &Target, person: &Person) -> anyhow::Result<bool> {
    match person.log_in(target).await {
        Ok(_) => Ok(true),
        Err(ImapError::Unavailable { .. }) => Ok(false),
        Err(ImapError::Client(error)) if error.is_disconnect() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What the tasks of one test share.
#[derive(Default)]
struct Traffic {
    acknowledged: AtomicUsize,
    /// Everything that was to happen during the traffic has happened.
    may_end: AtomicBool,
}

impl Traffic {
    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn may_end(&self) -> bool {
        self.may_end.load(Ordering::Relaxed)
    }
}

/// Sends until the traffic may end, and then some; each message until it is acknowledged.
async fn keep_sending(
    target: Target,
    sender: Person,
    recipient: Person,
    traffic: Arc<Traffic>,
) -> anyhow::Result<Vec<String>> {
    let mut connection = None;
    let template = sender.writes_to(&recipient)?;
    let mut ids = Vec::new();
    let mut left = MESSAGES_AFTERWARDS;
    while left > 0 {
        let message = template.clone().renewed();
        let deadline = Instant::now() + PATIENCE;
        // Each third message is sent on a new connection, so that there are logins on the way.
        if ids.len().is_multiple_of(3) {
            connection = None;
        }
        while let Attempt::Again =
            attempt(&target, &sender, &recipient, &message, &mut connection).await?
        {
            ensure!(Instant::now() < deadline, "a message cannot be sent");
            tokio::time::sleep(RETRY).await;
        }
        let id = message.header("Message-ID").context("no Message-ID")?;
        ids.push(id.to_owned());
        traffic.acknowledged.fetch_add(1, Ordering::Relaxed);
        if traffic.may_end() {
            left -= 1;
        }
    }
    Ok(ids)
}

/// Logs in over and over until the traffic may end.
async fn keep_logging_in(
    target: Target,
    person: Person,
    traffic: Arc<Traffic>,
) -> anyhow::Result<()> {
    while !traffic.may_end() {
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
    let traffic = Arc::new(Traffic::default());
    let mut sending = JoinSet::new();
    for _ in 0..SENDERS {
        let alice = Person::new(target)?;
        alice.log_in(target).await?;
        let share = Arc::clone(&traffic);
        sending.spawn(keep_sending(target.clone(), alice, bob.clone(), share));
    }
    let logins = keep_logging_in(target.clone(), bob.clone(), Arc::clone(&traffic));
    let logins = tokio::spawn(logins);

    for _ in 0..KILLS {
        let enough = traffic.acknowledged() + MESSAGES_BETWEEN;
        let flows = || {
            // Whoever stops before the end has met something that must not happen.
            ensure!(
                sending.len() == SENDERS && !logins.is_finished(),
                "a client gave up"
            );
            Ok(traffic.acknowledged() >= enough)
        };
        if let Err(error) = eventually("traffic", flows).await {
            while let Some(ended) = sending.try_join_next() {
                ended?.context("sending")?;
            }
            return Err(error);
        }
        let before = relay.signal(daemon, Signal::SIGKILL)?;
        eventually("the next process", || Ok(relay.pid(daemon)? != before)).await?;
    }
    traffic.may_end.store(true, Ordering::Relaxed);

    let mut sent = BTreeSet::new();
    while let Some(ids) = sending.join_next().await {
        sent.extend(ids??);
    }
    logins.await??;
    assert_eq!(sent.len(), traffic.acknowledged());
    arrive(target, &bob, &sent).await?;
    relay.stop()
}

/// Waits until each acknowledged message is in the inbox.
async fn arrive(target: &Target, person: &Person, sent: &BTreeSet<String>) -> anyhow::Result<()> {
    let mut inbox = person.inbox(target).await?;
    let found: BTreeSet<String> = messages(&mut inbox, sent.len())
        .await?
        .iter()
        .filter_map(|message| {
            let text = std::str::from_utf8(&message.message).ok()?;
            let id = text.split("\r\nMessage-ID: ").nth(1)?;
            Some(id.split("\r\n").next()?.to_owned())
        })
        .collect();
    let lost: Vec<_> = sent.difference(&found).collect();
    ensure!(lost.is_empty(), "acknowledged, but lost: {lost:?}");
    Ok(())
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
