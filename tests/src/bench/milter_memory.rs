//! filtermail's memory while many large messages come at once.

use std::sync::Arc;

use anyhow::Context as _;
use chatmail::Address;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::process_memory::ProcessMemory;
use super::submission::{Sender, Wire, accepting};
use super::{Figure, Goal, Report, runtime};
use crate::mail;
use crate::relay::RelayOptions;
use crate::target::Target;
use crate::test_relay::TestRelay;

/// Messages at the same time.
const SESSIONS: usize = 200;

/// The size of each, in bytes.
const SIZE: usize = 30 << 20;

const MIB: f64 = 1_048_576.0;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let relay = TestRelay::start(accepting(RelayOptions::default()))?;
    let pid = relay.pid("filtermail")?;
    let before = ProcessMemory::of(pid)?;
    runtime()?.block_on(submit_all(&relay.target))?;
    let after = ProcessMemory::of(pid)?;
    report.figure(Figure::new(
        format!("milter-memory/{SESSIONS}-of-30MiB"),
        after.peak as f64 / MIB,
        "MiB",
        Some(before.resident as f64 / MIB),
        Goal::AtMost(64.0),
    ));
    relay.stop()
}

/// Postfix hands a message to the milter after the final dot. So all dots are sent at once, when
/// every message is uploaded: filtermail has all of them under way at the same time.
async fn submit_all(target: &Target) -> anyhow::Result<()> {
    let [sender, recipient] = ["sender000", "recipient"].map(|name| {
        let address = format!("{name}@{}", target.domain);
        address.parse::<Address>()
    });
    let (sender, recipient) = (sender?, recipient?);
    // One copy for all of them.
    let wire = Wire::new(&mail::encrypted(&sender, &recipient, SIZE)?)?;
    let barrier = Arc::new(Barrier::new(SESSIONS));
    let mut sending = JoinSet::new();
    for _ in 0..SESSIONS {
        let mut client = Sender::login(target, &sender, &recipient, wire.clone()).await?;
        let barrier = Arc::clone(&barrier);
        sending.spawn(async move {
            client.upload().await?;
            barrier.wait().await;
            client.finish().await
        });
    }
    // The first failure ends it: the barrier would wait for ever.
    while let Some(sent) = sending.join_next().await {
        sent.context("a session")?
            .context("a message is not accepted")?;
    }
    Ok(())
}
