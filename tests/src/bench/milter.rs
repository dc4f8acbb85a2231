//! Postfix with filtermail beside the same Postfix without any milter: messages a second, the
//! processor time for each, and how much longer the reply to the final dot takes.
//!
//! A third Postfix has a milter that does nothing, the null milter. What it loses is Postfix's own
//! work for any milter. What filtermail loses beyond that is its judgement and what Postfix does for
//! the changes it asks for. No goal looks at the null milter.
//!
//! Only acceptance is measured: mail is thrown away afterwards, and the clients speak no TLS, whose
//! cost would make the milter's look small.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chatmail::Address;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::interleave::in_turn;
use super::process_time;
use super::stats::Sample;
use super::submission::{Sender, Wire, accepting};
use super::{Figure, Goal, Report, runtime};
use crate::mail;
use crate::relay::{Layout, RelayOptions};
use crate::target::Target;
use crate::test_relay::TestRelay;

/// Sessions that send at the same time.
struct Load {
    name: &'static str,
    sessions: usize,
    size: usize,
    /// How many messages each session sends in a round.
    messages: usize,
}

const LOADS: [Load; 4] = [
    Load {
        name: "milter/2KB-8-sessions",
        sessions: 8,
        size: 2_000,
        messages: 200,
    },
    Load {
        name: "milter/2KB-32-sessions",
        sessions: 32,
        size: 2_000,
        messages: 50,
    },
    Load {
        name: "milter/200KB-8-sessions",
        sessions: 8,
        size: 200_000,
        messages: 60,
    },
    Load {
        name: "milter/5MB-4-sessions",
        sessions: 4,
        size: 5_000_000,
        messages: 10,
    },
];

/// Rounds of each load for each relay; a multiple of three lets each go first equally often.
const ROUNDS: usize = 9;

/// Rounds of the measurement of replies, and messages in each.
const REPLY_ROUNDS: usize = 20;
const REPLY_MESSAGES: usize = 25;

/// How long Postfix may take to empty its queue.
const DRAIN: Duration = Duration::from_secs(120);

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let filtermail = TestRelay::start(accepting(RelayOptions::default()))?;
    let null_milter = TestRelay::start(accepting(RelayOptions::null_milter()))?;
    let none = TestRelay::start(accepting(RelayOptions::plain()))?;
    let targets = [&filtermail.target, &null_milter.target, &none.target];
    runtime()?.block_on(async {
        for load in &LOADS {
            throughput(load, targets, report).await?;
        }
        reply(targets, report).await
    })?;
    filtermail.stop()?;
    null_milter.stop()?;
    none.stop()
}

async fn throughput(load: &Load, targets: [&Target; 3], report: &mut Report) -> anyhow::Result<()> {
    let mut relays = login(targets, load.sessions, load.size).await?;
    // What is done once (processes, connections, caches) is done before the first round.
    for senders in &mut relays {
        senders.round(load.messages / 5).await?;
    }
    let rounds = in_turn(ROUNDS, relays, async |senders| {
        senders.round(load.messages).await
    })
    .await?;
    let medians = |part: fn(&Round) -> f64| {
        let median = |rounds: &Vec<Round>| rounds.iter().map(part).collect::<Sample>().median();
        rounds.each_ref().map(median)
    };
    report.figures(compared(
        load.name,
        "mails/s",
        medians(|round| round.messages_per_second),
        Goal::RatioAtLeast(0.9),
    ));
    report.figures(compared(
        &format!("{}-processor-time", load.name),
        "ms/mail",
        medians(|round| round.milliseconds_per_message),
        Goal::None,
    ));
    Ok(())
}

async fn reply(targets: [&Target; 3], report: &mut Report) -> anyhow::Result<()> {
    const SIZE: usize = 2_000;
    let relays = login(targets, 1, SIZE).await?;
    let times = in_turn(REPLY_ROUNDS, relays, async |senders| {
        senders.replies(REPLY_MESSAGES).await
    })
    .await?;
    report.figures(compared(
        "milter/final-dot-to-reply",
        "ms",
        times.map(|times| Sample::milliseconds(times.concat()).median()),
        Goal::ExcessAtMost(0.5),
    ));
    Ok(())
}

/// What filtermail, the milter that does nothing, and no milter reached: filtermail beside none,
/// which has the goal; the milter that does nothing beside none; filtermail beside that milter.
fn compared(name: &str, unit: &'static str, values: [f64; 3], goal: Goal) -> [Figure; 3] {
    let [filtermail, null_milter, none] = values;
    let figure = |suffix, value, reference, goal| {
        Figure::new(
            format!("{name}{suffix}"),
            value,
            unit,
            Some(reference),
            goal,
        )
    };
    [
        figure("", filtermail, none, goal),
        figure("-null-milter", null_milter, none, Goal::None),
        figure("-against-null-milter", filtermail, null_milter, Goal::None),
    ]
}

/// What one round found.
struct Round {
    messages_per_second: f64,
    /// Processor time of Postfix and the milter, until the queue is empty.
    milliseconds_per_message: f64,
}

/// Senders of each relay.
async fn login(
    [filtermail, null_milter, none]: [&Target; 3],
    sessions: usize,
    size: usize,
) -> anyhow::Result<[Senders<'_>; 3]> {
    Ok([
        Senders::login(filtermail, sessions, size).await?,
        Senders::login(null_milter, sessions, size).await?,
        Senders::login(none, sessions, size).await?,
    ])
}

/// Sessions of one relay, each with an account of its own.
struct Senders<'a> {
    target: &'a Target,
    senders: Vec<Sender>,
}

impl<'a> Senders<'a> {
    async fn login(target: &'a Target, sessions: usize, size: usize) -> anyhow::Result<Self> {
        let address = |name: String| format!("{name}@{}", target.domain).parse::<Address>();
        let recipient = address("recipient".to_owned())?;
        let mut senders = Vec::with_capacity(sessions);
        for number in 0..sessions {
            let sender = address(format!("sender{number:03}"))?;
            let wire = Wire::new(&mail::encrypted(&sender, &recipient, size)?)?;
            senders.push(Sender::login(target, &sender, &recipient, wire).await?);
        }
        Ok(Self { target, senders })
    }

    /// Lets every session send so many messages at its own pace, then waits for an empty queue.
    async fn round(&mut self, each: usize) -> anyhow::Result<Round> {
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
        self.drained().await?;
        let used = self.processor_time()?.saturating_sub(used_before);
        Ok(Round {
            messages_per_second: count / taken.as_secs_f64(),
            milliseconds_per_message: used.as_secs_f64() * 1000.0 / count,
        })
    }

    fn processor_time(&self) -> anyhow::Result<Duration> {
        let mut used = Duration::ZERO;
        for name in ["postfix", "filtermail", "null-milter"] {
            if let Some(process) = self.target.procs.get(name) {
                used += process_time::of_tree(process.pid()?)?;
            }
        }
        Ok(used)
    }

    /// The first session's times from final dot to reply.
    async fn replies(&mut self, count: usize) -> anyhow::Result<Vec<Duration>> {
        let sender = self.senders.first_mut().context("no session")?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            times.push(sender.send().await?);
        }
        self.drained().await?;
        Ok(times)
    }

    /// What is still in the queue would be work in the next round, which is the other relay's.
    async fn drained(&self) -> anyhow::Result<()> {
        let queue = Layout::new(self.target.state_dir.clone()).queue();
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
}

fn is_empty(folder: &Path) -> anyhow::Result<bool> {
    let mut entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_filtermail_beside_no_milter_has_a_goal() {
        let figures = compared("x", "s", [1.0, 2.0, 4.0], Goal::RatioAtLeast(0.9));
        let found = figures.map(|figure| (figure.name, figure.ratio, figure.pass));
        let expected = [
            ("x", 0.25, false),
            ("x-null-milter", 0.5, true),
            ("x-against-null-milter", 0.5, true),
        ];
        assert_eq!(
            found,
            expected.map(|(name, ratio, pass)| (name.to_owned(), Some(ratio), pass))
        );
    }
}
