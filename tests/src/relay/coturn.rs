//! coturn, the TURN server of a relay with calls.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::layout::make;
use super::{Relay, random_letters};
use crate::host::addresses::Port;
use crate::host::packages::COTURN;
use crate::host::users::{MAIL_USER, Owner};
use crate::supervisor::{Program, Stage};
use crate::template::render;

/// The process.
pub(super) const NAME: &str = "coturn";

/// The user that Debian's package makes, and the program.
const USER: &str = "turnserver";

const TURNSERVER_CONF: &str =
    include_str!("../../../ansible/roles/calls/templates/turnserver.conf.j2");

/// The first and the last of the ports that calls go through.
const RELAY_PORTS: (u16, u16) = (20_000, 20_999);

/// Writes its configuration, and the secret that it shares with doveauth.
///
/// Each of the two has the secret in a file of its own, which it can read and not write, and the other one
/// not even read.
///
/// # Errors
/// A file cannot be written, or the package is not installed.
pub(super) fn configure(relay: &Relay) -> anyhow::Result<()> {
    let layout = &relay.layout;
    let user = Owner::of(USER)
        .with_context(|| format!("coturn is not installed: apt-get install {COTURN}"))?;
    make(&layout.coturn(), 0o700, user)?;
    let secret = random_letters(40);
    let (first, last) = RELAY_PORTS;
    let values = [
        ("calls_secret", secret.clone().into()),
        ("calls_realm", relay.domain().into()),
        (
            "calls_database",
            layout.coturn().join("turndb").display().to_string().into(),
        ),
        ("calls_listen", relay.address.ip().to_string().into()),
        ("calls_turn_port", Port::Turn.number().into()),
        ("calls_turn_first_relay_port", first.into()),
        ("calls_turn_last_relay_port", last.into()),
        // Some are left for those who come while others are let go.
        ("calls_total_quota", (last - first - 99).into()),
    ];
    let conf = render(TURNSERVER_CONF, &values)?;
    confide(&layout.turnserver_conf(), &conf, USER)?;
    confide(&layout.turn_secret(), &format!("{secret}\n"), MAIL_USER)
}

/// Writes a file that root and the group of `reader` can read.
fn confide(path: &Path, text: &str, reader: &str) -> anyhow::Result<()> {
    let context = || format!("writing {}", path.display());
    let mut options = fs::File::options();
    let file = options.write(true).create_new(true).mode(0o640).open(path);
    let mut file = file.with_context(context)?;
    Owner::ROOT.with_group(reader)?.own(path)?;
    file.write_all(text.as_bytes()).with_context(context)
}

/// coturn in the foreground.
pub(super) fn program(relay: &Relay) -> Program {
    Program {
        name: NAME,
        stage: Stage::Daemons,
        command: vec![
            USER.into(),
            "-c".into(),
            relay.layout.turnserver_conf().into(),
            // None: the supervisor writes one.
            "--pidfile=".into(),
        ],
        user: Some(USER),
        low_ports: false,
        network: relay.network.clone(),
        environment: Vec::new(),
        sockets: Vec::new(),
        log: relay.layout.log(NAME),
        pidfile: Some(relay.layout.pidfile(NAME)),
        restart: true,
    }
}
