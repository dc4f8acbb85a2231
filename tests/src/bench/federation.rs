//! Mail from one relay to another by `/mxdeliv`, beside the same pair of relays with SMTP only. TLS on
//! both ways.
//!
//! Latency is from `MAIL FROM` to the message in the recipient's mailbox. What a device sees is later by
//! the half second that stock Dovecot waits before it says `EXISTS`, whatever carried the message: that
//! is a figure of its own. Throughput is from the first message of eight senders to the last delivery.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use chatmail::Address;
use tokio::task::JoinSet;

use super::federation_peers;
use super::interleave::in_turn;
use super::pair::{Arrival, Pair};
use super::senders::drained;
use super::stats::Sample;
use super::submission::{Sender, Wire, unlimited};
use super::{Figure, Goal, Report, runtime};
use crate::client::imap::ImapClient;
use crate::mail;
use crate::relay::{DomainKind, PLAIN_PASSWORD, RelayOptions};
use crate::target::Target;
use crate::test_relay::TestRelay;

/// Messages whose latency is measured, each way.
const MESSAGES: usize = 50;

/// Those of them that a device waits for: each takes half a second longer.
const WAITED_FOR: usize = 10;

/// Senders at the same time, and messages of each in a round.
const SENDERS: usize = 8;
const EACH: usize = 50;

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
    let mut ways = [
        Way::new(&mxdeliv.target, peer(mxdeliv)?).await?,
        Way::new(&smtp.target, peer(smtp)?).await?,
    ];
    for way in &mut ways {
        way.round().await?;
    }
    let [measured, reference] = in_turn(ROUNDS, ways, async |way| way.round().await).await?;
    let [measured, reference] =
        [measured, reference].map(|rounds| rounds.into_iter().collect::<Sample>().median());
    report.figure(Figure::new(
        "federation/throughput-3KB-8-senders",
        measured,
        "mails/s",
        Some(reference),
        Goal::RatioAtLeast(1.5),
    ));
    Ok(())
}

/// Senders at one relay, each of whom writes to somebody at another.
struct Way<'a> {
    from: &'a Target,
    to: &'a Target,
    senders: Vec<(Sender, Vec<Wire>)>,
    rounds: usize,
}

impl<'a> Way<'a> {
    async fn new(from: &'a Target, to: &'a Target) -> anyhow::Result<Self> {
        let mut senders = Vec::with_capacity(SENDERS);
        for number in 0..SENDERS {
            let sender: Address = format!("writer{number:03}@{}", from.domain).parse()?;
            let recipient: Address = format!("reader{number:03}@{}", to.domain).parse()?;
            // The first login makes the account.
            let login = recipient.to_string();
            ImapClient::login(&to.imap, &login, PLAIN_PASSWORD).await?;
            let message = mail::encrypted(&sender, &recipient, SIZE)?;
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
    async fn round(&mut self) -> anyhow::Result<f64> {
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
        Ok((SENDERS * EACH) as f64 / taken.as_secs_f64())
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
