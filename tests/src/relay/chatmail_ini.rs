//! The configuration of our daemons: what a testbed needs, and what the caller wants.

use std::net::SocketAddr;

use anyhow::bail;
use chatmail::Config;

use super::Layout;
use super::options::Setting;
use crate::host::addresses::{Port, RelayAddress};

/// Writes the text of `chatmail.ini` and reads it back as our daemons will.
///
/// # Errors
/// A key that does not exist, or a value that is not allowed.
pub(super) fn compose(
    layout: &Layout,
    address: &RelayAddress,
    mail_domain: String,
    dns: SocketAddr,
    wanted: &[Setting],
) -> anyhow::Result<(String, Config)> {
    let mut settings = testbed_settings(layout, address, mail_domain, dns);
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
    let setting = |key: &str, value: String| Setting {
        key: key.into(),
        value,
    };
    vec![
        setting("mail_domain", mail_domain),
        setting("mailboxes_dir", layout.mailboxes().display().to_string()),
        // Sign-ups must not depend on how busy or full the machine is that runs the tests.
        setting("max_load_1m", "1000".into()),
        setting("max_creations_per_minute", "0".into()),
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
        setting(
            "policy_socket",
            run.join("policy.sock").display().to_string(),
        ),
        setting(
            "filtermail_metrics",
            address.socket(Port::FiltermailMetrics).to_string(),
        ),
        setting(
            "doveauth_metrics",
            address.socket(Port::DoveauthMetrics).to_string(),
        ),
    ]
}
