//! Messages a second from submission to mailbox, with all our daemons and the settings that we ship, beside a relay
//! with a classic relay's settings and nothing that looks at mail. TLS at submission.

use super::submission::unlimited;
use super::way::{Way, compare};
use super::{Goal, Report, runtime};
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
    let figure = runtime()?.block_on(async {
        let ways = [
            Way::new(&ours.target, &ours.target, SIZE).await?,
            Way::new(&classic.target, &classic.target, SIZE).await?,
        ];
        let name = "throughput/2KB-8-senders";
        compare(name, Goal::RatioAtLeast(1.3), ROUNDS, ways).await
    })?;
    report.figure(figure);
    ours.stop()?;
    classic.stop()
}
