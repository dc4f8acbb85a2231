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

use super::options::Variant;
use super::{Relay, nginx};
use crate::binaries;
use crate::host::users::{BRIDGE_USER, FILTER_USER, MAIL_USER, Owner};
use crate::supervisor::{Program, Stage};

const BRIDGE: &str = "mxdeliv-bridge";

/// What stands in for filtermail on a relay whose milter does nothing.
const NULL_MILTER: &str = "null-milter";

/// The daemons of a relay, by the names of their processes, and who they run as.
pub(super) fn of(relay: &Relay) -> &'static [(&'static str, &'static str)] {
    const ALL: [(&str, &str); 3] = [
        ("filtermail", FILTER_USER),
        ("doveauth", MAIL_USER),
        (BRIDGE, BRIDGE_USER),
    ];
    match relay.options.variant {
        Variant::Full if relay.host.is_backend() => &ALL[1..2],
        Variant::Full if relay.has_bridge() => &ALL,
        Variant::Full => &ALL[..2],
        Variant::Plain | Variant::ClassicSettings | Variant::OpenDkim => &[],
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
    !relay.host.is_backend()
        && relay.options.variant == Variant::Full
        && relay.config.mail_domain.ip().is_none()
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
    of(relay)
        .iter()
        .map(|&(name, user)| {
            Ok(Program {
                name,
                stage: Stage::Daemons,
                command: command(relay, name)?,
                user: Some(user),
                low_ports: false,
                network: relay.network.clone(),
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
    let owner = Owner::of(user)?;
    let for_bridge = owner.with_group(BRIDGE_USER)?;
    let for_nginx = owner.with_group(nginx::USER)?;
    let listens: Vec<(&Listen, u32, Owner)> = match daemon {
        "filtermail" => vec![
            (&config.filtermail_listen, 0o666, owner),
            (&config.filtermail_incoming_listen, 0o666, owner),
            (&config.filtermail_bounce_listen, 0o666, owner),
        ],
        NULL_MILTER => vec![(&config.filtermail_listen, 0o666, owner)],
        BRIDGE => vec![(&config.mxdeliv_listen, 0o660, for_nginx)],
        _ => Vec::new(),
    };
    let paths: Vec<(&Path, u32, Owner)> = match daemon {
        "doveauth" => vec![
            (&config.doveauth_socket, 0o660, owner),
            (&config.lastlogin_socket, 0o660, owner),
            (&config.metadata_socket, 0o660, owner),
            (&config.policy_socket, 0o666, owner),
            (&config.blocks_socket, 0o660, for_bridge),
        ],
        // Those for Postfix lie in a folder that lets nobody else in.
        BRIDGE => vec![
            (&config.mxdeliv_lmtp_socket, 0o666, owner),
            (&config.mxdeliv_return_socket, 0o666, owner),
            (&config.mxdeliv_route_socket, 0o666, owner),
            (&config.mxdeliv_admin_socket, 0o660, owner),
        ],
        _ => Vec::new(),
    };
    let listens = listens
        .into_iter()
        .filter_map(|(listen, mode, owner)| match listen {
            Listen::Unix(path) => Some((path.as_path(), mode, owner)),
            Listen::Tcp(_) => None,
        });
    let bind = |(path, mode, owner): (&Path, u32, Owner)| {
        let bound = chatmail::listen::unix(path, mode).and_then(|socket| {
            chown(path, Some(owner.uid), Some(owner.gid))?;
            Ok(Arc::new(OwnedFd::from(socket.into_std()?)))
        });
        bound.with_context(|| format!("binding {}", path.display()))
    };
    listens.chain(paths).map(bind).collect()
}

/// Where the daemons answer once they serve: a socket that waits for them says nothing.
pub(super) fn answering(relay: &Relay) -> impl Iterator<Item = SocketAddr> {
    let config = &relay.config;
    let bridge = config.mxdeliv_metrics.filter(|_| relay.has_bridge());
    let filter = config
        .filtermail_metrics
        .filter(|_| !relay.host.is_backend());
    [filter, config.doveauth_metrics, bridge]
        .into_iter()
        .flatten()
}
