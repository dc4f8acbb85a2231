//! A private Postfix.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use chatmail::config::Listen;
use minijinja::Value;

use super::options::{ServerSetting, Variant};
use super::{Host, Relay, opendkim};
use crate::host::addresses::Port;
use crate::supervisor::{Program, Stage};
use crate::template::render;

/// The folder of what a public relay gets too.
macro_rules! role {
    ($file:literal) => {
        include_str!(concat!("../../../ansible/roles/postfix/", $file))
    };
}

const MAIN_CF: &str = role!("templates/main.cf.j2");
const MASTER_CF: &str = role!("templates/master.cf.j2");
const OWN_DOMAIN: &str = role!("templates/own_domain.j2");

/// Runs a program as its child and passes SIGTERM on. Postfix's master switches its effective user now
/// and then, at which the kernel forgets that it should be told of our death; a shell does not. Nor may
/// the master lead a process group when it starts: it makes a session.
const FORWARD_SIGTERM: &str =
    r#""$@" & child=$!; trap 'kill "$child"; wait "$child"; exit' TERM; wait "$child""#;

/// Files that are used as they are.
const TABLES: [(&str, &str); 6] = [
    ("login_map", role!("files/login_map")),
    ("tls_policy", role!("files/tls_policy")),
    ("submission_headers", role!("files/submission_headers")),
    ("peer_headers", role!("files/peer_headers")),
    ("delivery_headers", role!("files/delivery_headers")),
    ("openssl.cnf", role!("files/openssl.cnf")),
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
    let mut values = main_values(relay, authorities)?;
    values.extend(service_values(relay)?);
    for (name, template) in [
        ("main.cf", MAIN_CF),
        ("own_domain", OWN_DOMAIN),
        ("master.cf", MASTER_CF),
    ] {
        let mut text = render(template, &values)?;
        if name == "main.cf" {
            for setting in &relay.options.server_settings {
                if let ServerSetting::Postfix(line) = setting {
                    text = with_line(&text, line);
                }
            }
        }
        write_old(&etc.join(name), &text)?;
    }
    Ok(())
}

/// The configuration with this line in the place of the one with the same name. Two of them would make each process
/// of Postfix complain.
fn with_line(main_cf: &str, line: &str) -> String {
    let name = |line: &str| line.split_once('=').map(|(name, _)| name.trim().to_owned());
    let replaced = name(line);
    let others = main_cf.lines().filter(|line| name(line) != replaced);
    others
        .chain([line])
        .map(|line| format!("{line}\n"))
        .collect()
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
        network: relay.network.clone(),
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

fn main_values(relay: &Relay, authorities: &Path) -> anyhow::Result<Vec<(&'static str, Value)>> {
    let layout = &relay.layout;
    let config = &relay.config;
    let literal = relay.config.mail_domain.ip();
    let host_name = match literal {
        // A host name must be one; brackets are for addresses.
        Some(_) => "literal.test".to_owned(),
        None => match &relay.host {
            Host::Front(name) => name.clone(),
            Host::Whole | Host::Backend(_) => relay.domain(),
        },
    };
    let [queue_lifetime, bounce_lifetime] = match relay.options.queue_lifetime {
        Some(seconds) => [seconds, seconds].map(|seconds| format!("{seconds}s")),
        None => ["5d", "1d"].map(str::to_owned),
    };
    let virtual_transport = if relay.options.acceptance_only {
        "discard:"
    } else {
        "lmtp:unix:private/dovecot-lmtp"
    };
    let literal = literal.map(|ip| ip.to_string()).unwrap_or_default();
    let mx_milter = filtermail(relay, &config.filtermail_incoming_listen)?;
    let bounce_milter = filtermail(relay, &config.filtermail_bounce_listen)?;
    Ok(vec![
        ("postfix_queue_directory", path(&layout.queue())),
        ("postfix_data_directory", path(&layout.postfix_data())),
        ("postfix_maillog_file", path(&layout.log("postfix"))),
        ("postfix_maillog_prefix", path(layout.root())),
        // As it would be between machines.
        (
            "postfix_smtp_bind_address",
            relay.address.ip().to_string().into(),
        ),
        ("postfix_smtp_port", Port::Mx.number().into()),
        ("postfix_host_name", host_name.into()),
        ("postfix_domain", relay.domain().into()),
        ("postfix_own_domain_pattern", own_domain(relay).into()),
        ("postfix_literal_ip", literal.into()),
        ("postfix_virtual_transport", virtual_transport.into()),
        (
            "postfix_classic_settings",
            (relay.options.variant == Variant::ClassicSettings).into(),
        ),
        ("postfix_authorities", path(authorities)),
        ("postfix_connections_per_client", 0.into()),
        ("postfix_tls_chain", path(&layout.certificate())),
        ("postfix_tls_key", path(&layout.key())),
        (
            "postfix_message_size_limit",
            config.max_message_size.bytes().into(),
        ),
        (
            "postfix_forbids_bare_newline",
            // Against smuggled messages: versions that can refuse lines without CR must do so.
            default_of("smtpd_forbid_bare_newline").is_ok().into(),
        ),
        (
            "postfix_submission_milter",
            submission_milter(relay)?.into(),
        ),
        ("postfix_mx_milter", mx_milter.into()),
        ("postfix_bounce_milter", bounce_milter.into()),
        ("postfix_queue_lifetime", queue_lifetime.into()),
        ("postfix_bounce_lifetime", bounce_lifetime.into()),
    ])
}

fn service_values(relay: &Relay) -> anyhow::Result<Vec<(&'static str, Value)>> {
    let config = &relay.config;
    let service = |port| Value::from(relay.address.socket(port).to_string());
    let local = |port| Value::from(relay.address.local(port).to_string());
    let mut values = vec![
        ("postfix_tables", path(&relay.layout.postfix_etc())),
        ("postfix_mx_service", service(Port::Mx)),
        ("postfix_submission_service", service(Port::Submission)),
        ("postfix_submissions_service", service(Port::Smtps)),
        // The testbed's clients reach all ports.
        ("postfix_alpn_service", "".into()),
        ("postfix_smtpd_processes", 1000.into()),
        ("postfix_without_tls", relay.options.acceptance_only.into()),
        ("postfix_bridge", relay.has_bridge().into()),
    ];
    if relay.has_bridge() {
        let route_socket = inside(relay, &config.mxdeliv_route_socket)?;
        let return_socket = inside(relay, &config.mxdeliv_return_socket)?;
        values.extend([
            ("postfix_route_socket", route_socket.into()),
            ("postfix_return_socket", return_socket.into()),
            ("postfix_fallback_service", local(Port::Fallback)),
            ("postfix_return_service", local(Port::Return)),
        ]);
    }
    Ok(values)
}

fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

/// The milter for submission.
fn submission_milter(relay: &Relay) -> anyhow::Result<String> {
    match relay.options.variant {
        Variant::Plain | Variant::ClassicSettings => Ok(String::new()),
        Variant::Full | Variant::NullMilter => milter(relay, &relay.config.filtermail_listen),
        Variant::OpenDkim => milter(relay, &Listen::Unix(opendkim::socket(relay))),
    }
}

/// One of filtermail's milters, where it runs.
fn filtermail(relay: &Relay, listen: &Listen) -> anyhow::Result<String> {
    match relay.options.variant {
        Variant::Full => milter(relay, listen),
        Variant::Plain | Variant::ClassicSettings | Variant::NullMilter | Variant::OpenDkim => {
            Ok(String::new())
        }
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

/// The pattern of our own domain.
fn own_domain(relay: &Relay) -> String {
    let mut pattern = String::new();
    for character in relay.domain().chars() {
        if !character.is_ascii_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
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
