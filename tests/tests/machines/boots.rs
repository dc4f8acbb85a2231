//! A machine comes up as a server does, and comes up again.

use testbed::machine::{Lan, PATIENCE};

#[test]
fn a_machine_is_a_debian_server_with_systemd() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    let state = one.run(&["systemctl", "is-system-running"])?;
    let state = String::from_utf8_lossy(&state.stdout).into_owned();
    assert_eq!(state.trim(), "running", "{}", one.failed_units()?);

    assert_eq!(one.run_ok(&["cat", "/proc/1/comm"])?, "systemd\n");
    assert_eq!(one.run_ok(&["hostname", "--fqdn"])?, "one.test\n");
    // Its processes are its own: as many units as a server has, and none of ours.
    for unit in ["systemd-journald", "systemd-logind", "dbus", "ssh"] {
        one.run_ok(&["systemctl", "is-active", unit])?;
    }
    assert!(one.journal()?.contains("OpenBSD Secure Shell server"));
    let own = format!("/proc/{}", std::process::id());
    assert!(!one.run(&["test", "-e", &own])?.status.success());

    // What an operator has: a login, and timers.
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config");
    std::fs::write(&config, lan.ssh_config()?)?;
    let login = lan
        .command("timeout")
        .args(["60", "ssh", "-F"])
        .arg(&config)
        .args(["one", "hostname"])
        .output()?;
    assert_eq!(String::from_utf8_lossy(&login.stdout), "one\n", "{login:?}");
    one.run_ok(&["systemd-run", "--on-active=1", "touch", "/srv/later"])?;
    one.wait_for("a timer elapses", PATIENCE, |one| {
        Ok(one.run(&["test", "-e", "/srv/later"])?.status.success())
    })
}

#[test]
fn a_reboot_keeps_the_disk_and_is_another_boot() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    one.write_file("/srv/deep/file", b"kept\0\n", 0o640)?;
    one.write_file("/run/file", b"not kept", 0o644)?;
    let before = one.boot_id()?;

    one.reboot()?;
    assert_ne!(one.boot_id()?, before);
    assert_eq!(one.read_file("/srv/deep/file")?, b"kept\0\n");
    let mode = one.run_ok(&["stat", "--format=%a", "/srv/deep/file"])?;
    assert_eq!(mode, "640\n");
    assert!(one.read_file("/run/file").is_err(), "/run is in memory");

    // From the inside it is the same.
    let before = one.boot_id()?;
    // It may be killed before it says how it went.
    one.run(&["systemctl", "reboot"])?;
    one.wait_for("another boot", PATIENCE, |one| {
        let id = one.run(&["cat", "/proc/sys/kernel/random/boot_id"])?;
        Ok(id.status.success() && String::from_utf8_lossy(&id.stdout) != before)
    })?;
    // There is another boot before there is a systemd to ask.
    one.wait_for("its units", PATIENCE, |one| {
        let waited = one.run(&["systemctl", "is-system-running", "--wait"])?;
        Ok(waited.status.success())
    })?;
    assert_eq!(one.read_file("/srv/deep/file")?, b"kept\0\n");
    Ok(())
}

#[test]
fn what_was_synced_outlives_a_hard_stop() -> anyhow::Result<()> {
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    // A service that would write something if it were told to stop.
    let unit = "[Service]\nExecStart=sleep infinity\nExecStop=touch /srv/was-told\n";
    one.write_file("/etc/systemd/system/waits.service", unit.as_bytes(), 0o644)?;
    one.run_ok(&["systemctl", "start", "waits"])?;
    one.write_file("/srv/synced", b"all of it", 0o644)?;
    one.run_ok(&["sync", "/srv/synced", "/srv"])?;

    one.power_off_hard()?;
    assert!(
        one.run(&["true"])
            .is_ok_and(|output| !output.status.success())
    );
    one.boot()?;
    assert_eq!(one.read_file("/srv/synced")?, b"all of it");
    assert!(one.read_file("/srv/was-told").is_err());

    // The same, when it is told.
    one.run_ok(&["systemctl", "start", "waits"])?;
    one.power_off()?;
    one.boot()?;
    one.read_file("/srv/was-told")?;
    Ok(())
}
