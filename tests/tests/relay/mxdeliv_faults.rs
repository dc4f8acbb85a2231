//! Parts of the way over HTTPS are killed or missing: nothing that was acknowledged is lost, and local
//! mail does not care.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::client::Envelope;
use testbed::peers::By;
use testbed::{DomainKind, Target, TestRelay};

use crate::fixture::{
    Correspondents, Outsider, Person, accepted, eventually, messages, send, unhurried,
};
use crate::traffic::{Traffic, arrive};
use crate::ways::{sends, ways};

const SENDERS: usize = 3;
const KILLS: usize = 3;
/// Acknowledged messages before each kill.
const MESSAGES_BETWEEN: usize = 10;

/// Kills a process of a relay and waits for the next one.
async fn killed(relay: &Target, process: &str) -> anyhow::Result<()> {
    let process = relay.procs.get(process).context("no such process")?;
    let before = process.pid()?;
    kill(Pid::from_raw(before), Signal::SIGKILL)?;
    eventually("the next process", || Ok(process.pid()? != before)).await
}

/// Kills a process at the sending relay (0) or the receiving one (1) while mail flows between them.
async fn killed_during_traffic(at: usize, process: &str) -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried().with_peer(DomainKind::Name))?;
    let (target, peer) = (&relay.target, relay.peers.first().context("no peer")?);
    let bob = Person::new(peer)?;
    bob.log_in(peer).await?;
    let mut traffic = Traffic::begin(target, &bob, SENDERS).await?;
    // Kills that come before the first post would leave all mail to SMTP.
    let by_https = || Ok(ways(target, &bob.address)?.contains(&By::Https));
    eventually("mail goes by HTTPS", by_https).await?;
    for _ in 0..KILLS {
        traffic.flows(MESSAGES_BETWEEN).await?;
        killed([target, peer][at], process).await?;
    }
    let sent = traffic.end().await?;
    arrive(&[target, peer], &bob, &sent).await?;
    relay.stop()
}

#[tokio::test]
async fn a_killed_bridge_at_the_sender_costs_no_mail() -> anyhow::Result<()> {
    killed_during_traffic(0, "mxdeliv-bridge").await
}

#[tokio::test]
async fn a_killed_bridge_at_the_recipient_costs_no_mail() -> anyhow::Result<()> {
    killed_during_traffic(1, "mxdeliv-bridge").await
}

#[tokio::test]
async fn a_killed_nginx_costs_no_mail() -> anyhow::Result<()> {
    killed_during_traffic(1, "nginx").await
}

/// A socket that is taken away until [`Missing::back`].
struct Missing {
    socket: PathBuf,
    away: PathBuf,
}

impl Missing {
    fn take(relay: &Target, name: &str) -> anyhow::Result<Self> {
        let socket = relay.state_dir.join("queue/mxdeliv").join(name);
        let away = socket.with_extension("away");
        fs::rename(&socket, &away)?;
        Ok(Self { socket, away })
    }

    fn back(self) -> anyhow::Result<()> {
        Ok(fs::rename(self.away, self.socket)?)
    }
}

#[tokio::test]
async fn local_mail_flows_without_a_bridge_and_other_mail_waits() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried().with_peer(DomainKind::Name))?;
    let (target, peer) = (&relay.target, relay.peers.first().context("no peer")?);
    let mut local = Correspondents::new(target).await?;
    local.send_good(0).await?;

    // Nobody takes what is for peers: it waits in the queue.
    let lmtp = Missing::take(target, "lmtp.sock")?;
    local.send_good(1).await?;
    let bob = Person::new(peer)?;
    let mut inbox = bob.inbox(peer).await?;
    let message = local.alice.writes_to(&bob)?;
    let envelope = Envelope::new(&local.alice.address, &bob.address);
    accepted(&send(&mut local.submission, &envelope, &message).await?)?;
    let about = format!("to=<{}>", bob.address);
    eventually("an attempt", || {
        let log = crate::ways::postfix_log(target)?;
        let mut lines = log.lines();
        Ok(lines.any(|line| line.contains(&about) && line.contains("status=deferred")))
    })
    .await?;
    lmtp.back()?;
    ensure!(messages(&mut inbox, 1).await?.len() == 1, "not one message");

    // Nobody knows the way: the client hears that it may try again, or the mail waits.
    let route = Missing::take(target, "route.sock")?;
    let before = relay.signal("mxdeliv-bridge", Signal::SIGKILL)?;
    local.send_good(2).await?;
    let other = Person::new(peer)?;
    let mut others_inbox = other.inbox(peer).await?;
    let message = local.alice.writes_to(&other)?;
    let envelope = Envelope::new(&local.alice.address, &other.address);
    let transaction = send(&mut local.submission, &envelope, &message).await?;
    let reply = transaction.verdict().clone();
    ensure!(transaction.is_accepted() || reply.is_temporary(), "{reply}");
    local.send_good(3).await?;
    route.back()?;
    eventually("the next bridge", || {
        Ok(relay.pid("mxdeliv-bridge")? != before)
    })
    .await?;
    if !transaction.is_accepted() {
        accepted(&send(&mut local.submission, &envelope, &message).await?)?;
    }
    ensure!(
        messages(&mut others_inbox, 1).await?.len() == 1,
        "not one message"
    );
    sends(target, peer, By::Https).await?;
    relay.stop()
}

#[tokio::test]
async fn mail_for_our_own_domain_never_waits_for_the_bridge() -> anyhow::Result<()> {
    for kind in [DomainKind::Name, DomainKind::IpLiteral] {
        let mut options = unhurried();
        options.kind = kind.into();
        let relay = TestRelay::start(options)?;
        let mut local = Correspondents::new(&relay.target).await?;
        let mut outsider = Outsider::new(&relay).await?;
        // It takes connections and says nothing: a lookup would last longer than anybody here waits.
        relay.signal("mxdeliv-bridge", Signal::SIGSTOP)?;
        local.send_good(0).await?;
        accepted(&outsider.send_signed().await?)?;
        ensure!(
            messages(&mut outsider.inbox, 1).await?.len() == 1,
            "not one message"
        );
        relay.signal("mxdeliv-bridge", Signal::SIGCONT)?;
        relay.stop()?;
    }
    Ok(())
}
