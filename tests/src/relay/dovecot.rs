//! A private Dovecot.

use std::fs;

use chatmail::config::ByteSize;

use super::Relay;
use super::options::{PLAIN_PASSWORD, Variant};
use crate::binaries;
use crate::host::addresses::Port;
use crate::host::users::{BRIDGE_USER, MAIL_USER, Owner};
use crate::supervisor::{Program, Stage};
use crate::template::render;

const DOVECOT_CONF: &str = include_str!("../../config/dovecot/dovecot.conf");
const ACCOUNTS_DOVEAUTH: &str = include_str!("../../config/dovecot/accounts-doveauth.conf");
const ACCOUNTS_PLAIN: &str = include_str!("../../config/dovecot/accounts-plain.conf");
const PUSH_SCRIPT: &str = include_str!("../../config/dovecot/push_notification.lua");
const AUTH_CONF: &str = include_str!("../../config/dovecot/auth.conf");

/// What runs the push script. It comes with Debian's dovecot-core.
const PUSH_PLUGINS: &str = "mail_lua notify push_notification push_notification_lua";

/// How much larger than what Postfix accepts a stored message may be: Postfix counts what the client
/// sends, Dovecot what it stores, with Return-Path and Delivered-To. Postfix is to be the one that
/// refuses, since it can do so while the sender listens.
const TRACE_HEADERS: u64 = 64 << 10;

/// Writes Dovecot's configuration.
///
/// # Errors
/// A file cannot be written.
pub(super) fn configure(relay: &Relay) -> anyhow::Result<()> {
    let layout = &relay.layout;
    let config = &relay.config;
    let owner = Owner::of(MAIL_USER)?;
    let mut values = vec![
        (
            "name",
            layout.root().display().to_string().replace('/', "-"),
        ),
        ("base_dir", layout.dovecot_base().display().to_string()),
        ("state_dir", layout.dovecot_state().display().to_string()),
        ("log", layout.log("dovecot").display().to_string()),
        ("queue", layout.queue().display().to_string()),
        ("ip", relay.address.ip().to_string()),
        ("imap_port", Port::Imap.number().to_string()),
        ("imaps_port", Port::Imaps.number().to_string()),
        ("certificate", layout.certificate().display().to_string()),
        ("key", layout.key().display().to_string()),
        ("mailboxes", config.mailboxes_dir.display().to_string()),
        ("user", MAIL_USER.to_owned()),
        ("uid", owner.uid.to_string()),
        ("gid", owner.gid.to_string()),
        ("max_mailbox_size", config.max_mailbox_size.to_string()),
        (
            "quota_max_mail_size",
            config
                .max_message_size
                .bytes()
                .saturating_add(TRACE_HEADERS)
                .to_string(),
        ),
        ("bridge_user", BRIDGE_USER.to_owned()),
        ("password", PLAIN_PASSWORD.to_owned()),
        ("auth_conf", layout.auth_conf().display().to_string()),
        (
            "doveauth_socket",
            config.doveauth_socket.display().to_string(),
        ),
        (
            "lastlogin_socket",
            config.lastlogin_socket.display().to_string(),
        ),
        (
            "metadata_socket",
            config.metadata_socket.display().to_string(),
        ),
        ("push_script", layout.push_script().display().to_string()),
        ("trim_to", trim_to(config.max_mailbox_size).to_string()),
        ("chatmail_ini", layout.chatmail_ini().display().to_string()),
    ];
    let is_full = relay.options.variant == Variant::Full;
    if is_full {
        let expiry_cron = binaries::release("expiry-cron")?;
        values.push(("expiry_cron", expiry_cron.display().to_string()));
    }
    let (accounts, imap_plugins, imap_metadata) = match is_full {
        true => (ACCOUNTS_DOVEAUTH, "last_login", "yes"),
        false => (ACCOUNTS_PLAIN, "", "no"),
    };
    let has_push = is_full && !relay.options.without_push;
    let lmtp_plugins = if has_push { PUSH_PLUGINS } else { "" };
    let accounts = render(accounts, &values)?;
    values.push(("accounts", accounts));
    values.push(("imap_plugins", imap_plugins.to_owned()));
    values.push(("imap_metadata", imap_metadata.to_owned()));
    values.push(("lmtp_plugins", lmtp_plugins.to_owned()));
    fs::write(layout.push_script(), PUSH_SCRIPT)?;
    fs::write(layout.dovecot_conf(), render(DOVECOT_CONF, &values)?)?;
    fs::write(layout.auth_conf(), render(AUTH_CONF, &values)?)?;
    Ok(())
}

/// Mebibytes that a mailbox is trimmed to when it gets full: 70 % of what it may have, as each night.
fn trim_to(max_mailbox_size: ByteSize) -> u64 {
    const MEBIBYTE: u64 = 1 << 20;
    max_mailbox_size.bytes() / MEBIBYTE * 7 / 10
}

/// Dovecot's master in the foreground.
pub(super) fn program(relay: &Relay) -> Program {
    Program {
        name: "dovecot",
        stage: Stage::Mail,
        command: vec![
            "dovecot".into(),
            "-F".into(),
            "-c".into(),
            relay.layout.dovecot_conf().into(),
        ],
        user: None,
        low_ports: false,
        sockets: Vec::new(),
        environment: Vec::new(),
        log: relay.layout.log("dovecot"),
        pidfile: None,
        restart: relay.options.restart_servers,
    }
}
