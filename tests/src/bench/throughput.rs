//! Messages a second from submission to mailbox, with all our daemons and the settings that we ship, beside a relay
//! with a classic relay's settings and nothing that looks at mail. TLS at submission.

use super::interleave::in_turn;
use super::stats::Sample;
use super::submission::unlimited;
use super::way::{SENDERS, Way};
use super::{Figure, Goal, Report, runtime};
use crate::relay::RelayOptions;
use crate::test_relay::TestRelay;

/// The size of the messages in bytes.
const SIZE: usize = 2_000;

/// Rounds at each relay; even, so that each goes first equally often.
const ROUNDS: usize = 10;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let ours = TestRelay::start(unlimited(RelayOptions::default()))?;
    let classic = TestRelay::start(unlimited(RelayOptions::classic_settings()))?;
    let [measured, reference] = runtime()?.block_on(async {
        let mut ways = [
            Way::new(&ours.target, &ours.target, SIZE).await?,
            Way::new(&classic.target, &classic.target, SIZE).await?,
        ];
        // What is done once is done before the first round.
        for way in &mut ways {
            way.round().await?;
        }
        in_turn(ROUNDS, ways, async |way| way.round().await).await
    })?;
    let [measured, reference] =
        [measured, reference].map(|rounds| rounds.into_iter().collect::<Sample>().median());
    report.figure(Figure::new(
        format!("throughput/2KB-{SENDERS}-senders"),
        measured,
        "mails/s",
        Some(reference),
        Goal::RatioAtLeast(1.3),
    ));
    ours.stop()?;
    classic.stop()
}
