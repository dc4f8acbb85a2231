//! A private nginx, which has TLS for the bridge.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use chatmail::config::Listen;

use super::Relay;
use crate::host::addresses::Port;
use crate::supervisor::{Program, Stage};
use crate::template::render;

const NGINX_CONF: &str = include_str!("../../config/nginx/nginx.conf");

/// The process.
pub(super) const NAME: &str = "nginx";

/// Who its workers run as: the user of Debian's package.
pub(super) const USER: &str = "www-data";

/// Writes nginx's configuration.
///
/// # Errors
/// The file cannot be written, or the bridge listens on a port.
pub(super) fn configure(relay: &Relay) -> anyhow::Result<()> {
    let layout = &relay.layout;
    let Listen::Unix(bridge) = &relay.config.mxdeliv_listen else {
        bail!("the testbed's nginx finds the bridge at a unix socket");
    };
    let values = [
        ("user", USER.to_owned()),
        ("log", layout.log("nginx").display().to_string()),
        (
            "access_log",
            layout.log("nginx-access").display().to_string(),
        ),
        ("temp", layout.nginx_temp().display().to_string()),
        ("address", relay.address.socket(Port::Https).to_string()),
        ("certificate", layout.certificate().display().to_string()),
        ("key", layout.key().display().to_string()),
        (
            "max_message_size",
            relay.config.max_message_size.bytes().to_string(),
        ),
        ("client_header", relay.config.mxdeliv_client_header.clone()),
        ("max_headers", max_headers(relay)?),
        ("bridge", bridge.display().to_string()),
    ];
    fs::write(layout.nginx_conf(), render(NGINX_CONF, &values)?)?;
    Ok(())
}

/// Versions that limit the number of header lines (1000 unless told otherwise) must be told; others do not
/// know the word.
fn max_headers(relay: &Relay) -> anyhow::Result<String> {
    const LIMIT: &str = "max_headers 1200;";
    let probe = relay.layout.nginx_temp().join("probe.conf");
    fs::write(&probe, format!("events {{}} http {{ {LIMIT} }}"))?;
    let output = command(relay, &probe)
        .arg("-t")
        .output()
        .context("running nginx")?;
    Ok(if output.status.success() {
        LIMIT.to_owned()
    } else {
        "# This version does not count header lines.".to_owned()
    })
}

fn command(relay: &Relay, conf: &Path) -> Command {
    let mut command = Command::new("nginx");
    // Until it has read its configuration, and without the folders of the system's own instance.
    command.arg("-e").arg(relay.layout.log(NAME));
    command.arg("-p").arg(relay.layout.nginx_temp());
    command.arg("-c").arg(conf);
    command
}

/// nginx's master in the foreground.
pub(super) fn program(relay: &Relay) -> Program {
    let layout = &relay.layout;
    let command = command(relay, &layout.nginx_conf());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Program {
        name: NAME,
        stage: Stage::Mail,
        command: words.map(Into::into).collect(),
        user: None,
        low_ports: false,
        environment: Vec::new(),
        sockets: Vec::new(),
        log: layout.log("nginx"),
        pidfile: Some(layout.pidfile(NAME)),
        restart: true,
    }
}
