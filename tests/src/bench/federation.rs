//! Mail from one relay to another by `/mxdeliv`, beside the same pair of relays with SMTP only. TLS on
//! both ways.
//!
//! Latency is from `MAIL FROM` to the message in the recipient's mailbox. What a device sees is later by
//! the half second that stock Dovecot waits before it says `EXISTS`, whatever carried the message: that
//! is a figure of its own. Throughput is from the first message of eight senders to the last delivery.

use anyhow::Context as _;

use super::federation_peers;
use super::interleave::in_turn;
use super::pair::{Arrival, Pair};
use super::stats::Sample;
use super::submission::unlimited;
use super::way::{Way, compare};
use super::{Figure, Goal, Report, runtime};
use crate::relay::{DomainKind, RelayOptions};
use crate::target::Target;
use crate::test_relay::TestRelay;

/// Messages whose latency is measured, each way.
const MESSAGES: usize = 50;

/// Those of them that a device waits for: each takes half a second longer.
const WAITED_FOR: usize = 10;

/// The size of those messages in bytes.
const SIZE: usize = 3_000;

/// Rounds each way; even, so that each goes first equally often.
const ROUNDS: usize = 8;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let options = unlimited(RelayOptions::default()).with_peer(DomainKind::Name);
    let mxdeliv = TestRelay::start(options.clone())?;
    let smtp = TestRelay::start(options.by_smtp())?;
    let relays = [&mxdeliv, &smtp];
    runtime()?.block_on(async {
        latency(relays, report).await?;
        throughput(relays, report).await
    })?;
    mxdeliv.stop()?;
    smtp.stop()?;
    federation_peers::run(report)
}

async fn latency(relays: [&TestRelay; 2], report: &mut Report) -> anyhow::Result<()> {
    let [mxdeliv, smtp] = relays;
    let mut pairs = [connect(mxdeliv).await?, connect(smtp).await?];
    for pair in &mut pairs {
        // The first deliveries make mailboxes, look names up and learn how the peer is reached.
        for _ in 0..5 {
            pair.deliver(Arrival::Asked).await?;
        }
    }
    let [seen, reference] = in_turn(WAITED_FOR, pairs.each_mut(), async |pair| {
        pair.deliver(Arrival::Idle).await
    })
    .await?
    .map(Sample::milliseconds);
    let [measured, by_smtp] = in_turn(MESSAGES, pairs.each_mut(), async |pair| {
        pair.deliver(Arrival::Asked).await
    })
    .await?
    .map(Sample::milliseconds);
    let figure = |name: &str, value, reference, goal| {
        Figure::new(
            format!("federation/{name}"),
            value,
            "ms",
            Some(reference),
            goal,
        )
    };
    report.figures([
        figure(
            "latency",
            measured.median(),
            by_smtp.median(),
            Goal::RatioAtMost(0.8),
        ),
        figure(
            "latency-p95",
            measured.percentile(95),
            by_smtp.percentile(95),
            Goal::None,
        ),
        figure(
            "latency-to-exists",
            seen.median(),
            reference.median(),
            Goal::None,
        ),
    ]);
    Ok(())
}

async fn connect(relay: &TestRelay) -> anyhow::Result<Pair> {
    Pair::login(&relay.target, peer(relay)?).await
}

fn peer(relay: &TestRelay) -> anyhow::Result<&Target> {
    relay.peers.first().context("a relay without a peer")
}

async fn throughput(relays: [&TestRelay; 2], report: &mut Report) -> anyhow::Result<()> {
    let [mxdeliv, smtp] = relays;
    let ways = [
        Way::new(&mxdeliv.target, peer(mxdeliv)?, SIZE).await?,
        Way::new(&smtp.target, peer(smtp)?, SIZE).await?,
    ];
    let name = "federation/throughput-3KB-8-senders";
    let figure = compare(name, Goal::RatioAtLeast(1.5), ROUNDS, ways).await?;
    report.figure(figure);
    Ok(())
}
