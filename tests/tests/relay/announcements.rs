//! Dovecot tells of every message that arrives: at the end of a burst, and about when a session hibernates.

use std::process::{Command, Stdio};

use anyhow::ensure;
use testbed::patched_dovecot;

/// Tries the patched Dovecot; what it found is printed.
fn try_patched(bursts: u32, hibernations: u32) -> anyhow::Result<()> {
    let packages = tempfile::tempdir()?;
    patched_dovecot::packages(packages.path())?;
    let status = Command::new(patched_dovecot::folder().join("bursts"))
        .arg("--packages")
        .arg(packages.path())
        .arg(format!("--bursts={bursts}"))
        .arg(format!("--hibernations={hibernations}"))
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "messages were not announced: {status}");
    Ok(())
}

/// With the delay of Debian's Dovecot simply removed, a message that was put into a mailbox while its session took in
/// the one before was announced half a minute later.
#[test]
fn the_last_message_of_a_burst_is_announced() -> anyhow::Result<()> {
    try_patched(20, 120)
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn the_last_message_of_a_thousand_bursts_is_announced() -> anyhow::Result<()> {
    try_patched(1000, 1000)
}
