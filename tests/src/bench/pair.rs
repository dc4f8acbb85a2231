//! One who sends and one who waits for it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chatmail::Address;
use tokio::time::sleep;

use crate::client::imap::ImapClient;
use crate::client::smtp::{Content, Envelope, SmtpClient};
use crate::client::tls::Security;
use crate::mail::{self, Message};
use crate::relay::PLAIN_PASSWORD;
use crate::target::Target;

/// The size of each message, in bytes.
const SIZE: usize = 4_000;

/// How long a delivery may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two questions of a client that asks.
const PAUSE: Duration = Duration::from_millis(1);

/// How a client learns that a message has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    /// The server says so. Stock Dovecot does half a second after the fact.
    Idle,
    /// The client asks again and again.
    Asked,
}

/// A sender and a recipient.
pub(super) struct Pair {
    submission: SmtpClient,
    inbox: ImapClient,
    envelope: Envelope,
    message: Message,
    delivered: u32,
}

impl Pair {
    /// Logs the sender in at one relay and the recipient at another, or the same.
    ///
    /// # Errors
    /// One of them is not let in.
    pub(super) async fn login(from: &Target, to: &Target) -> anyhow::Result<Self> {
        let sender: Address = format!("sender000@{}", from.domain).parse()?;
        let recipient: Address = format!("recipient@{}", to.domain).parse()?;
        let mut inbox = ImapClient::login(&to.imap, &recipient.to_string(), PLAIN_PASSWORD).await?;
        let delivered = inbox.select("INBOX").await?.exists;
        let submission = SmtpClient::login(
            &from.smtps,
            Security::TLS,
            &sender.to_string(),
            PLAIN_PASSWORD,
        )
        .await?;
        Ok(Self {
            submission,
            inbox,
            envelope: Envelope::new(&sender, &recipient),
            message: mail::encrypted(&sender, &recipient, SIZE)?,
            delivered,
        })
    }

    /// Sends a message and waits for it; gives the time from `MAIL FROM`.
    ///
    /// # Errors
    /// It is refused, or does not arrive.
    pub(super) async fn deliver(&mut self, arrival: Arrival) -> anyhow::Result<Duration> {
        let content = self.message.clone().renewed().content();
        let taken = match arrival {
            Arrival::Idle => {
                let mut idle = self.inbox.idle().await?;
                let begun = Instant::now();
                send(&mut self.submission, &self.envelope, &content).await?;
                idle.exists(PATIENCE).await.context("waiting for EXISTS")?;
                let taken = begun.elapsed();
                idle.done().await?;
                taken
            }
            Arrival::Asked => {
                let begun = Instant::now();
                send(&mut self.submission, &self.envelope, &content).await?;
                while self.exists().await? == self.delivered {
                    ensure!(begun.elapsed() < PATIENCE, "a message does not arrive");
                    sleep(PAUSE).await;
                }
                begun.elapsed()
            }
        };
        self.delivered += 1;
        let exists = self.exists().await?;
        ensure!(
            exists == self.delivered,
            "{exists} messages in the mailbox after {} deliveries",
            self.delivered
        );
        Ok(taken)
    }

    async fn exists(&mut self) -> anyhow::Result<u32> {
        Ok(self.inbox.select("INBOX").await?.exists)
    }
}

async fn send(
    submission: &mut SmtpClient,
    envelope: &Envelope,
    content: &Content,
) -> anyhow::Result<()> {
    let transaction = submission.send(envelope, content).await?;
    ensure!(
        transaction.is_accepted(),
        "refused: {}",
        transaction.verdict()
    );
    Ok(())
}
