//! Everything that carries mail between two relays is killed at random moments while mail flows: nothing
//! that was acknowledged is lost. Some may come twice, and the test says how many.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng as _;
use testbed::{DomainKind, RelayOptions, Target, TestRelay};

use crate::fixture::{Person, eventually, unhurried};
use crate::traffic::{Traffic, arrive};

const ROUNDS: usize = 20;

/// What is killed, each as often as the others, and the relay that it is killed on by chance.
const VICTIMS: [&str; 4] = ["mxdeliv-bridge", "dovecot", "nginx", "postfix"];

const SENDERS: usize = 3;

/// Acknowledged messages between two kills: what was killed works again before the next.
const MESSAGES_BETWEEN: usize = 10;

/// The longest pause before a kill, so that it may hit any step of a message.
const MOMENT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost() -> anyhow::Result<()> {
    let options = RelayOptions {
        restart_servers: true,
        ..unhurried().with_peer(DomainKind::Name)
    };
    let relay = TestRelay::start(options)?;
    let from = &relay.target;
    let to = relay.peers.first().context("one relay only")?;
    let bob = Person::new(to)?;
    bob.log_in(to).await?;
    let mut traffic = Traffic::begin(from, &bob, SENDERS).await?;
    for round in 0..ROUNDS {
        traffic.flows(MESSAGES_BETWEEN).await?;
        let (at, moment) = {
            let mut random = rand::rng();
            let at = if random.random() { from } else { to };
            (at, MOMENT.mul_f64(random.random()))
        };
        tokio::time::sleep(moment).await;
        let victim = VICTIMS.into_iter().cycle().nth(round).unwrap_or_default();
        kill_and_wait(at, victim)
            .await
            .with_context(|| format!("round {round}: {victim} of {}", at.domain))?;
    }
    let sent = traffic.end().await?;
    let again = arrive(&[from, to], &bob, &sent).await?;
    // Past the test harness, which shows what a test prints only when it fails.
    writeln!(
        std::io::stderr(),
        "{ROUNDS} kills: {} messages acknowledged, all arrived, {again} of them once more",
        sent.len()
    )?;
    ensure!(
        sent.len() >= ROUNDS * MESSAGES_BETWEEN,
        "hardly any traffic"
    );
    relay.stop()
}

async fn kill_and_wait(relay: &Target, victim: &str) -> anyhow::Result<()> {
    let process = relay.procs.get(victim).context("no such process")?;
    let before = process.pid()?;
    kill(Pid::from_raw(before), Signal::SIGKILL)?;
    // While it is started its pid file may be missing, or be the old one's.
    eventually("the next process", || {
        Ok(process.pid().is_ok_and(|pid| pid != before))
    })
    .await
}
