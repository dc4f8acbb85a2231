//! The Debian packages that a relay consists of, installed without starting anything.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

use super::dovecot::{self, Language};
use crate::browser::{self, axe};

/// What `cargo testbed` needs and a plain Debian lacks.
///
/// Of systemd, systemd-analyze, which looks at our units. Where it is not there already nothing starts it.
const PACKAGES: [&str; 8] = [
    "postfix",
    "dovecot-core",
    "dovecot-imapd",
    "dovecot-lmtpd",
    "nginx",
    "unbound",
    "python3-venv",
    "systemd",
];

/// What `cargo testbed bench signing` compares with, and nothing else needs.
pub const OPENDKIM: &str = "opendkim";

/// What a relay with calls needs, and no other: the TURN server.
pub const COTURN: &str = "coturn";

/// What keeps the accounts of a relay of several hosts, and no relay of one needs.
pub const POSTGRESQL: &str = postgres_server::PACKAGE;

/// What judges the project's shell scripts, and nothing else needs.
pub const SHELLCHECK: &str = "shellcheck";

/// What only tests need. For scripts: [`SHELLCHECK`]. For Debian machines: [`FOR_MACHINES`]. For calls: the TURN server, which has a client
/// beside it. For web pages: a browser, a typeface for it, and the program that fetches axe-core, unless there is
/// one that did not come from Debian.
pub fn for_tests() -> Vec<&'static str> {
    let mut packages = vec![
        COTURN,
        browser::PACKAGE,
        "fonts-dejavu-core",
        SHELLCHECK,
        POSTGRESQL,
    ];
    packages.extend(FOR_MACHINES);
    let there = Command::new(axe::NPM).arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        packages.push(axe::NPM);
    }
    packages
}

/// What makes Debian machines ([`crate::machine`]), and nothing else needs.
pub const FOR_MACHINES: [&str; 3] = ["mmdebstrap", "iproute2", "openssh-client"];

/// Of those, the ones that come with a service.
const SERVICES: [(&str, &str); 7] = [
    ("postfix", "postfix.service"),
    ("dovecot-core", "dovecot.service"),
    ("nginx", "nginx.service"),
    ("unbound", "unbound.service"),
    (OPENDKIM, "opendkim.service"),
    (COTURN, "coturn.service"),
    (POSTGRESQL, "postgresql.service"),
];

/// Debian's hook that decides whether an installation may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The packages that are not installed, in the order they are documented; those of `also` last.
///
/// # Errors
/// The machine has no dpkg, so it is not a Debian or one of its descendants.
pub fn missing(also: &[&'static str]) -> anyhow::Result<Vec<&'static str>> {
    let further = dovecot::packages().iter().chain(also).copied();
    let wanted = || PACKAGES.into_iter().chain(further.clone());
    // It complains about packages it has never heard of, and lists the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(wanted())
        .stderr(Stdio::null())
        .output()
        .context("the testbed knows Debian's packages only, and dpkg-query does not run here")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    let installed = |package: &&str| {
        listing
            .lines()
            .any(|line| line.split_once(' ') == Some((*package, "installed")))
    };
    Ok(wanted().filter(|package| !installed(package)).collect())
}

/// Installs what is missing, of what every relay needs and of `also`; asks first unless `yes`.
///
/// No service is started, now or at the next boot: the testbed runs instances of its own.
///
/// # Errors
/// The answer was no, there is nobody to ask, or apt-get failed.
pub async fn ensure_installed(yes: bool, also: &[&'static str]) -> anyhow::Result<()> {
    let missing = missing(also)?;
    if !missing.is_empty() {
        if !yes {
            ask(&missing)?;
        }
        install(&missing).await?;
    }
    Language::installed().map(drop)
}

/// Checks that everything is installed, of what every relay needs and of `also`.
///
/// # Errors
/// Something is missing; the message has the command that installs it.
pub fn require(also: &[&'static str]) -> anyhow::Result<()> {
    let missing = missing(also)?.join(" ");
    ensure!(
        missing.is_empty(),
        "missing Debian packages: {missing}. `cargo testbed test --yes` installs them, or run: apt-get install \
         --no-install-recommends {missing}"
    );
    Ok(())
}

fn ask(missing: &[&str]) -> anyhow::Result<()> {
    let packages = missing.join(" ");
    ensure!(
        std::io::stdin().is_terminal(),
        "missing Debian packages: {packages}. Run again with --yes to install them, or run: apt-get \
         install {packages}"
    );
    print!("The testbed needs these Debian packages: {packages}\nInstall them now? [Y/n] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "" | "y" | "yes" => Ok(()),
        _ => bail!("nothing was installed, so there is nothing to run"),
    }
}

async fn install(missing: &[&str]) -> anyhow::Result<()> {
    // With handlers of our own, Ctrl-C ends apt-get and not us, and the policy below is taken away.
    let _interrupt = signal(SignalKind::interrupt())?;
    let _terminate = signal(SignalKind::terminate())?;
    let _policy = StartNothing::new()?;

    // The one question Postfix asks; the answer leaves the machine without a mail system of its own.
    run_with_input(
        Command::new("debconf-set-selections"),
        "postfix postfix/main_mailer_type select No configuration\n",
    )?;
    apt_get(&["update", "--quiet"]).await?;
    let mut arguments = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    arguments.extend(missing);
    apt_get(&arguments).await?;
    disable_services(missing)
}

async fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let status = tokio::process::Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .await
        .context("running apt-get")?;
    ensure!(
        status.success(),
        "`apt-get {}` failed: {status}",
        arguments.join(" ")
    );
    Ok(())
}

fn run_with_input(mut command: Command, input: &str) -> anyhow::Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .context("running debconf")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let status = child.wait()?;
    ensure!(status.success(), "debconf-set-selections failed: {status}");
    Ok(())
}

/// The policy lasts for the installation only; a newly installed service would start at next boot.
fn disable_services(installed: &[&str]) -> anyhow::Result<()> {
    if !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    for (package, service) in SERVICES {
        if installed.contains(&package) {
            let status = Command::new("systemctl")
                .args(["disable", "--quiet", service])
                .status()
                .context("running systemctl")?;
            ensure!(
                status.success(),
                "`systemctl disable {service}` failed: {status}"
            );
        }
    }
    Ok(())
}

/// While it lives, installing a package starts no service; a policy that was there is kept.
struct StartNothing {
    ours: Option<PathBuf>,
}

impl StartNothing {
    fn new() -> anyhow::Result<Self> {
        let path = PathBuf::from(POLICY);
        let mut file = match fs::File::create_new(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Ok(Self { ours: None });
            }
            Err(error) => return Err(error).with_context(|| format!("writing {POLICY}")),
        };
        let this = Self { ours: Some(path) };
        // 101: invoke-rc.d's "action forbidden by policy".
        file.write_all(b"#!/bin/sh\nexit 101\n")?;
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        Ok(this)
    }
}

impl Drop for StartNothing {
    fn drop(&mut self) {
        if let Some(path) = &self.ours
            && let Err(error) = fs::remove_file(path)
        {
            eprintln!(
                "warning: {} must be removed by hand: {error}",
                path.display()
            );
        }
    }
}
