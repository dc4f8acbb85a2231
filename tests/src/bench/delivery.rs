//! From `MAIL FROM` to `EXISTS` at a client that idles, beside a relay without our daemons.

use super::interleave::interleaved;
use super::pair::{Arrival, Pair};
use super::stats::Sample;
use super::submission::unlimited;
use super::{Figure, Goal, Report, runtime};
use crate::relay::RelayOptions;
use crate::test_relay::TestRelay;

/// Messages through each relay, one at a time.
const MESSAGES: usize = 100;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let full = TestRelay::start(unlimited(RelayOptions::default()))?;
    let plain = TestRelay::start(unlimited(RelayOptions::plain()))?;
    let rounds = runtime()?.block_on(async {
        let mut measured = Pair::login(&full.target, &full.target).await?;
        let mut reference = Pair::login(&plain.target, &plain.target).await?;
        // The first delivery makes the mailbox.
        measured.deliver(Arrival::Idle).await?;
        reference.deliver(Arrival::Idle).await?;
        interleaved(
            MESSAGES,
            async || measured.deliver(Arrival::Idle).await,
            async || reference.deliver(Arrival::Idle).await,
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
