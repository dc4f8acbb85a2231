//! Dovecot tells of every message that arrives: at the end of a burst, and about when a session hibernates.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use testbed::patched_dovecot;
use testbed::relay::{Layout, RelayOptions};
use testbed::test_relay::TestRelay;

/// What relays run, and that sessions hibernate with the patched Dovecot and with no other.
#[test]
fn relays_run_the_patched_dovecot_unless_told_otherwise() -> anyhow::Result<()> {
    let patched = patched_dovecot::provided()?.context(patched_dovecot::COST)?;
    let stock = RelayOptions {
        stock_dovecot: true,
        ..RelayOptions::default()
    };
    for (options, root, hibernates) in [
        (RelayOptions::default(), patched.as_path(), true),
        (stock, Path::new("/"), false),
    ] {
        let relay = TestRelay::start(options)?;
        let process = relay.target.procs.get("dovecot").context("a Dovecot")?;
        let runs = fs::metadata(format!("/proc/{}/exe", process.pid()?))?;
        let wanted = fs::metadata(root.join("usr/sbin/dovecot"))?;
        ensure!((runs.dev(), runs.ino()) == (wanted.dev(), wanted.ino()));
        let layout = Layout::new(relay.target.state_dir.clone());
        let configuration = fs::read_to_string(layout.dovecot_conf())?;
        ensure!(configuration.contains("imap_hibernate_timeout = 0") != hibernates);
        relay.stop()?;
    }
    Ok(())
}

/// With the delay of Debian's Dovecot simply removed, a message that was put into a mailbox while its session took in
/// the one before was announced half a minute later.
#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn the_last_message_of_a_thousand_bursts_is_announced() -> anyhow::Result<()> {
    let packages = tempfile::tempdir()?;
    patched_dovecot::packages(None, packages.path())?;
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
