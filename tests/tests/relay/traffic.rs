//! Mail that flows while things are killed: each message is sent until it is acknowledged, and what was
//! acknowledged must arrive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use testbed::Target;
use testbed::client::{ClientError, Envelope, Security, SmtpClient};
use testbed::mail::Message;
use tokio::task::JoinSet;

use crate::fixture::{Person, eventually, send};

/// Messages of each sender after everything has happened.
const MESSAGES_AFTERWARDS: usize = 5;

/// How long a client waits before it tries again.
pub(crate) const RETRY: Duration = Duration::from_millis(50);

/// How long a message may take to be acknowledged, or to arrive: servers are away for a while, Postfix's
/// pauses before it tries again grow, and Dovecot respects for two minutes the lock of a mailbox that a
/// process held when it was killed.
const PATIENCE: Duration = Duration::from_secs(240);

/// Between two looks at a whole inbox.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What became of one attempt to send.
pub(crate) enum Attempt {
    Acknowledged,
    /// A temporary reply, or the connection is gone.
    Again,
}

/// Tries once, with a connection of its own unless the last one still is good.
pub(crate) async fn attempt(
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

/// What those who send have in common.
#[derive(Default)]
pub(crate) struct Progress {
    acknowledged: AtomicUsize,
    /// Everything that was to happen during the traffic has happened.
    may_end: AtomicBool,
}

impl Progress {
    pub(crate) fn may_end(&self) -> bool {
        self.may_end.load(Ordering::Relaxed)
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// Senders at one relay who write to one person.
pub(crate) struct Traffic {
    progress: Arc<Progress>,
    sending: JoinSet<anyhow::Result<Vec<String>>>,
    senders: usize,
}

impl Traffic {
    /// Lets this many senders begin.
    pub(crate) async fn begin(
        relay: &Target,
        recipient: &Person,
        senders: usize,
    ) -> anyhow::Result<Self> {
        let progress = Arc::new(Progress::default());
        let mut sending = JoinSet::new();
        for _ in 0..senders {
            let sender = Person::new(relay)?;
            sender.log_in(relay).await?;
            let share = Arc::clone(&progress);
            sending.spawn(keep_sending(
                relay.clone(),
                sender,
                recipient.clone(),
                share,
            ));
        }
        Ok(Self {
            progress,
            sending,
            senders,
        })
    }

    /// For tasks that go on as long as the traffic.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Waits until so many more messages are acknowledged.
    pub(crate) async fn flows(&mut self, messages: usize) -> anyhow::Result<()> {
        let enough = self.progress.acknowledged() + messages;
        let flows = || {
            // Whoever stops before the end has met something that must not happen.
            ensure!(self.sending.len() == self.senders, "a client gave up");
            Ok(self.progress.acknowledged() >= enough)
        };
        if let Err(error) = eventually("traffic", flows).await {
            while let Some(ended) = self.sending.try_join_next() {
                ended?.context("sending")?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// Lets the senders come to an end and gives the `Message-ID` of each acknowledged message.
    pub(crate) async fn end(mut self) -> anyhow::Result<Vec<String>> {
        self.progress.may_end.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        while let Some(ids) = self.sending.join_next().await {
            sent.extend(ids??);
        }
        ensure!(sent.len() == self.progress.acknowledged(), "lost count");
        Ok(sent)
    }
}

/// Sends until the traffic may end, and then some; each message until it is acknowledged.
async fn keep_sending(
    target: Target,
    sender: Person,
    recipient: Person,
    progress: Arc<Progress>,
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
        progress.acknowledged.fetch_add(1, Ordering::Relaxed);
        if progress.may_end() {
            left -= 1;
        }
    }
    Ok(ids)
}

/// Waits until each acknowledged message is in the inbox; gives how many are there more than once, or
/// though nobody was told that they were taken. The message has come by way of all these relays, the last of
/// which has the inbox.
pub(crate) async fn arrive(
    way: &[&Target],
    person: &Person,
    sent: &[String],
) -> anyhow::Result<usize> {
    let target = way.last().context("no relay")?;
    let mut inbox = person.log_in(target).await?;
    inbox.set_patience(PATIENCE);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        if inbox.select("INBOX").await?.exists > 0 {
            for message in inbox.fetch("1:*").await? {
                *found.entry(message_id(&message.message)?).or_default() += 1;
            }
        }
        let lost = sent.iter().filter(|id| !found.contains_key(*id));
        let lost: Vec<_> = lost.collect();
        if lost.is_empty() {
            return Ok(found.values().sum::<usize>() - sent.len());
        }
        if Instant::now() >= deadline {
            for relay in way {
                relay.show_logs(400);
            }
            bail!(
                "acknowledged, but not in the inbox: {}",
                whereabouts(way, &lost)?
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn message_id(message: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(message)?;
    let id = text.split("\r\nMessage-ID: ").nth(1);
    let id = id.and_then(|rest| rest.split("\r\n").next());
    Ok(id.context("no Message-ID")?.to_owned())
}

/// Each message, with the files of the relays that hold it: in Postfix's queue, or in a mailbox.
fn whereabouts(way: &[&Target], ids: &[&String]) -> anyhow::Result<String> {
    let mut files = Vec::new();
    for relay in way {
        list(&relay.state_dir.join("queue"), &mut files)?;
        list(&relay.mailboxes_dir, &mut files)?;
    }
    let mut found = BTreeMap::from_iter(ids.iter().map(|id| (*id, Vec::new())));
    for file in files {
        // Some come and go.
        let Ok(content) = fs::read(&file) else {
            continue;
        };
        for (id, places) in &mut found {
            if content.windows(id.len()).any(|part| part == id.as_bytes()) {
                places.push(file.clone());
            }
        }
    }
    Ok(format!("{found:#?}"))
}

/// Adds all regular files in a folder and those within.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
