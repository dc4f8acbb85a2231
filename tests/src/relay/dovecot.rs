//! A private Dovecot.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chatmail::config::ByteSize;
use minijinja::Value;

use super::options::{PLAIN_PASSWORD, ServerSetting, Variant};
use super::{Host, Relay};
use crate::binaries;
use crate::host::addresses::Port;
use crate::host::dovecot::Language;
use crate::host::users::{BRIDGE_USER, MAIL_USER, Owner};
use crate::patched_dovecot;
use crate::supervisor::{Program, Stage};
use crate::template::render;

/// The folder of what a public relay gets too.
macro_rules! role {
    ($file:literal) => {
        include_str!(concat!("../../../ansible/roles/dovecot/", $file))
    };
}

/// The settings of public relays.
const GROUP_VARS: &str = include_str!("../../../ansible/group_vars/all.yml");

const DOVECOT_CONF: &str = role!("templates/dovecot.conf.j2");
const DOVECOT_2_4_CONF: &str = role!("templates/dovecot-2.4.conf.j2");
const AUTH_CONF: &str = role!("templates/auth.conf.j2");
const AUTH_SCRIPT: &str = role!("files/auth.lua");
const PUSH_SCRIPT: &str = role!("templates/push_notification.lua.j2");

/// What classic relays do for each message: to measure against.
const CLASSIC_PUSH_SCRIPT: &str = include_str!("../../config/classic-push-notification.lua");

/// What runs the push script. It comes with Debian's dovecot-core.
const PUSH_PLUGINS: &str = "mail_lua notify push_notification push_notification_lua";

/// By which backends know each other.
const DOVEADM_PASSWORD: &str = "testbed-doveadm-password";

/// By which they know fronts.
const SESSIONS_PASSWORD: &str = "testbed-sessions-password";

/// How much larger than what Postfix accepts a stored message may be: Postfix counts what the client
/// sends, Dovecot what it stores, with Return-Path and Delivered-To. Postfix is to be the one that
/// refuses, since it can do so while the sender listens.
const TRACE_HEADERS: u64 = 64 << 10;

/// Writes Dovecot's configuration. Of several hosts each must show a certificate of these `authorities` (a PEM file).
///
/// # Errors
/// A file cannot be written.
pub(super) fn configure(relay: &Relay, authorities: &Path) -> anyhow::Result<()> {
    let layout = &relay.layout;
    let config = &relay.config;
    let owner = Owner::of(MAIL_USER)?;
    let name = layout.root().display().to_string().replace('/', "-");
    let max_mail_size = config.max_message_size.bytes();
    let max_mail_size = max_mail_size.saturating_add(TRACE_HEADERS);
    let is_full = relay.options.variant == Variant::Full;
    let is_classic = relay.options.variant == Variant::ClassicSettings;
    let has_push = is_classic || is_full && !relay.options.without_push;
    let plain_password = if is_full { "" } else { PLAIN_PASSWORD };
    let for_postfix = layout.queue().join("private");
    let imap_processes = shipped("dovecot_imap_processes")?;
    let mut values = vec![
        ("dovecot_instance_name", name.into()),
        ("dovecot_base_dir", path(&layout.dovecot_base())),
        ("dovecot_state_dir", path(&layout.dovecot_state())),
        ("dovecot_log", path(&layout.log("dovecot"))),
        ("dovecot_sasl_socket", path(&for_postfix.join("auth"))),
        (
            "dovecot_lmtp_socket",
            path(&for_postfix.join("dovecot-lmtp")),
        ),
        ("dovecot_listen", relay.address.ip().to_string().into()),
        ("dovecot_imap_port", relay.socket(Port::Imap).port().into()),
        (
            "dovecot_imaps_port",
            relay.socket(Port::Imaps).port().into(),
        ),
        ("dovecot_host", host(relay).into()),
        ("dovecot_authorities", path(authorities)),
        ("dovecot_doveadm_password", path(&layout.doveadm_password())),
        (
            "dovecot_sessions_password",
            path(&layout.sessions_password()),
        ),
        ("dovecot_fronts", fronts(relay).into()),
        ("dovecot_lan_address", relay.address.ip().to_string().into()),
        // The testbed's clients reach all ports.
        ("dovecot_alpn_port", "".into()),
        ("dovecot_tls_chain", path(&layout.certificate())),
        ("dovecot_tls_key", path(&layout.key())),
        ("dovecot_mailboxes", path(&config.mailboxes_dir)),
        ("dovecot_mail_user", MAIL_USER.into()),
        ("dovecot_mail_uid", owner.uid.as_raw().into()),
        ("dovecot_mail_gid", owner.gid.as_raw().into()),
        (
            "dovecot_max_mailbox_size",
            config.max_mailbox_size.bytes().into(),
        ),
        ("dovecot_max_mail_size", max_mail_size.into()),
        ("dovecot_trim_to", trim_to(config.max_mailbox_size).into()),
        // As group_vars and the role's defaults have them.
        ("dovecot_client_limit", (imap_processes + 5000).into()),
        ("dovecot_login_processes", 2.into()),
        ("dovecot_imap_processes", imap_processes.into()),
        ("dovecot_hibernate_after", hibernate_after(relay)?.into()),
        ("dovecot_bridge_user", BRIDGE_USER.into()),
        ("dovecot_plain_password", plain_password.into()),
        ("dovecot_auth_conf", path(&layout.auth_conf())),
        ("dovecot_auth_script", path(&layout.auth_script())),
        ("dovecot_doveauth_socket", path(&config.doveauth_socket)),
        ("dovecot_lastlogin_socket", path(&config.lastlogin_socket)),
        ("dovecot_metadata_socket", path(&config.metadata_socket)),
        ("dovecot_new_messages_file", path(&config.new_messages_file)),
        ("dovecot_push_script", path(&layout.push_script())),
        ("dovecot_chatmail_ini", path(&layout.chatmail_ini())),
        ("dovecot_classic_settings", is_classic.into()),
        ("dovecot_imap_plugins", imap_plugins(relay).into()),
        ("dovecot_imap_compress", config.imap_compress.into()),
        ("dovecot_imap_rawlog", config.imap_rawlog.into()),
        (
            "dovecot_lmtp_plugins",
            if has_push { PUSH_PLUGINS } else { "" }.into(),
        ),
    ];
    if is_full {
        let expiry_cron = binaries::release("expiry-cron")?;
        values.push(("dovecot_expiry_cron", path(&expiry_cron)));
    }
    let push_script = if is_classic {
        CLASSIC_PUSH_SCRIPT.to_owned()
    } else {
        render(PUSH_SCRIPT, &values)?
    };
    fs::write(layout.push_script(), push_script)?;
    let for_mail_user = Owner {
        uid: Owner::ROOT.uid,
        ..owner
    };
    let secret = |file: PathBuf, password: &str| {
        fs::write(&file, password)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640))?;
        for_mail_user.own(&file)
    };
    match &relay.host {
        Host::Whole => {}
        Host::Front(_) => secret(layout.doveadm_password(), SESSIONS_PASSWORD)?,
        Host::Backend(_) => {
            secret(layout.doveadm_password(), DOVEADM_PASSWORD)?;
            secret(layout.sessions_password(), SESSIONS_PASSWORD)?;
        }
    }
    let template = match Language::installed()? {
        Language::V2_3 => {
            fs::write(layout.auth_conf(), render(AUTH_CONF, &values)?)?;
            DOVECOT_CONF
        }
        Language::V2_4 => {
            fs::write(layout.auth_script(), AUTH_SCRIPT)?;
            DOVECOT_2_4_CONF
        }
    };
    let mut configuration = render(template, &values)?;
    for setting in &relay.options.server_settings {
        if let ServerSetting::Dovecot(lines) = setting {
            // The last one holds.
            configuration.push_str(&format!("\n{lines}\n"));
        }
    }
    fs::write(layout.dovecot_conf(), configuration)?;
    Ok(())
}

fn host(relay: &Relay) -> &'static str {
    match relay.host {
        Host::Whole => "whole",
        Host::Front(_) => "front",
        Host::Backend(_) => "backend",
    }
}

/// Where fronts of a backend come from.
fn fronts(relay: &Relay) -> Vec<String> {
    match &relay.host {
        Host::Backend(fronts) => fronts.iter().map(ToString::to_string).collect(),
        Host::Whole | Host::Front(_) => Vec::new(),
    }
}

fn imap_plugins(relay: &Relay) -> String {
    let mut plugins = Vec::new();
    if relay.options.variant == Variant::Full {
        plugins.push("last_login");
    }
    if relay.config.imap_compress {
        plugins.push("imap_zlib");
    }
    plugins.join(" ")
}

fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

/// Seconds after which a session that waits hibernates: as on public relays, and never with Debian's own Dovecot, which
/// forgets messages that come just before.
fn hibernate_after(relay: &Relay) -> anyhow::Result<u32> {
    if patched(relay)?.is_none() {
        return Ok(0);
    }
    shipped("dovecot_hibernate_after")
}

/// A number that public relays get unless their operator says otherwise.
///
/// # Errors
/// `group_vars/all.yml` has no number of this name.
pub(crate) fn shipped(setting: &str) -> anyhow::Result<u32> {
    let value = |line: &str| line.strip_prefix(setting)?.strip_prefix(": ")?.parse().ok();
    GROUP_VARS
        .lines()
        .find_map(value)
        .with_context(|| format!("{setting} in group_vars/all.yml"))
}

/// The patched Dovecot that the relay runs, if it does.
fn patched(relay: &Relay) -> anyhow::Result<Option<PathBuf>> {
    if relay.options.stock_dovecot {
        return Ok(None);
    }
    patched_dovecot::provided()
}

/// Mebibytes that a mailbox is trimmed to when it gets full: 70 % of what it may have, as each night.
fn trim_to(max_mailbox_size: ByteSize) -> u64 {
    const MEBIBYTE: u64 = 1 << 20;
    max_mailbox_size.bytes() / MEBIBYTE * 7 / 10
}

/// Dovecot's master in the foreground.
///
/// # Errors
/// Dovecot is not installed.
pub(super) fn program(relay: &Relay) -> anyhow::Result<Program> {
    let mut command = match patched(relay)? {
        Some(root) => patched_dovecot::command(&root),
        None => vec!["dovecot".into()],
    };
    command.extend(["-F".into(), "-c".into(), relay.layout.dovecot_conf().into()]);
    Ok(Program {
        name: "dovecot",
        stage: Stage::Mail,
        command,
        user: None,
        low_ports: false,
        network: relay.network.clone(),
        sockets: Vec::new(),
        environment: Vec::new(),
        log: relay.layout.log("dovecot"),
        pidfile: None,
        restart: relay.options.restart_servers,
    })
}
