//! Messages a second from submission to mailbox, with all our daemons and the settings that we ship, beside a relay
//! with a classic relay's settings and nothing that looks at mail. TLS at submission.

use super::submission::unlimited;
use super::way::{Way, compare};
use super::{Goal, Report, runtime};
use crate::relay::{RelayOptions, ServerSetting};
use crate::test_relay::TestRelay;

/// The size of the messages in bytes.
const SIZE: usize = 2_000;

/// Rounds at each relay; even, so that each goes first equally often.
const ROUNDS: usize = 10;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let classic = unlimited(RelayOptions::classic_settings());
    // A setting that classic relays leave at Postfix' default costs them a part of the difference.
    let at_once = ServerSetting::postfix("in_flow_delay = 0s");
    let without_delay = classic.clone().with_server_setting(at_once);
    for (name, goal, options) in [
        ("throughput/2KB-8-senders", Goal::RatioAtLeast(1.3), classic),
        (
            "throughput/without-in-flow-delay",
            Goal::None,
            without_delay,
        ),
    ] {
        let ours = TestRelay::start(unlimited(RelayOptions::default()))?;
        let classic = TestRelay::start(options)?;
        let figure = runtime()?.block_on(async {
            let ways = [
                Way::new(&ours.target, &ours.target, SIZE).await?,
                Way::new(&classic.target, &classic.target, SIZE).await?,
            ];
            compare(name, goal, ROUNDS, ways).await
        })?;
        report.figure(figure);
        ours.stop()?;
        classic.stop()?;
    }
    Ok(())
}
