//! A private nginx, which has TLS for the bridge.

use std::fs;
use std::path::PathBuf;

use anyhow::bail;
use chatmail::config::Listen;

use super::Relay;
use crate::host::addresses::Port;
use crate::supervisor::{Program, Stage};
use crate::template::render;

const NGINX_CONF: &str = include_str!("../../config/nginx/nginx.conf");

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
        ("pidfile", pidfile(relay).display().to_string()),
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
        ("bridge", bridge.display().to_string()),
    ];
    fs::write(layout.nginx_conf(), render(NGINX_CONF, &values)?)?;
    Ok(())
}

/// nginx's master in the foreground.
pub(super) fn program(relay: &Relay) -> Program {
    let layout = &relay.layout;
    Program {
        name: "nginx",
        stage: Stage::Mail,
        command: vec![
            "nginx".into(),
            // Until the configuration is read, and without the folders of the system's own instance.
            "-e".into(),
            layout.log("nginx").into(),
            "-p".into(),
            layout.nginx_temp().into(),
            "-c".into(),
            layout.nginx_conf().into(),
        ],
        user: None,
        low_ports: false,
        environment: Vec::new(),
        sockets: Vec::new(),
        log: layout.log("nginx"),
        pidfile: None,
        restart: true,
    }
}

/// The file that nginx writes its process id to.
pub(super) fn pidfile(relay: &Relay) -> PathBuf {
    relay.layout.pidfile("nginx")
}
