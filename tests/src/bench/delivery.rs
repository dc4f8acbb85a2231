//! From `MAIL FROM` to `EXISTS` at a client that idles, beside a relay without our daemons.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chatmail::Address;

use super::interleave::interleaved;
use super::stats::Sample;
use super::submission::unlimited;
use super::{Figure, Goal, Report, runtime};
use crate::client::imap::ImapClient;
use crate::client::smtp::{Envelope, SmtpClient};
use crate::client::tls::Security;
use crate::mail::{self, Message};
use crate::relay::{PLAIN_PASSWORD, RelayOptions};
use crate::target::Target;
use crate::test_relay::TestRelay;

/// Messages through each relay, one at a time.
const MESSAGES: usize = 100;

/// The size of each, in bytes.
const SIZE: usize = 4_000;

/// How long a delivery may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let full = TestRelay::start(unlimited(RelayOptions::default()))?;
    let plain = TestRelay::start(unlimited(RelayOptions::plain()))?;
    let rounds = runtime()?.block_on(async {
        let mut measured = Pair::login(&full.target).await?;
        let mut reference = Pair::login(&plain.target).await?;
        // The first delivery makes the mailbox.
        measured.deliver().await?;
        reference.deliver().await?;
        interleaved(
            MESSAGES,
            async || measured.deliver().await,
            async || reference.deliver().await,
        )
        .await
    })?;
    let [value, reference] = [rounds.measured, rounds.reference].map(Sample::milliseconds);
    report.figure(Figure::new(
        "delivery/mail-from-to-exists",
        value.median(),
        "ms",
        Some(reference.median()),
        Goal::RatioAtMost(1.1),
    ));
    report.figure(Figure::new(
        "delivery/mail-from-to-exists-p99",
        value.percentile(99),
        "ms",
        Some(reference.percentile(99)),
        Goal::None,
    ));
    full.stop()?;
    plain.stop()
}

/// A sender and a recipient.
struct Pair {
    submission: SmtpClient,
    inbox: ImapClient,
    envelope: Envelope,
    message: Message,
    delivered: u32,
}

impl Pair {
    async fn login(target: &Target) -> anyhow::Result<Self> {
        let [sender, recipient] = ["sender000", "recipient"].map(|name| {
            let address = format!("{name}@{}", target.domain);
            address.parse::<Address>()
        });
        let (sender, recipient) = (sender?, recipient?);
        let mut inbox =
            ImapClient::login(&target.imap, &recipient.to_string(), PLAIN_PASSWORD).await?;
        let delivered = inbox.select("INBOX").await?.exists;
        let submission = SmtpClient::login(
            &target.smtps,
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

    async fn deliver(&mut self) -> anyhow::Result<Duration> {
        let content = self.message.clone().renewed().content();
        let mut idle = self.inbox.idle().await?;
        let begun = Instant::now();
        let transaction = self.submission.send(&self.envelope, &content).await?;
        ensure!(
            transaction.is_accepted(),
            "refused: {}",
            transaction.verdict()
        );
        let exists = idle.exists(PATIENCE).await.context("waiting for EXISTS")?;
        let taken = begun.elapsed();
        idle.done().await?;
        self.delivered += 1;
        ensure!(
            exists == self.delivered,
            "{exists} messages in the mailbox after {} deliveries",
            self.delivered
        );
        Ok(taken)
    }
}
