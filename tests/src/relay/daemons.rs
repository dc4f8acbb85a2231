//! Our own daemons, and the sockets that the supervisor holds for them.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use chatmail::config::Listen;
use nix::unistd::chown;

use super::Relay;
use super::options::Variant;
use crate::binaries;
use crate::host::users::{FILTER_USER, MAIL_USER, Owner};
use crate::supervisor::{Program, Stage};

/// What stands in for filtermail on a relay whose milter does nothing.
const NULL_MILTER: &str = "null-milter";

/// The daemons of a relay, by the names of their processes, and who they run as.
pub(super) fn of(variant: Variant) -> &'static [(&'static str, &'static str)] {
    match variant {
        Variant::Full => &[("filtermail", FILTER_USER), ("doveauth", MAIL_USER)],
        Variant::Plain | Variant::OpenDkim => &[],
        Variant::NullMilter => &[(NULL_MILTER, FILTER_USER)],
    }
}

/// Writes `chatmail.ini` and makes the keys that mail is signed with.
///
/// # Errors
/// A file cannot be written, or filtermail is not built or makes no key.
pub(super) fn configure(relay: &Relay) -> anyhow::Result<()> {
    fs::write(relay.layout.chatmail_ini(), &relay.chatmail_ini)?;
    if signs(relay) {
        for selector in &relay.config.dkim_selectors.0 {
            dkim(relay, &["generate", "--selector", selector])?;
        }
    }
    Ok(())
}

/// What the DNS must say of the keys: lines of a zone file.
///
/// # Errors
/// filtermail does not tell.
pub(super) fn dkim_records(relay: &Relay) -> anyhow::Result<String> {
    if signs(relay) {
        dkim(relay, &["show-record"])
    } else {
        Ok(String::new())
    }
}

/// A relay that is known by its address has no DNS to put a key into.
fn signs(relay: &Relay) -> bool {
    relay.options.variant == Variant::Full && relay.config.mail_domain.ip().is_none()
}

/// Runs `filtermail dkim` as an operator would, and gives what it prints.
fn dkim(relay: &Relay, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(binaries::release("filtermail")?)
        .arg("--config")
        .arg(relay.layout.chatmail_ini())
        .arg("dkim")
        .args(arguments)
        .output()
        .context("running filtermail")?;
    ensure!(
        output.status.success(),
        "`filtermail dkim {}` failed ({}): {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The daemons, which come back when they die as they would under systemd.
///
/// # Errors
/// The binaries are not built.
pub(super) fn programs(relay: &Relay) -> anyhow::Result<Vec<Program>> {
    of(relay.options.variant)
        .iter()
        .map(|&(name, user)| {
            Ok(Program {
                name,
                stage: Stage::Daemons,
                command: command(relay, name)?,
                user: Some(user),
                low_ports: false,
                environment: Vec::new(),
                sockets: sockets(relay, name, user)?,
                log: relay.layout.log(name),
                pidfile: Some(relay.layout.pidfile(name)),
                restart: true,
            })
        })
        .collect()
}

fn command(relay: &Relay, daemon: &str) -> anyhow::Result<Vec<OsString>> {
    if daemon == NULL_MILTER {
        let Listen::Unix(socket) = &relay.config.filtermail_listen else {
            bail!("a milter that does nothing serves unix sockets only");
        };
        let testbed = binaries::release("testbed")?;
        return Ok(vec![testbed.into(), NULL_MILTER.into(), socket.into()]);
    }
    Ok(vec![
        binaries::release(daemon)?.into(),
        "--config".into(),
        relay.layout.chatmail_ini().into(),
    ])
}

/// Binds a daemon's unix sockets. They belong to the supervisor, as they belong to systemd on a real
/// relay: a daemon that is killed leaves its clients waiting for the next one, not refused.
fn sockets(relay: &Relay, daemon: &str, user: &str) -> anyhow::Result<Vec<Arc<OwnedFd>>> {
    let config = &relay.config;
    let milters = match daemon {
        "doveauth" => Vec::new(),
        NULL_MILTER => vec![&config.filtermail_listen],
        _ => vec![
            &config.filtermail_listen,
            &config.filtermail_incoming_listen,
            &config.filtermail_bounce_listen,
        ],
    };
    let milters = milters.into_iter().filter_map(|milter| match milter {
        Listen::Unix(path) => Some((path.as_path(), 0o666)),
        Listen::Tcp(_) => None,
    });
    let dicts: [(&Path, u32); 3] = [
        (&config.doveauth_socket, 0o660),
        (&config.lastlogin_socket, 0o660),
        (&config.policy_socket, 0o666),
    ];
    let dicts = dicts.into_iter().filter(|_| daemon == "doveauth");
    let owner = Owner::of(user)?;
    let bind = |(path, mode): (&Path, u32)| {
        let bound = chatmail::listen::unix(path, mode).and_then(|socket| {
            chown(path, Some(owner.uid), Some(owner.gid))?;
            Ok(Arc::new(OwnedFd::from(socket.into_std()?)))
        });
        bound.with_context(|| format!("binding {}", path.display()))
    };
    dicts.chain(milters).map(bind).collect()
}

/// Where the daemons answer once they serve: a socket that waits for them says nothing.
pub(super) fn answering(relay: &Relay) -> impl Iterator<Item = SocketAddr> {
    let config = &relay.config;
    [config.filtermail_metrics, config.doveauth_metrics]
        .into_iter()
        .flatten()
}
