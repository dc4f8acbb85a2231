//! What the bridge's commands show of real mail, a real queue and a real peer.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testbed::client::Envelope;
use testbed::dns::Failure;
use testbed::{DomainKind, Target, TestRelay};

use crate::fixture::{Person, accepted, eventually, messages, send, unhurried};

/// What a command of a relay's bridge prints with `--json`.
fn ask(target: &Target, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let output = Command::new(testbed::binaries::release("mxdeliv-bridge")?)
        .arg("--config")
        .arg(&target.chatmail_ini)
        .args(arguments)
        .arg("--json")
        .env_remove("JOURNAL_STREAM")
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {complaint}");
    let text = String::from_utf8(output.stdout)?;
    ensure!(!text.contains('@'), "an address in {text}");
    let rows = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>();
    rows.context("not JSON")
}

/// The successes of the last hour in a direction and over a transport.
fn successes(rows: &[Value], direction: &str, transport: &str) -> u64 {
    let ways = rows
        .iter()
        .filter_map(|row| row["ways"].as_array())
        .flatten();
    let wanted = ways.filter(|way| way["direction"] == direction && way["transport"] == transport);
    let counts = wanted.filter_map(|way| way["hour"]["successes"].as_u64());
    counts.sum()
}

async fn submit(from: &Target, to: &Target) -> anyhow::Result<Person> {
    let (alice, bob) = (Person::new(from)?, Person::new(to)?);
    drop(bob.inbox(to).await?);
    let mut submission = alice.submission(from).await?;
    let envelope = Envelope::new(&alice.address, &bob.address);
    let message = alice.writes_to(&bob)?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    Ok(bob)
}

async fn arrives(from: &Target, to: &Target) -> anyhow::Result<()> {
    let bob = submit(from, to).await?;
    messages(&mut bob.inbox(to).await?, 1).await.map(drop)
}

#[tokio::test]
async fn operators_see_how_mail_fares_over_each_way() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried().with_peer(DomainKind::Name))?;
    let (here, there) = (&relay.target, relay.peers.first().context("no peer")?);
    for (transport, endpoint) in [("mxdeliv", None), ("smtp", Some("smtp"))] {
        if let Some(endpoint) = endpoint {
            ask(here, &["endpoint", "set", &there.domain, endpoint])?;
        }
        arrives(here, there).await?;
        eventually("figures on both sides", || {
            let sent = ask(here, &["peers", &there.domain])?;
            let came = ask(there, &["peers", &here.domain])?;
            let (sent, came) = (
                successes(&sent, "out", transport),
                successes(&came, "in", transport),
            );
            Ok((sent, came) == (1, 1))
        })
        .await?;
    }
    relay.stop()
}

#[tokio::test]
async fn operators_see_what_waits_and_whether_a_peer_can_be_reached() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried().with_peer(DomainKind::Name))?;
    let (here, there) = (&relay.target, relay.peers.first().context("no peer")?);
    let steps = ask(here, &["probe", &there.domain])?;
    let failed: Vec<_> = steps.iter().filter(|step| step["ok"] != true).collect();
    ensure!(failed.is_empty() && steps.len() > 10, "{steps:?}");
    ensure!(ask(here, &["queue"])?.is_empty(), "something waits");

    // The bridge remembers what DNS has said for the probe, and would post.
    ask(here, &["endpoint", "set", &there.domain, "smtp"])?;
    relay.dns()?.fail(&there.domain, Failure::ServFail)?;
    submit(here, there).await?;
    eventually("a message that waits, and why", || {
        let queue = ask(here, &["queue"])?;
        let waits = queue.iter().find(|row| row["domain"] == *there.domain);
        Ok(waits.is_some_and(|row| row["messages"] == 1 && row["reason"].is_string()))
    })
    .await?;
    let peer = ask(here, &["peers", &there.domain])?;
    ensure!(peer.iter().all(|row| row["queued"] == 1), "{peer:?}");
    relay.stop()
}
