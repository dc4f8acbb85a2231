//! Our own daemons, and the sockets that the supervisor holds for them.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use chatmail::config::Listen;
use nix::unistd::chown;

use super::Relay;
use crate::binaries;
use crate::host::users::{FILTER_USER, MAIL_USER, Owner};
use crate::supervisor::{Program, Stage};

/// The daemons of a full relay, by the names of their binaries and processes, and who they run as.
pub const DAEMONS: [(&str, &str); 2] = [("filtermail", FILTER_USER), ("doveauth", MAIL_USER)];

/// Writes `chatmail.ini`.
///
/// # Errors
/// The file cannot be written.
pub(super) fn configure(relay: &Relay) -> anyhow::Result<()> {
    fs::write(relay.layout.chatmail_ini(), &relay.chatmail_ini)?;
    Ok(())
}

/// The daemons, which come back when they die as they would under systemd.
///
/// # Errors
/// The binaries are not built.
pub(super) fn programs(relay: &Relay) -> anyhow::Result<Vec<Program>> {
    DAEMONS
        .into_iter()
        .map(|(name, user)| {
            Ok(Program {
                name,
                stage: Stage::Daemons,
                command: vec![
                    binaries::release(name)?.into(),
                    "--config".into(),
                    relay.layout.chatmail_ini().into(),
                ],
                user: Some(user),
                environment: Vec::new(),
                sockets: sockets(relay, name, user)?,
                log: relay.layout.log(name),
                pidfile: Some(relay.layout.pidfile(name)),
                restart: true,
            })
        })
        .collect()
}

/// Binds a daemon's unix sockets. They belong to the supervisor, as they belong to systemd on a real
/// relay: a daemon that is killed leaves its clients waiting for the next one, not refused.
fn sockets(relay: &Relay, daemon: &str, user: &str) -> anyhow::Result<Vec<Arc<OwnedFd>>> {
    let config = &relay.config;
    let paths: Vec<(&Path, u32)> = match daemon {
        "doveauth" => vec![
            (&config.doveauth_socket, 0o660),
            (&config.lastlogin_socket, 0o660),
            (&config.policy_socket, 0o666),
        ],
        _ => match &config.filtermail_listen {
            Listen::Unix(path) => vec![(path, 0o666)],
            Listen::Tcp(_) => Vec::new(),
        },
    };
    let owner = Owner::of(user)?;
    let bind = |(path, mode): (&Path, u32)| {
        let bound = chatmail::listen::unix(path, mode).and_then(|socket| {
            chown(path, Some(owner.uid), Some(owner.gid))?;
            Ok(Arc::new(OwnedFd::from(socket.into_std()?)))
        });
        bound.with_context(|| format!("binding {}", path.display()))
    };
    paths.into_iter().map(bind).collect()
}

/// Where the daemons answer once they serve: a socket that waits for them says nothing.
pub(super) fn answering(relay: &Relay) -> impl Iterator<Item = SocketAddr> {
    let config = &relay.config;
    [config.filtermail_metrics, config.doveauth_metrics]
        .into_iter()
        .flatten()
}
