//! The Debian package on a bare machine: installed, configured, upgraded under traffic, and taken away.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use testbed::machine::{Lan, Machine, PATIENCE};
use testbed::package::{Compression, build};

/// Installing fetches Postfix and Dovecot as well.
const INSTALLING: Duration = Duration::from_secs(600);

const SERVICES: [&str; 3] = ["doveauth", "filtermail", "mxdeliv-bridge"];

const SOCKETS: [&str; 7] = [
    "doveauth.socket",
    "doveauth-policy.socket",
    "doveauth-blocks.socket",
    "filtermail.socket",
    "mxdeliv-bridge.socket",
    "mxdeliv-bridge-postfix.socket",
    "mxdeliv-bridge-admin.socket",
];

/// What an operator writes.
const CONFIGURATION: &str = "[params]\nmail_domain = one.test\nmax_load_1m = 0\n";

const MAILBOXES: &str = "/home/vmail/mail/one.test";

/// Asks doveauth again and again, as Dovecot does for a login, over a connection of its own each time; the
/// first login makes the account. It stops when it is told to, and says how often it was answered, and each
/// answer that was none.
const LOGINS: &str = r#"
import os, socket, sys
key = 'shared/passdb/a-long-password"abcdefghi@one.test'
answered = 0
open("/srv/logins-run", "w").close()
while not os.path.exists("/srv/logins-stop"):
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect("/run/doveauth/doveauth.socket")
            client.sendall(b"H3\t2\t0\t\tauth\nL" + key.encode() + b"\tabcdefghi@one.test\n")
            answer = client.makefile("rb").readline()
        if answer.startswith(b"O{"):
            answered += 1
        else:
            print("answer:", answer)
    except OSError as error:
        print("error:", error)
print("answered", answered)
"#;

#[test]
fn the_package_is_installed_configured_upgraded_and_purged() -> anyhow::Result<()> {
    let packages = [tempfile::tempdir()?, tempfile::tempdir()?];
    let package = build("", Compression::Fast, packages[0].path())?;
    let newer = build("+newer", Compression::Fast, packages[1].path())?;
    let lan = Lan::start()?;
    let one = lan.machine("one", lan.ip(11))?;
    one.run_ok(&["apt-get", "update", "--quiet"])?;
    install(&one, &package)?;
    nothing_starts_without_a_configuration(&one)?;
    configure(&one)?;
    daemons_run_from_their_sandboxes(&one)?;
    the_nightly_job_has_a_network_if_its_database_is_there_and_not_else(&one)?;
    a_daemon_that_hangs_is_started_again(&one)?;
    an_upgrade_refuses_no_login(&one, &newer)?;
    a_reboot_brings_everything_back(&one)?;
    a_purge_leaves_what_is_the_operators(&one)
}

fn install(one: &Machine, package: &Path) -> anyhow::Result<()> {
    let content = std::fs::read(package).context("reading the package")?;
    one.write_file("/srv/suite.deb", &content, 0o644)?;
    let command = [
        "apt-get",
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "/srv/suite.deb",
    ];
    let output = one.run_for(INSTALLING, &command)?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn nothing_starts_without_a_configuration(one: &Machine) -> anyhow::Result<()> {
    assert_eq!(one.failed_units()?, "");
    all_are(one, "inactive")?;
    for unit in SERVICES.into_iter().chain(SOCKETS) {
        one.run_ok(&["systemctl", "is-enabled", unit])?;
    }
    // There is nothing to build with.
    ensure!(!one.run(&["which", "cargo"])?.status.success());
    for file in [
        "/usr/share/man/man8/doveauth-accounts-create.8",
        "/usr/share/man/man5/chatmail.ini.5",
        "/usr/share/bash-completion/completions/mxdeliv-bridge",
        "/usr/share/doc/chatmail-suite/examples/chatmail.ini",
    ] {
        one.run_ok(&["test", "-s", file])?;
    }
    // What it installed is what it brought.
    assert_eq!(one.run_ok(&["dpkg", "--verify", "chatmail-suite"])?, "");
    Ok(())
}

fn configure(one: &Machine) -> anyhow::Result<()> {
    one.write_file(
        "/etc/chatmail/chatmail.ini",
        CONFIGURATION.as_bytes(),
        0o644,
    )?;
    let owned = ["install", "-d", "-o", "vmail", "-g", "vmail", "-m", "0700"];
    one.run_ok(&[&owned[..], &[MAILBOXES]].concat())?;
    let owned = ["install", "-d", "-o", "filtermail", "-m", "0711"];
    one.run_ok(&[&owned[..], &["/etc/dkimkeys"]].concat())?;
    one.run_ok(&["filtermail", "dkim", "generate"])?;
    one.run_ok(&[&["systemctl", "start"], &SOCKETS[..], &SERVICES[..]].concat())?;
    Ok(())
}

/// What systemd says of all of our units.
fn all_are(one: &Machine, expected: &str) -> anyhow::Result<()> {
    for unit in SERVICES.into_iter().chain(SOCKETS) {
        let state = one.run(&["systemctl", "is-active", unit])?;
        let state = String::from_utf8_lossy(&state.stdout).into_owned();
        ensure!(
            state.trim_end() == expected,
            "{unit} is {state}{}",
            one.journal()?
        );
    }
    Ok(())
}

fn all_run(one: &Machine) -> anyhow::Result<()> {
    all_are(one, "active")?;
    ensure!(one.failed_units()?.is_empty(), "{}", one.failed_units()?);
    Ok(())
}

fn daemons_run_from_their_sandboxes(one: &Machine) -> anyhow::Result<()> {
    all_run(one)?;
    for unit in SERVICES {
        // In tenths, of ten.
        one.run_ok(&["systemd-analyze", "security", "--threshold=20", unit])?;
    }
    // What needs something from outside of the sandbox: Postfix's queue, and a file in it.
    one.run_ok(&["systemctl", "start", "postfix"])?;
    one.run_ok(&["mxdeliv-bridge", "queue"])?;
    one.run_ok(&["mxdeliv-bridge", "peers"])?;
    one.run_ok(&["doveauth", "accounts", "create", "operator@one.test"])?;
    one.run_ok(&[
        "test",
        "-s",
        &format!("{MAILBOXES}/operator@one.test/password"),
    ])?;
    one.run_ok(&["systemctl", "start", "expiry-cron"])?;
    // Who may not see mailboxes does not.
    for (user, allowed) in [("vmail", true), ("filtermail", false), ("mxdeliv", false)] {
        let listed = one.run(&[
            "setpriv",
            "--reuid",
            user,
            "--clear-groups",
            "ls",
            MAILBOXES,
        ])?;
        assert_eq!(listed.status.success(), allowed, "{user}");
    }
    Ok(())
}

fn main_process(one: &Machine, service: &str) -> anyhow::Result<String> {
    one.run_ok(&[
        "systemctl",
        "show",
        "--property=MainPID",
        "--value",
        service,
    ])
}

fn the_nightly_job_has_a_network_if_its_database_is_there_and_not_else(
    one: &Machine,
) -> anyhow::Result<()> {
    let is_alone = || {
        let units = ["expiry-cron", "expiry-cron-report"].map(|unit| {
            let asking = ["systemctl", "show", "--value", "--property=PrivateNetwork"];
            one.run_ok(&[&asking[..], &[unit]].concat())
        });
        let [nightly, report] = units;
        anyhow::Ok((nightly?.trim() == "yes", report?.trim() == "yes"))
    };
    let ini = "/etc/chatmail/chatmail.ini";
    for (url, alone) in [
        ("postgresql://chatmail@192.0.2.1/chatmail", false),
        ("host=/run/postgresql dbname=chatmail", true),
    ] {
        let text = format!("{CONFIGURATION}database_url = {url}\n");
        one.write_file(ini, text.as_bytes(), 0o644)?;
        one.run_ok(&["systemctl", "daemon-reload"])?;
        assert_eq!(is_alone()?, (alone, alone), "{url}");
    }
    one.write_file(ini, CONFIGURATION.as_bytes(), 0o644)?;
    one.run_ok(&["systemctl", "daemon-reload"])?;
    assert_eq!(is_alone()?, (true, true));
    Ok(())
}

fn a_daemon_that_hangs_is_started_again(one: &Machine) -> anyhow::Result<()> {
    for service in SERVICES {
        // The unit's own patience is half a minute.
        let path = format!("/run/systemd/system/{service}.service.d/soon.conf");
        one.write_file(&path, b"[Service]\nWatchdogSec=2s\n", 0o644)?;
    }
    one.run_ok(&["systemctl", "daemon-reload"])?;
    one.run_ok(&[&["systemctl", "restart"], &SERVICES[..]].concat())?;
    for service in SERVICES {
        let before = main_process(one, service)?;
        one.run_ok(&["kill", "-STOP", before.trim()])?;
        one.wait_for(format!("{service} is another"), PATIENCE, |one| {
            let now = main_process(one, service)?;
            Ok(now != before && now.trim() != "0")
        })?;
        let journal = one.run_ok(&["journalctl", "--no-pager", "-u", service])?;
        ensure!(journal.contains("Watchdog timeout"), "{service}: {journal}");
    }
    for service in SERVICES {
        let folder = format!("/run/systemd/system/{service}.service.d");
        one.run_ok(&["rm", "-r", &folder])?;
    }
    one.run_ok(&["systemctl", "daemon-reload"])?;
    one.run_ok(&[&["systemctl", "restart"], &SERVICES[..]].concat())?;
    all_run(one)
}

fn an_upgrade_refuses_no_login(one: &Machine, newer: &Path) -> anyhow::Result<()> {
    one.write_file("/srv/logins.py", LOGINS.as_bytes(), 0o644)?;
    let before = SERVICES.map(|service| main_process(one, service));
    let logins = [
        "systemd-run",
        "--unit=logins",
        "--property=StandardOutput=file:/srv/logins-said",
        "--property=RemainAfterExit=yes",
        "python3",
        "/srv/logins.py",
    ];
    one.run_ok(&logins)?;
    one.wait_for("logins begin", PATIENCE, |one| {
        Ok(one
            .run(&["test", "-e", "/srv/logins-run"])?
            .status
            .success())
    })?;
    install(one, newer)?;
    one.write_file("/srv/logins-stop", b"", 0o644)?;
    one.wait_for("logins end", PATIENCE, |one| {
        let said = one.read_file("/srv/logins-said")?;
        Ok(String::from_utf8_lossy(&said).contains("answered"))
    })?;
    let said = one.read_file("/srv/logins-said")?;
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<_> = said.lines().collect();
    ensure!(lines.len() == 1, "logins failed: {said}");
    let answered: u64 = said.trim().trim_start_matches("answered ").parse()?;
    ensure!(answered > 10, "the upgrade was over too soon: {said}");

    let version = one.run_ok(&[
        "dpkg-query",
        "--show",
        "--showformat=${Version}",
        "chatmail-suite",
    ])?;
    ensure!(version.ends_with("+newer"), "{version}");
    for (service, before) in SERVICES.into_iter().zip(before) {
        ensure!(
            main_process(one, service)? != before?,
            "{service} is the old one"
        );
    }
    let kept = one.read_file("/etc/chatmail/chatmail.ini")?;
    assert_eq!(String::from_utf8_lossy(&kept), CONFIGURATION);
    all_run(one)
}

fn a_reboot_brings_everything_back(one: &Machine) -> anyhow::Result<()> {
    one.reboot()?;
    all_run(one)
}

fn a_purge_leaves_what_is_the_operators(one: &Machine) -> anyhow::Result<()> {
    one.run_ok(&["apt-get", "purge", "--yes", "--quiet", "chatmail-suite"])?;
    for gone in [
        "/usr/bin/doveauth",
        "/var/lib/chatmail",
        "/var/lib/mxdeliv-bridge",
    ] {
        ensure!(!one.run(&["test", "-e", gone])?.status.success(), "{gone}");
    }
    all_are(one, "inactive")?;
    for kept in [
        &format!("{MAILBOXES}/abcdefghi@one.test/password"),
        "/etc/chatmail/chatmail.ini",
        "/etc/dkimkeys/opendkim.private",
    ] {
        one.run_ok(&["test", "-s", kept])?;
    }
    Ok(())
}
