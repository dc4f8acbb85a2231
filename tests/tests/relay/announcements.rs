//! Dovecot tells of every message that arrives: at the end of a burst, and about when a session hibernates.

use std::process::{Command, Stdio};

use anyhow::ensure;
use testbed::patched_dovecot;

/// With the delay of Debian's Dovecot simply removed, a message that was put into a mailbox while its session took in
/// the one before was announced half a minute later.
#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn the_last_message_of_a_thousand_bursts_is_announced() -> anyhow::Result<()> {
    let packages = tempfile::tempdir()?;
    patched_dovecot::packages(packages.path())?;
    // What it found is printed.
    let status = Command::new(patched_dovecot::folder().join("bursts"))
        .arg("--packages")
        .arg(packages.path())
        .args(["--bursts=1000", "--hibernations=1000"])
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "messages were not announced: {status}");
    Ok(())
}
