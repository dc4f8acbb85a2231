//! What chatmail's own test suite measures with Delta Chat clients, under the names it gives them, beside a relay
//! without our daemons.
//!
//! Both relays run the patched Dovecot, which tells of a message at once.
//!
//! Core's limit of a burst of three and then one a second is for what it sends by itself, such as read receipts.
//! There are none here: nobody reads anything. Texts wait for nothing, not even the ten.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::interleave::{Rounds, interleaved};
use super::stats::Sample;
use super::submission::unlimited;
use super::{Figure, Goal, Report, runtime};
use crate::app_login;
use crate::deltachat::{Account, ChatId, DeltaChat, PATIENCE, make_contact};
use crate::relay::{PLAIN_PASSWORD, RelayOptions};
use crate::target::Target;
use crate::test_relay::TestRelay;

/// How often each is measured on each relay.
const ROUNDS: usize = 10;

/// The texts of a burst.
const BURST: usize = 10;

/// After each measurement. Meanwhile clients delete from the server what they have got, and idle again: the next
/// message finds them as they were, and the next relay has the machine for itself.
const REST: Duration = Duration::from_secs(2);

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let full = TestRelay::start(unlimited(RelayOptions::default()))?;
    let plain = TestRelay::start(unlimited(RelayOptions::plain()))?;
    let folder = tempfile::tempdir()?;
    runtime()?.block_on(async {
        let full = Side::new(&full.target, &folder.path().join("full")).await?;
        let plain = Side::new(&plain.target, &folder.path().join("plain")).await?;
        measure(report, full, plain).await
    })?;
    full.stop()?;
    plain.stop()
}

async fn measure(
    report: &mut Report,
    mut full: Side<'_>,
    mut plain: Side<'_>,
) -> anyhow::Result<()> {
    let rounds = interleaved(
        ROUNDS,
        async || full.autoconfig_and_idle_ready().await,
        async || plain.autoconfig_and_idle_ready().await,
    );
    let rounds = rounds.await?;
    let mut figure = |name: &str, rounds: Rounds<Duration>, most: f64| {
        let [value, reference] = [rounds.measured, rounds.reference].map(Sample::milliseconds);
        report.figure(Figure::new(
            format!("delta/{name}"),
            value.median(),
            "ms",
            Some(reference.median()),
            Goal::RatioAtMost(most),
        ));
    };
    figure("dc_autoconfig_and_idle_ready", rounds, 1.05);

    let mut measured = full.pair().await?;
    let mut reference = plain.pair().await?;
    let rounds = interleaved(
        ROUNDS,
        async || measured.ping_pong().await,
        async || reference.ping_pong().await,
    );
    figure("dc_ping_pong", rounds.await?, 1.05);
    let rounds = interleaved(
        ROUNDS,
        async || measured.one_way().await,
        async || reference.one_way().await,
    );
    figure("dc_one_way", rounds.await?, 1.05);
    let rounds = interleaved(
        ROUNDS,
        async || measured.send_and_receive().await,
        async || reference.send_and_receive().await,
    );
    figure("dc_send_10_receive_10", rounds.await?, 1.1);
    Ok(())
}

/// A relay and its clients.
struct Side<'a> {
    relay: &'a Target,
    clients: DeltaChat,
    accounts: usize,
}

impl<'a> Side<'a> {
    async fn new(relay: &'a Target, folder: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            relay,
            clients: DeltaChat::start(folder).await?,
            accounts: 0,
        })
    }

    /// Makes a profile by a link; gives the time that took, up to the idle inbox.
    async fn profile(&mut self) -> anyhow::Result<(Account, Duration)> {
        self.accounts += 1;
        let address = format!("delta{:04}@{}", self.accounts, self.relay.domain);
        let link = app_login::url(self.relay, &address, PLAIN_PASSWORD);
        let mut account = self.clients.add_account().await?;
        let begun = Instant::now();
        account.login_by_link(&link).await?;
        Ok((account, begun.elapsed()))
    }

    async fn autoconfig_and_idle_ready(&mut self) -> anyhow::Result<Duration> {
        let (account, taken) = self.profile().await?;
        // Its connection would be one more to carry for whoever comes next.
        account.remove().await?;
        sleep(REST).await;
        Ok(taken)
    }

    async fn pair(&mut self) -> anyhow::Result<Pair> {
        let (mut alice, _) = self.profile().await?;
        let (mut bob, _) = self.profile().await?;
        let (alices_chat, bobs_chat) = make_contact(&mut alice, &mut bob, PATIENCE).await?;
        let mut pair = Pair {
            alice,
            alices_chat,
            bob,
            bobs_chat,
        };
        // The first one finds what the handshake has left.
        pair.ping_pong().await?;
        Ok(pair)
    }
}

/// Two who have made contact.
struct Pair {
    alice: Account,
    alices_chat: ChatId,
    bob: Account,
    bobs_chat: ChatId,
}

impl Pair {
    async fn ping_pong(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.alice.send_text(self.alices_chat, "ping").await?;
        self.bob.receive(PATIENCE).await?;
        self.bob.send_text(self.bobs_chat, "pong").await?;
        self.alice.receive(PATIENCE).await?;
        let taken = begun.elapsed();
        sleep(REST).await;
        Ok(taken)
    }

    async fn one_way(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.alice.send_text(self.alices_chat, "one way").await?;
        self.bob.receive(PATIENCE).await?;
        let taken = begun.elapsed();
        sleep(REST).await;
        Ok(taken)
    }

    async fn send_and_receive(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        for number in 0..BURST {
            let text = format!("hello {number}");
            self.alice.send_text(self.alices_chat, &text).await?;
        }
        for _ in 0..BURST {
            self.bob.receive(PATIENCE).await?;
        }
        let taken = begun.elapsed();
        sleep(REST).await;
        Ok(taken)
    }
}
