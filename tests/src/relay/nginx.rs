//! A private nginx, which has TLS for the bridge and serves the web pages.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use chatmail::config::Listen;
use minijinja::Value;

use super::Relay;
use crate::binaries;
use crate::host::addresses::Port;
use crate::supervisor::{Program, Stage};
use crate::template::render;

const NGINX_CONF: &str = include_str!("../../../ansible/roles/nginx/templates/nginx.conf.j2");
const PAGE_HEADERS: &str = include_str!("../../../ansible/roles/nginx/files/page-headers.conf");
const IROH_RELAY: &str = include_str!("../../../ansible/roles/nginx/templates/iroh-relay.conf.j2");
const PLAIN_HTTP: &str = include_str!("../../config/nginx/plain-http.conf");

/// The process.
pub(super) const NAME: &str = "nginx";

/// Who its workers run as: the user of Debian's package.
pub(super) const USER: &str = "www-data";

/// Writes nginx's configuration and, from `chatmail.ini`, which is there, the web pages.
///
/// # Errors
/// A file cannot be written, the bridge listens on a port, or it renders no pages.
pub(super) fn configure(relay: &Relay) -> anyhow::Result<()> {
    let layout = &relay.layout;
    let Listen::Unix(bridge) = &relay.config.mxdeliv_listen else {
        bail!("the testbed's nginx finds the bridge at a unix socket");
    };
    let https = relay.address.socket(Port::Https);
    let has_http2_directive = knows(relay, "http2 on")?;
    let http2 = if has_http2_directive { "" } else { " http2" };
    let with_calls = |file: &Path| match relay.has_calls() {
        true => path(file),
        false => "".into(),
    };
    let values = [
        ("nginx_user", USER.into()),
        ("nginx_error_log", path(&layout.log("nginx"))),
        ("nginx_access_log", path(&layout.log("nginx-access"))),
        ("nginx_temp", path(&layout.nginx_temp())),
        (
            "nginx_https_listen",
            vec![format!("{https} ssl{http2} backlog=4096")].into(),
        ),
        ("nginx_has_http2_directive", has_http2_directive.into()),
        ("nginx_behind_alpn", false.into()),
        ("nginx_tls_chain", path(&layout.certificate())),
        ("nginx_tls_key", path(&layout.key())),
        (
            "nginx_max_message_size",
            relay.config.max_message_size.bytes().into(),
        ),
        (
            "nginx_client_header",
            relay.config.mxdeliv_client_header.clone().into(),
        ),
        // Versions that limit the number of header lines (1000 unless told otherwise) must be told.
        (
            "nginx_counts_headers",
            knows(relay, "max_headers 1200")?.into(),
        ),
        ("nginx_requests_per_client", 512.into()),
        ("nginx_bridge_socket", path(bridge)),
        ("nginx_pages", path(&layout.pages())),
        ("nginx_page_headers", path(&layout.page_headers())),
        ("nginx_iroh_locations", with_calls(&layout.iroh_locations())),
        ("nginx_plain_http", with_calls(&layout.plain_http())),
    ];
    if relay.has_calls() {
        write_calls(relay)?;
    }
    fs::write(layout.page_headers(), PAGE_HEADERS)?;
    render_pages(relay)?;
    fs::write(layout.nginx_conf(), render(NGINX_CONF, &values)?)?;
    Ok(())
}

/// Writes the way to iroh-relay, with TLS and without.
fn write_calls(relay: &Relay) -> anyhow::Result<()> {
    let layout = &relay.layout;
    let iroh_relay = relay.address.socket(Port::IrohRelay).to_string();
    let values = [
        ("nginx_iroh_relay", iroh_relay.into()),
        ("nginx_access_log", path(&layout.log("nginx-access"))),
    ];
    fs::write(layout.iroh_locations(), render(IROH_RELAY, &values)?)?;
    let values = [
        (
            "address",
            relay.address.socket(Port::Http).to_string().into(),
        ),
        ("iroh", path(&layout.iroh_locations())),
    ];
    fs::write(layout.plain_http(), render(PLAIN_HTTP, &values)?)?;
    Ok(())
}

/// Has the bridge render the web pages, as an operator would.
fn render_pages(relay: &Relay) -> anyhow::Result<()> {
    let output = Command::new(binaries::release("mxdeliv-bridge")?)
        .arg("--config")
        .arg(relay.layout.chatmail_ini())
        .arg("pages")
        .arg(relay.layout.pages())
        .output()
        .context("running mxdeliv-bridge")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`mxdeliv-bridge pages` failed ({}): {complaint}",
        output.status
    );
    Ok(())
}

/// Whether this version knows a directive.
fn knows(relay: &Relay, directive: &str) -> anyhow::Result<bool> {
    let probe = relay.layout.nginx_temp().join("probe.conf");
    fs::write(&probe, format!("events {{}} http {{ {directive}; }}"))?;
    let output = command(relay, &probe)
        .arg("-t")
        .output()
        .context("running nginx")?;
    Ok(output.status.success())
}

fn path(path: &Path) -> Value {
    path.display().to_string().into()
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
        network: relay.network.clone(),
        environment: Vec::new(),
        sockets: Vec::new(),
        log: layout.log("nginx"),
        pidfile: Some(layout.pidfile(NAME)),
        restart: true,
    }
}
