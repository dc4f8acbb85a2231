//! The configuration of our daemons: what a testbed needs, and what the caller wants.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::bail;
use chatmail::Config;

use super::Layout;
use super::options::Setting;
use crate::host::addresses::{Port, RelayAddress};

/// Writes the text of `chatmail.ini` and reads it back as our daemons will. Peers with a name must show
/// certificates of these `authorities` (a PEM file). With `calls` clients are told of the relay's servers for them.
///
/// # Errors
/// A key that does not exist, or a value that is not allowed.
pub(super) fn compose(
    layout: &Layout,
    address: &RelayAddress,
    mail_domain: String,
    dns: SocketAddr,
    authorities: &Path,
    calls: bool,
    wanted: &[Setting],
) -> anyhow::Result<(String, Config)> {
    let mut settings = testbed_settings(layout, address, mail_domain, dns);
    if calls {
        settings.extend(calls_settings(layout, address));
    }
    settings.extend(push_settings(layout, address, authorities));
    settings.push(setting("backend_authorities", path(authorities)));
    settings.extend(bridge_settings(layout, address, authorities));
    for wanted in wanted {
        match settings
            .iter_mut()
            .find(|setting| setting.key == wanted.key)
        {
            Some(setting) => setting.value.clone_from(&wanted.value),
            None => settings.push(wanted.clone()),
        }
    }
    let mut text = "[params]\n".to_owned();
    for setting in &settings {
        text.push_str(&format!("{} = {}\n", setting.key, setting.value));
    }
    let (config, warnings) = Config::parse(&text, &layout.chatmail_ini())?;
    if let Some(warning) = warnings.first() {
        bail!("{warning}");
    }
    Ok((text, config))
}

fn testbed_settings(
    layout: &Layout,
    address: &RelayAddress,
    mail_domain: String,
    dns: SocketAddr,
) -> Vec<Setting> {
    let run = layout.run();
    vec![
        setting("mail_domain", mail_domain),
        setting("mailboxes_dir", layout.mailboxes().display().to_string()),
        // Sign-ups must not depend on how busy or full the machine is that runs the tests.
        setting("max_load_1m", "1000".into()),
        setting("max_creations_per_minute", "0".into()),
        // On loopback all clients are of one network.
        setting("max_creations_per_network_per_hour", "0".into()),
        setting(
            "doveadm_command",
            format!("doveadm -c {}", layout.dovecot_conf().display()),
        ),
        setting("doveadm_password_file", path(&layout.doveadm_password())),
        setting("min_available_memory", "1M".into()),
        setting("min_free_disk_space", "1M".into()),
        setting(
            "nocreate_file",
            layout.run().join("nocreate").display().to_string(),
        ),
        setting("dns_servers", dns.to_string()),
        setting("dkim_keys_dir", layout.dkim_keys().display().to_string()),
        setting("database_path", layout.database().display().to_string()),
        setting(
            "filtermail_listen",
            format!("unix:{}", layout.milter_socket("outgoing").display()),
        ),
        setting(
            "filtermail_incoming_listen",
            format!("unix:{}", layout.milter_socket("incoming").display()),
        ),
        setting(
            "filtermail_bounce_listen",
            format!("unix:{}", layout.milter_socket("bounce").display()),
        ),
        setting(
            "doveauth_socket",
            run.join("doveauth.sock").display().to_string(),
        ),
        setting(
            "lastlogin_socket",
            run.join("lastlogin.sock").display().to_string(),
        ),
        setting("metadata_socket", path(&run.join("metadata.sock"))),
        setting("turn_socket_path", path(&run.join("turn.sock"))),
        setting(
            "policy_socket",
            run.join("policy.sock").display().to_string(),
        ),
        setting(
            "blocks_socket",
            run.join("blocks.sock").display().to_string(),
        ),
        setting(
            "filtermail_metrics",
            address.local(Port::FiltermailMetrics).to_string(),
        ),
        setting(
            "doveauth_metrics",
            address.local(Port::DoveauthMetrics).to_string(),
        ),
    ]
}

fn push_settings(layout: &Layout, address: &RelayAddress, authorities: &Path) -> Vec<Setting> {
    let server = address.socket(Port::Notifications);
    vec![
        // Where nobody listens unless a test plays the server.
        setting("notification_url", format!("https://{server}/notify")),
        setting("notification_authorities", path(authorities)),
        setting("notification_queue_path", path(&layout.notifications())),
        setting("new_messages_file", path(&layout.new_messages())),
    ]
}

fn calls_settings(layout: &Layout, address: &RelayAddress) -> Vec<Setting> {
    vec![
        setting("turn_secret_file", path(&layout.turn_secret())),
        setting("turn_server", address.socket(Port::Turn).to_string()),
        // Not https: iroh trusts no authority but the public ones.
        setting(
            "iroh_relay",
            format!("http://{}", address.socket(Port::Http)),
        ),
    ]
}

fn bridge_settings(layout: &Layout, address: &RelayAddress, authorities: &Path) -> Vec<Setting> {
    let run = layout.bridge_run();
    let queue = layout.bridge_queue();
    [
        (
            "mxdeliv_listen",
            format!("unix:{}", run.join("http.sock").display()),
        ),
        ("mxdeliv_lmtp_socket", path(&queue.join("lmtp.sock"))),
        ("mxdeliv_return_socket", path(&queue.join("return.sock"))),
        ("mxdeliv_route_socket", path(&queue.join("route.sock"))),
        ("mxdeliv_admin_socket", path(&run.join("admin.sock"))),
        ("mxdeliv_report_socket", path(&run.join("report.sock"))),
        ("mxdeliv_database_path", path(&layout.bridge_database())),
        ("dovecot_lmtp_socket", path(&layout.dovecot_lmtp())),
        (
            "postfix_smtp_fallback",
            address.local(Port::Fallback).to_string(),
        ),
        ("postfix_return", address.local(Port::Return).to_string()),
        ("postfix_config_dir", path(&layout.postfix_etc())),
        ("postfix_log", path(&layout.log("postfix"))),
        // Only root may listen on the usual ones, on the other side too.
        ("mxdeliv_peer_port", Port::Https.number().to_string()),
        ("mxdeliv_peer_smtp_port", Port::Mx.number().to_string()),
        ("mxdeliv_authorities", path(authorities)),
        // On loopback the system would pick the same one for all.
        ("mxdeliv_source_address", address.ip().to_string()),
        (
            "mxdeliv_metrics",
            address.local(Port::BridgeMetrics).to_string(),
        ),
    ]
    .into_iter()
    .map(|(key, value)| setting(key, value))
    .collect()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn setting(key: &str, value: String) -> Setting {
    Setting {
        key: key.into(),
        value,
    }
}
