//! Ten peers, one of them dead and one slow: what that costs the other eight.
//!
//! Two relays send the same mail. The peers of one are all well; of the other's, one takes connections
//! and never says a word, at any port, and one takes two seconds for each message. What counts is how
//! fast the eight get theirs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chatmail::Address;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::interleave::in_turn;
use super::stats::Sample;
use super::submission::{Sender, Wire, unlimited};
use super::{Figure, Goal, Report, runtime};
use crate::authority::Certificate;
use crate::dns::Data;
use crate::host::addresses::{LoopbackAddress, Port};
use crate::mail;
use crate::peers::{Answer, Behaviour, Manner, Peer};
use crate::relay::RelayOptions;
use crate::target::Target;
use crate::test_relay::TestRelay;

/// Peers that are well.
const WELL: usize = 8;

/// Senders at the same time, each of whom writes to all peers in turn, so often in a round.
const SENDERS: usize = 8;
const EACH: usize = 10;

/// The size of the messages in bytes.
const SIZE: usize = 3_000;

/// Rounds of each relay; even, so that each goes first equally often.
const ROUNDS: usize = 6;

/// How long the slow peer takes for a message.
const SLOWNESS: Duration = Duration::from_secs(2);

/// How long the eight may wait for their mail.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let troubled = TestRelay::start(unlimited(RelayOptions::default()))?;
    let untroubled = TestRelay::start(unlimited(RelayOptions::default()))?;
    let [measured, reference] = runtime()?.block_on(async {
        let mut worlds = [
            World::new(&troubled.target, true).await?,
            World::new(&untroubled.target, false).await?,
        ];
        for world in &mut worlds {
            world.round().await?;
        }
        in_turn(ROUNDS, worlds, async |world| world.round().await).await
    })?;
    let [measured, reference] =
        [measured, reference].map(|rounds| rounds.into_iter().collect::<Sample>().median());
    report.figure(Figure::new(
        "federation/eight-beside-a-dead-and-a-slow-peer",
        measured,
        "mails/s",
        Some(reference),
        Goal::RatioAtLeast(0.9),
    ));
    troubled.stop()?;
    untroubled.stop()
}

/// A relay's senders and its peers.
struct World {
    senders: Vec<Writer>,
    well: Vec<Peer>,
    /// Peers that nobody waits for.
    _others: Vec<Peer>,
    _dead: Option<Dead>,
    rounds: usize,
}

/// A domain whose ports take connections and say nothing.
struct Dead {
    _address: LoopbackAddress,
    _silent: [TcpListener; 2],
}

impl World {
    async fn new(relay: &Target, troubled: bool) -> anyhow::Result<Self> {
        let mut well = Vec::with_capacity(WELL);
        for number in 0..WELL {
            well.push(Peer::start(relay, &format!("well{number}.test"), manner(None)).await?);
        }
        let mut others =
            vec![Peer::start(relay, "ninth.test", manner(troubled.then_some(SLOWNESS))).await?];
        let mut dead = None;
        if troubled {
            dead = Some(Dead::new(relay, "tenth.test").await?);
        } else {
            others.push(Peer::start(relay, "tenth.test", manner(None)).await?);
        }
        let names = well.iter().map(|peer| peer.domain().to_owned());
        let domains: Vec<String> = names
            .chain(["ninth.test".to_owned(), "tenth.test".to_owned()])
            .collect();
        let mut senders = Vec::with_capacity(SENDERS);
        for number in 0..SENDERS {
            senders.push(Writer::login(relay, number, &domains).await?);
        }
        Ok(Self {
            senders,
            well,
            _others: others,
            _dead: dead,
            rounds: 0,
        })
    }

    /// Messages a second that the eight get, until they have all of a round.
    async fn round(&mut self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let mut sending = JoinSet::new();
        for mut writer in self.senders.drain(..) {
            sending.spawn(async move {
                writer.round().await?;
                anyhow::Ok(writer)
            });
        }
        self.rounds += 1;
        let expected = self.rounds * SENDERS * EACH;
        for peer in &self.well {
            while peer.posts() < expected {
                ensure!(
                    begun.elapsed() < PATIENCE,
                    "{} has {} of {expected} messages",
                    peer.domain(),
                    peer.posts()
                );
                sleep(Duration::from_millis(2)).await;
            }
        }
        let taken = begun.elapsed();
        while let Some(sent) = sending.join_next().await {
            self.senders.push(sent.context("a session")??);
        }
        Ok((WELL * SENDERS * EACH) as f64 / taken.as_secs_f64())
    }
}

impl Dead {
    async fn new(relay: &Target, domain: &str) -> anyhow::Result<Self> {
        let ports = [Port::Https, Port::Mx].map(Port::number);
        let address = LoopbackAddress::take(&ports)?;
        let ip = address.ip();
        let dns = relay.dns.as_ref().context("a testbed without DNS")?;
        dns.set(domain, 60, &[Data::A(ip)])?;
        let [https, smtp] = ports;
        let silent = [
            TcpListener::bind((ip, https)).await?,
            TcpListener::bind((ip, smtp)).await?,
        ];
        Ok(Self {
            _address: address,
            _silent: silent,
        })
    }
}

fn manner(slowness: Option<Duration>) -> Manner {
    let taken = || Answer::take("250 OK", "");
    Manner {
        https: Some(match slowness {
            Some(slowness) => Behaviour::Slow(slowness, taken()),
            None => Behaviour::always(taken()),
        }),
        certificate: Certificate::Right,
        smtp: false,
    }
}

/// Somebody who writes to all peers.
struct Writer {
    session: Sender,
    address: Address,
    /// In the order of writing.
    letters: Vec<(Address, Wire)>,
}

impl Writer {
    async fn login(relay: &Target, number: usize, domains: &[String]) -> anyhow::Result<Self> {
        let address: Address = format!("writer{number:03}@{}", relay.domain).parse()?;
        let mut letters = Vec::with_capacity(EACH * domains.len());
        for _ in 0..EACH {
            for domain in domains {
                let recipient = format!("reader{number:03}@{domain}").parse()?;
                let wire = Wire::new(&mail::encrypted(&address, &recipient, SIZE)?)?;
                letters.push((recipient, wire));
            }
        }
        let (recipient, wire) = letters.first().context("nothing to write")?;
        let session = Sender::login_with_tls(relay, &address, recipient, wire.clone()).await?;
        Ok(Self {
            session,
            address,
            letters,
        })
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        for (recipient, wire) in &self.letters {
            self.session.address(&self.address, recipient);
            self.session.take(wire.clone());
            self.session.send().await?;
        }
        Ok(())
    }
}
