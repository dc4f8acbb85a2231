//! A private Postfix.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use chatmail::config::Listen;

use super::options::Variant;
use super::{Relay, opendkim};
use crate::host::addresses::Port;
use crate::supervisor::{Program, Stage};
use crate::template::render;

const MAIN_CF: &str = include_str!("../../config/postfix/main.cf");
const MASTER_CF: &str = include_str!("../../config/postfix/master.cf");

/// What is in them when there is a bridge.
const BRIDGE_MAIN_CF: &str = include_str!("../../config/postfix/bridge-main.cf");
const BRIDGE_MASTER_CF: &str = include_str!("../../config/postfix/bridge-master.cf");
const FROM_BRIDGE: &str = include_str!("../../config/postfix/from_bridge");
const OWN_DOMAIN: &str = include_str!("../../config/postfix/own_domain");

/// Runs a program as its child and passes SIGTERM on. Postfix's master switches its effective user now
/// and then, at which the kernel forgets that it should be told of our death; a shell does not. Nor may
/// the master lead a process group when it starts: it makes a session.
const FORWARD_SIGTERM: &str =
    r#""$@" & child=$!; trap 'kill "$child"; wait "$child"; exit' TERM; wait "$child""#;

/// main.cf says the rest.
const SUBMISSION_WITH_TLS: &str = "    # No login before STARTTLS.";

/// main.cf says the rest here too.
const MX_WITH_TLS: &str = "    # No mail before STARTTLS.";

/// To measure without the cost of TLS.
const MX_WITHOUT_TLS: &str = "    -o smtpd_tls_security_level=none";

/// To measure without the cost of TLS.
const SUBMISSION_WITHOUT_TLS: &str =
    "    -o smtpd_tls_security_level=none\n    -o smtpd_tls_auth_only=no";

/// Files that are used as they are.
const TABLES: [(&str, &str); 5] = [
    ("login_map", include_str!("../../config/postfix/login_map")),
    (
        "tls_policy",
        include_str!("../../config/postfix/tls_policy"),
    ),
    (
        "submission_headers",
        include_str!("../../config/postfix/submission_headers"),
    ),
    (
        "peer_headers",
        include_str!("../../config/postfix/peer_headers"),
    ),
    (
        "delivery_headers",
        include_str!("../../config/postfix/delivery_headers"),
    ),
];

/// For a locked-up process's resolver. A server that is silent is to be noticed within a test's
/// patience (testbed).
const RESOLVER_OPTIONS: &str = "options timeout:1 attempts:2\n";

/// Writes Postfix's configuration folder. Peers with a name must show certificates of these
/// `authorities` (a PEM file).
///
/// # Errors
/// Postfix is not installed, or a file cannot be written.
pub(super) fn configure(relay: &Relay, authorities: &Path) -> anyhow::Result<()> {
    let etc = relay.layout.postfix_etc();
    for (name, text) in TABLES {
        write_old(&etc.join(name), text)?;
    }
    let resolver = format!("nameserver {}\n{RESOLVER_OPTIONS}", relay.dns.server.ip());
    write_old(&relay.layout.queue().join("etc/resolv.conf"), &resolver)?;
    write_old(
        &etc.join("main.cf"),
        &render(MAIN_CF, &main_values(relay, authorities)?)?,
    )?;
    write_old(&etc.join("own_domain"), &own_domain(relay)?)?;
    let port = |port: Port| port.number().to_string();
    let (mx_security, submission_security) = if relay.options.acceptance_only {
        (MX_WITHOUT_TLS, SUBMISSION_WITHOUT_TLS)
    } else {
        (MX_WITH_TLS, SUBMISSION_WITH_TLS)
    };
    let master = render(
        MASTER_CF,
        &[
            ("etc", etc.display().to_string()),
            ("ip", relay.address.ip().to_string()),
            ("mx_port", port(Port::Mx)),
            ("submission_port", port(Port::Submission)),
            ("smtps_port", port(Port::Smtps)),
            ("mx_security", mx_security.to_owned()),
            ("submission_security", submission_security.to_owned()),
            ("bridge_services", bridge_services(relay)?),
        ],
    )?;
    write_old(&etc.join("master.cf"), &master)
}

/// Postfix's master in the foreground.
///
/// # Errors
/// Postfix does not say where its daemons are.
pub(super) fn program(relay: &Relay) -> anyhow::Result<Program> {
    let etc = relay.layout.postfix_etc();
    let daemons = default_of("daemon_directory")?;
    Ok(Program {
        name: "postfix",
        stage: Stage::Mail,
        command: vec![
            "sh".into(),
            "-c".into(),
            FORWARD_SIGTERM.into(),
            "postfix".into(),
            format!("{daemons}/master").into(),
            "-c".into(),
            etc.clone().into(),
            // In the foreground, with its log in its own hands.
            "-s".into(),
        ],
        user: None,
        low_ports: false,
        sockets: Vec::new(),
        environment: vec![("MAIL_CONFIG", etc.into())],
        log: relay.layout.log("postfix"),
        pidfile: None,
        restart: relay.options.restart_servers,
    })
}

/// Writes a file that looks a minute old. Postfix takes one that changed within the last second or two
/// for half-written and sleeps until it is older: two seconds at every start.
fn write_old(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = || format!("writing {}", path.display());
    let mut file = fs::File::create(path).with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)?;
    let minute_ago = SystemTime::now() - Duration::from_secs(60);
    file.set_modified(minute_ago).with_context(context)
}

fn main_values(relay: &Relay, authorities: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let layout = &relay.layout;
    let config = &relay.config;
    let literal = relay.config.mail_domain.ip();
    let host_name = match literal {
        // A host name must be one; brackets are for addresses.
        Some(_) => "literal.test".to_owned(),
        None => relay.domain(),
    };
    let [queue_lifetime, bounce_lifetime] = match relay.options.queue_lifetime {
        Some(seconds) => [seconds, seconds].map(|seconds| format!("{seconds}s")),
        None => ["5d", "1d"].map(str::to_owned),
    };
    Ok(vec![
        ("relay_dir", layout.root().display().to_string()),
        ("etc", layout.postfix_etc().display().to_string()),
        ("queue", layout.queue().display().to_string()),
        ("data", layout.postfix_data().display().to_string()),
        ("log", layout.log("postfix").display().to_string()),
        ("certificate", layout.certificate().display().to_string()),
        ("key", layout.key().display().to_string()),
        ("authorities", authorities.display().to_string()),
        ("mx_port", Port::Mx.number().to_string()),
        ("queue_lifetime", queue_lifetime),
        ("bounce_lifetime", bounce_lifetime),
        ("ip", relay.address.ip().to_string()),
        ("host_name", host_name.clone()),
        ("mail_domain", relay.domain()),
        (
            "virtual_domains",
            if literal.is_some() {
                String::new()
            } else {
                host_name
            },
        ),
        (
            "literal_ip",
            literal.map(|ip| ip.to_string()).unwrap_or_default(),
        ),
        (
            "max_message_size",
            relay.config.max_message_size.to_string(),
        ),
        (
            "virtual_transport",
            if relay.options.acceptance_only {
                "discard:"
            } else {
                "lmtp:unix:private/dovecot-lmtp"
            }
            .to_owned(),
        ),
        ("forbid_bare_newline", forbid_bare_newline()?),
        ("submission_milter", submission_milter(relay)?),
        (
            "mx_milter",
            filtermail(relay, &config.filtermail_incoming_listen)?,
        ),
        (
            "bounce_milter",
            filtermail(relay, &config.filtermail_bounce_listen)?,
        ),
        ("bridge_settings", bridge_settings(relay)?),
    ])
}

/// The milter for submission.
fn submission_milter(relay: &Relay) -> anyhow::Result<String> {
    match relay.options.variant {
        Variant::Plain => Ok(String::new()),
        Variant::Full | Variant::NullMilter => milter(relay, &relay.config.filtermail_listen),
        Variant::OpenDkim => milter(relay, &Listen::Unix(opendkim::socket(relay))),
    }
}

/// One of filtermail's milters, where it runs.
fn filtermail(relay: &Relay, listen: &Listen) -> anyhow::Result<String> {
    match relay.options.variant {
        Variant::Full => milter(relay, listen),
        Variant::Plain | Variant::NullMilter | Variant::OpenDkim => Ok(String::new()),
    }
}

fn milter(relay: &Relay, listen: &Listen) -> anyhow::Result<String> {
    match listen {
        Listen::Tcp(address) => Ok(format!("inet:{address}")),
        Listen::Unix(path) => Ok(format!("unix:{}", inside(relay, path)?)),
    }
}

/// Inside the chroot a unix socket is named from the queue directory.
fn inside(relay: &Relay, socket: &Path) -> anyhow::Result<String> {
    let inside = socket.strip_prefix(relay.layout.queue());
    let inside = inside.with_context(|| {
        format!(
            "{} must lie below Postfix's queue directory",
            socket.display()
        )
    })?;
    Ok(inside.display().to_string())
}

/// The pattern of our own addresses.
fn own_domain(relay: &Relay) -> anyhow::Result<String> {
    let mut pattern = String::new();
    for character in relay.domain().chars() {
        if !character.is_ascii_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    render(OWN_DOMAIN, &[("own_domain", pattern)])
}

fn bridge_settings(relay: &Relay) -> anyhow::Result<String> {
    if !relay.has_bridge() {
        return Ok(String::new());
    }
    let values = [
        ("etc", relay.layout.postfix_etc().display().to_string()),
        (
            "route_socket",
            inside(relay, &relay.config.mxdeliv_route_socket)?,
        ),
    ];
    render(BRIDGE_MAIN_CF, &values)
}

fn bridge_services(relay: &Relay) -> anyhow::Result<String> {
    if !relay.has_bridge() {
        return Ok(String::new());
    }
    let values = [
        ("etc", relay.layout.postfix_etc().display().to_string()),
        ("ip", relay.address.ip().to_string()),
        ("fallback_port", Port::Fallback.number().to_string()),
        ("return_port", Port::Return.number().to_string()),
        (
            "return_socket",
            inside(relay, &relay.config.mxdeliv_return_socket)?,
        ),
        ("from_bridge", FROM_BRIDGE.to_owned()),
    ];
    render(BRIDGE_MASTER_CF, &values)
}

/// Against smuggled messages: versions that can refuse lines without CR must do so.
fn forbid_bare_newline() -> anyhow::Result<String> {
    let known = default_of("smtpd_forbid_bare_newline").is_ok();
    Ok(if known {
        "# A line that ends without CR is not the end of a message for everybody: no smuggling.\n\
         smtpd_forbid_bare_newline = yes\n\
         smtpd_forbid_bare_newline_exclusions ="
            .to_owned()
    } else {
        "# This version cannot forbid bare newlines.".to_owned()
    })
}

/// The built-in value of a setting; an error when this version does not know it.
fn default_of(setting: &str) -> anyhow::Result<String> {
    let output = Command::new("postconf")
        .args(["-d", "-h", setting])
        .output()
        .context("running postconf")?;
    let value = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(
        output.status.success() && !value.is_empty(),
        "this Postfix does not know `{setting}`"
    );
    Ok(value)
}
