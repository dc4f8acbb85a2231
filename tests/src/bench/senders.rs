//! Sessions that send to one relay at the same time, and what that costs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chatmail::Address;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::interleave::in_turn;
use super::stats::Sample;
use super::submission::{Sender, Wire};
use super::{Figure, Goal, Report, process_time};
use crate::mail;
use crate::relay::Layout;
use crate::target::Target;

/// How long Postfix may take to empty its queue.
const DRAIN: Duration = Duration::from_secs(120);

/// What one round found.
pub(super) struct Round {
    pub(super) messages_per_second: f64,
    /// Processor time of Postfix and the milter, until the queue is empty.
    pub(super) milliseconds_per_message: f64,
}

/// Lets two relays accept messages in turn, so many from each session in a round, and reports messages
/// a second, which have the goal, and the processor time for each.
///
/// # Errors
/// A message is not accepted.
pub(super) async fn compare(
    name: &str,
    goal: Goal,
    rounds: usize,
    messages: usize,
    mut relays: [Senders<'_>; 2],
    report: &mut Report,
) -> anyhow::Result<()> {
    // What is done once (processes, connections, caches) is done before the first round.
    for senders in &mut relays {
        senders.round(messages / 5).await?;
    }
    let found = in_turn(rounds, relays, async |senders| {
        senders.round(messages).await
    })
    .await?;
    let medians = |part: fn(&Round) -> f64| {
        let median = |rounds: &Vec<Round>| rounds.iter().map(part).collect::<Sample>().median();
        found.each_ref().map(median)
    };
    let [measured, reference] = medians(|round| round.messages_per_second);
    let speed = Figure::new(name, measured, "mails/s", Some(reference), goal);
    let [measured, reference] = medians(|round| round.milliseconds_per_message);
    let name = format!("{name}-processor-time");
    let work = Figure::new(name, measured, "ms/mail", Some(reference), Goal::None);
    report.figures([speed, work]);
    Ok(())
}

/// Sessions at one relay.
pub(super) struct Senders<'a> {
    target: &'a Target,
    senders: Vec<Sender>,
}

impl<'a> Senders<'a> {
    /// Sessions at the submission port, each of which sends a message of its own of this many bytes to
    /// one recipient. The relay was started with [`accepting`](super::submission::accepting).
    ///
    /// # Errors
    /// A login does not succeed.
    pub(super) async fn login(
        target: &'a Target,
        sessions: usize,
        size: usize,
    ) -> anyhow::Result<Self> {
        let address = |name: String| format!("{name}@{}", target.domain).parse::<Address>();
        let recipient = address("recipient".to_owned())?;
        let mut senders = Vec::with_capacity(sessions);
        for number in 0..sessions {
            let sender = address(format!("sender{number:03}"))?;
            let wire = Wire::new(&mail::encrypted(&sender, &recipient, size)?)?;
            senders.push(Sender::login(target, &sender, &recipient, wire).await?);
        }
        Ok(Self::new(target, senders))
    }

    /// Sessions that are there already.
    pub(super) fn new(target: &'a Target, senders: Vec<Sender>) -> Self {
        Self { target, senders }
    }

    /// Lets every session send so many messages at its own pace, then waits for an empty queue.
    ///
    /// # Errors
    /// A message is not accepted, or the queue does not get empty.
    pub(super) async fn round(&mut self, each: usize) -> anyhow::Result<Round> {
        let count = (self.senders.len() * each) as f64;
        let used_before = self.processor_time()?;
        let begun = Instant::now();
        let mut sending = JoinSet::new();
        for mut sender in self.senders.drain(..) {
            sending.spawn(async move {
                for _ in 0..each {
                    sender.send().await?;
                }
                anyhow::Ok(sender)
            });
        }
        while let Some(sent) = sending.join_next().await {
            self.senders.push(sent.context("a session")??);
        }
        let taken = begun.elapsed();
        drained(self.target).await?;
        let used = self.processor_time()?.saturating_sub(used_before);
        Ok(Round {
            messages_per_second: count / taken.as_secs_f64(),
            milliseconds_per_message: used.as_secs_f64() * 1000.0 / count,
        })
    }

    fn processor_time(&self) -> anyhow::Result<Duration> {
        let mut used = Duration::ZERO;
        for name in ["postfix", "filtermail", "null-milter", "opendkim"] {
            if let Some(process) = self.target.procs.get(name) {
                used += process_time::of_tree(process.pid()?)?;
            }
        }
        Ok(used)
    }

    /// The first session's times from final dot to reply.
    ///
    /// # Errors
    /// As [`Senders::round`].
    pub(super) async fn replies(&mut self, count: usize) -> anyhow::Result<Vec<Duration>> {
        let sender = self.senders.first_mut().context("no session")?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            times.push(sender.send().await?);
        }
        drained(self.target).await?;
        Ok(times)
    }
}

/// Waits for an empty queue: what is still in it would be work in the next round, which is another
/// relay's.
///
/// # Errors
/// It does not get empty, or holds mail that could not be delivered.
pub(super) async fn drained(relay: &Target) -> anyhow::Result<()> {
    let queue = Layout::new(relay.state_dir.clone()).queue();
    let begun = Instant::now();
    for folder in ["incoming", "active"].map(|name| queue.join(name)) {
        while !is_empty(&folder)? {
            ensure!(begun.elapsed() < DRAIN, "Postfix does not empty its queue");
            sleep(Duration::from_millis(5)).await;
        }
    }
    ensure!(is_empty(&queue.join("deferred"))?, "Postfix defers mail");
    Ok(())
}

fn is_empty(folder: &Path) -> anyhow::Result<bool> {
    let mut entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    Ok(entries.next().is_none())
}
