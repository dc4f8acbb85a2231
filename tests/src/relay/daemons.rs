//! Our own daemons.

use std::fs;
use std::path::PathBuf;

use chatmail::config::Listen;

use super::Relay;
use crate::binaries;
use crate::host::users::{FILTER_USER, MAIL_USER};
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
                log: relay.layout.log(name),
                pidfile: Some(relay.layout.pidfile(name)),
                restart: true,
            })
        })
        .collect()
}

/// The unix sockets that exist when the daemons are ready.
pub(super) fn sockets(relay: &Relay) -> Vec<PathBuf> {
    let config = &relay.config;
    let mut sockets = vec![
        config.doveauth_socket.clone(),
        config.lastlogin_socket.clone(),
        config.policy_socket.clone(),
    ];
    if let Listen::Unix(path) = &config.filtermail_listen {
        sockets.push(path.clone());
    }
    sockets
}
