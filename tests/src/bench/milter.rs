//! Postfix with filtermail beside the same Postfix without any milter: messages a second, the
//! processor time for each, and how much longer the reply to the final dot takes.
//!
//! A third Postfix has a milter that does nothing, the null milter. What it loses is Postfix's own
//! work for any milter. What filtermail loses beyond that is its judgement and what Postfix does for
//! the changes it asks for. No goal looks at the null milter.
//!
//! Only acceptance is measured: mail is thrown away afterwards, and the clients speak no TLS, whose
//! cost would make the milter's look small.

use super::interleave::in_turn;
use super::senders::{Round, Senders};
use super::stats::Sample;
use super::submission::accepting;
use super::{Figure, Goal, Report, runtime};
use crate::relay::RelayOptions;
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
