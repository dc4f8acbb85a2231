//! OpenDKIM, which signs mail on classic relays: what filtermail's signing is measured against.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use filtermail::dkim::PrivateKey;

use super::Relay;
use super::layout::make;
use crate::host::users::Owner;
use crate::supervisor::{Program, Stage};
use crate::template::render;

/// Its process, and the user that Debian's package makes.
pub(super) const NAME: &str = "opendkim";

const OPENDKIM_CONF: &str = include_str!("../../config/opendkim/opendkim.conf");

/// Writes its configuration and makes its key.
///
/// # Errors
/// A file cannot be written, or the package is not installed.
pub(super) fn configure(relay: &Relay) -> anyhow::Result<()> {
    let user = Owner::of(NAME)?;
    make(&relay.layout.opendkim(), 0o700, user)?;
    // The socket gets this folder's group, which lets Postfix in.
    let folder = socket(relay);
    let folder = folder.parent().context("a socket in a folder")?;
    make(folder, 0o2750, user.with_group("postfix")?)?;

    let key = relay.layout.opendkim().join("key.private");
    fs::write(&key, PrivateKey::generate_rsa()?.to_pem()?)?;
    user.own(&key)?;
    let values = [
        ("domain", relay.domain().into()),
        ("key", key.display().to_string().into()),
        ("socket", socket(relay).display().to_string().into()),
    ];
    fs::write(conf(relay), render(OPENDKIM_CONF, &values)?)?;
    Ok(())
}

/// OpenDKIM in the foreground.
pub(super) fn program(relay: &Relay) -> Program {
    Program {
        name: NAME,
        stage: Stage::Daemons,
        command: vec![NAME.into(), "-f".into(), "-x".into(), conf(relay).into()],
        user: Some(NAME),
        low_ports: false,
        network: relay.network.clone(),
        environment: Vec::new(),
        sockets: Vec::new(),
        log: relay.layout.log(NAME),
        pidfile: Some(relay.layout.pidfile(NAME)),
        restart: false,
    }
}

/// Its socket, inside Postfix's chroot.
pub(super) fn socket(relay: &Relay) -> PathBuf {
    relay.layout.queue().join("opendkim/opendkim.sock")
}

fn conf(relay: &Relay) -> PathBuf {
    relay.layout.opendkim().join("opendkim.conf")
}
