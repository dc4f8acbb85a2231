//! Many messages at once from one relay to another, until the last of them is delivered.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use chatmail::Address;
use tokio::task::JoinSet;

use super::interleave::in_turn;
use super::senders::drained;
use super::stats::Sample;
use super::submission::{Sender, Wire};
use super::{Figure, Goal};
use crate::client::imap::ImapClient;
use crate::mail;
use crate::relay::PLAIN_PASSWORD;
use crate::target::Target;

/// Senders at the same time, and messages of each in a round.
const SENDERS: usize = 8;
const EACH: usize = 50;

/// Lets two ways carry a round's messages in turn, so many rounds each, and gives the medians of messages a second as
/// a figure.
///
/// # Errors
/// A message is not accepted, or does not arrive.
pub(super) async fn compare(
    name: &str,
    goal: Goal,
    rounds: usize,
    mut ways: [Way<'_>; 2],
) -> anyhow::Result<Figure> {
    // What is done once is done before the first round.
    for way in &mut ways {
        way.round().await?;
    }
    let found = in_turn(rounds, ways, async |way| way.round().await).await?;
    let [measured, reference] = found.map(|rounds| rounds.into_iter().collect::<Sample>().median());
    let reference = Some(reference);
    Ok(Figure::new(name, measured, "mails/s", reference, goal))
}

/// Senders at one relay, each of whom writes to somebody at another, or the same.
pub(super) struct Way<'a> {
    from: &'a Target,
    to: &'a Target,
    senders: Vec<(Sender, Vec<Wire>)>,
    rounds: usize,
}

impl<'a> Way<'a> {
    /// The messages of a round.
    pub(super) const MESSAGES: usize = SENDERS * EACH;

    /// Logs senders in at one relay, and makes the accounts at the other that they write to, each to one with
    /// messages of `size` bytes.
    ///
    /// # Errors
    /// A login does not succeed.
    pub(super) async fn new(from: &'a Target, to: &'a Target, size: usize) -> anyhow::Result<Self> {
        let mut senders = Vec::with_capacity(SENDERS);
        for number in 0..SENDERS {
            let sender: Address = format!("writer{number:03}@{}", from.domain).parse()?;
            let recipient: Address = format!("reader{number:03}@{}", to.domain).parse()?;
            // The first login makes the account.
            let login = recipient.to_string();
            ImapClient::login(&to.imap, &login, PLAIN_PASSWORD).await?;
            let message = mail::encrypted(&sender, &recipient, size)?;
            let first = Wire::new(&message)?;
            let client = Sender::login_with_tls(from, &sender, &recipient, first).await?;
            // The bridge delivers nothing twice.
            let wires = (0..EACH).map(|_| Wire::new(&message.clone().renewed()));
            senders.push((client, wires.collect::<anyhow::Result<_>>()?));
        }
        Ok(Self {
            from,
            to,
            senders,
            rounds: 0,
        })
    }

    /// Messages a second until the last of a round is delivered.
    ///
    /// # Errors
    /// A message is not accepted, or does not arrive.
    pub(super) async fn round(&mut self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let mut sending = JoinSet::new();
        for (mut sender, wires) in self.senders.drain(..) {
            sending.spawn(async move {
                for wire in &wires {
                    sender.take(wire.clone());
                    sender.send().await?;
                }
                anyhow::Ok((sender, wires))
            });
        }
        while let Some(sent) = sending.join_next().await {
            self.senders.push(sent.context("a session")??);
        }
        drained(self.from).await?;
        drained(self.to).await?;
        let taken = begun.elapsed();
        self.rounds += 1;
        self.all_arrived().await?;
        Ok(Self::MESSAGES as f64 / taken.as_secs_f64())
    }

    async fn all_arrived(&self) -> anyhow::Result<()> {
        let login = format!("reader000@{}", self.to.domain);
        let mut inbox = ImapClient::login(&self.to.imap, &login, PLAIN_PASSWORD).await?;
        let arrived = inbox.select("INBOX").await?.exists;
        let sent = self.rounds * EACH;
        ensure!(
            usize::try_from(arrived)? == sent,
            "{arrived} of {sent} messages arrived"
        );
        Ok(())
    }
}
