//! iroh-relay, through which apps in chats exchange realtime data, on a relay with calls.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use super::Relay;
use crate::host::addresses::Port;
use crate::host::users::IROH_USER;
use crate::iroh_relay::built;
use crate::supervisor::{Program, Stage};
use crate::template::render;

/// The process.
pub(super) const NAME: &str = "iroh-relay";

const IROH_RELAY_TOML: &str =
    include_str!("../../../ansible/roles/calls/templates/iroh-relay.toml.j2");

/// Writes its configuration.
///
/// # Errors
/// A file cannot be written, or iroh-relay is not built.
pub(super) fn configure(relay: &Relay) -> anyhow::Result<()> {
    let socket = |port| relay.address.socket(port).to_string().into();
    let values = [
        ("calls_iroh_listen", socket(Port::IrohRelay)),
        ("calls_iroh_metrics", socket(Port::IrohMetrics)),
    ];
    fs::write(
        relay.layout.iroh_relay_toml(),
        render(IROH_RELAY_TOML, &values)?,
    )?;
    // The cache folder may be one that lets nobody but root in.
    let (from, to) = (built()?, executable(relay));
    fs::copy(&from, &to)
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// iroh-relay, which stays in the foreground.
pub(super) fn program(relay: &Relay) -> Program {
    Program {
        name: NAME,
        stage: Stage::Daemons,
        command: vec![
            executable(relay).into(),
            "--config-path".into(),
            relay.layout.iroh_relay_toml().into(),
        ],
        user: Some(IROH_USER),
        low_ports: false,
        network: relay.network.clone(),
        environment: vec![("RUST_LOG", "error".into())],
        sockets: Vec::new(),
        log: relay.layout.log(NAME),
        pidfile: Some(relay.layout.pidfile(NAME)),
        restart: true,
    }
}

fn executable(relay: &Relay) -> PathBuf {
    relay.layout.etc().join(NAME)
}
