//! What the templates may say of a relay: keys of `chatmail.ini` under their own names, and a few more.

use chatmail::Config;
use chatmail::registration::Registration;
use minijinja::{Value, context};

use super::qr_code::{self, QrError};

/// The variables of all templates.
///
/// Beside the keys: `self_signed` (no public authority vouches for the relay), `mail_host` (where its servers
/// are), `mail_hosts` (those and the other fronts', in an order that all fronts agree on), `registration` (`open`, `closed` or `invite`), `link` and `link_qr_code` (what gets somebody a profile), `large_message_size`, `operator_named`
/// (whether the operator has said who is responsible) and `privacy_mail_is_address`. Sizes are in octets.
///
/// # Errors
/// The link does not fit into a QR code.
pub(super) fn of(config: &Config) -> Result<Value, QrError> {
    let link = link(config);
    let host = config.mail_host.as_ref().unwrap_or(&config.mail_domain);
    let mail_host = match host.ip() {
        Some(address) => address.to_string(),
        None => host.as_str().to_owned(),
    };
    let further = config.further_mail_hosts.0.iter();
    let further = further.map(|host| host.as_str().to_owned());
    let mut mail_hosts: Vec<_> = further.chain([mail_host.clone()]).collect();
    mail_hosts.sort_unstable();
    mail_hosts.dedup();
    let address = config.privacy_mail.parse::<chatmail::Address>();
    Ok(context! {
        mail_domain => config.mail_domain.as_str(),
        mail_host,
        mail_hosts,
        self_signed => config.mail_domain.is_uncertified(),
        registration => match config.registration {
            Registration::Open => "open",
            Registration::Closed => "closed",
            Registration::Invite => "invite",
        },
        // The one value that is markup; nobody but us writes it.
        link_qr_code => Value::from_safe_string(qr_code::svg(&link)?),
        link,
        max_user_send_per_minute => config.max_user_send_per_minute.get(),
        max_user_send_burst_size => config.max_user_send_burst_size.get(),
        max_user_recipients_per_minute => config.max_user_recipients_per_minute.get(),
        max_mailbox_size => config.max_mailbox_size.bytes(),
        max_message_size => config.max_message_size.bytes(),
        delete_mails_after => config.delete_mails_after,
        delete_large_after => config.delete_large_after,
        large_message_size => "200 kB",
        delete_inactive_users_after => config.delete_inactive_users_after,
        tombstone_days => config.tombstone_days,
        username_min_length => config.username_min_length.get(),
        username_max_length => config.username_max_length.get(),
        password_min_length => config.password_min_length,
        privacy_postal => config.privacy_postal.as_str(),
        privacy_mail => config.privacy_mail.as_str(),
        privacy_mail_is_address => address.is_ok(),
        privacy_pdo => config.privacy_pdo.as_str(),
        privacy_supervisor => config.privacy_supervisor.as_str(),
        operator_named => missing(config).is_empty(),
    })
}

/// What the operator has not told although a privacy policy needs it: names of keys.
pub(super) fn missing(config: &Config) -> Vec<&'static str> {
    let needed = [
        ("privacy_postal", &config.privacy_postal),
        ("privacy_mail", &config.privacy_mail),
    ];
    let empty = needed.iter().filter(|(_, value)| value.trim().is_empty());
    empty.map(|(name, _)| *name).collect()
}

/// What gets somebody a profile. Apps take `dcaccount:` from relays whose certificate they can check; others
/// have to be told the address, the password and not to check: the browser gets that from `/new`.
fn link(config: &Config) -> String {
    let domain = &config.mail_domain;
    let scheme = if domain.is_uncertified() {
        ""
    } else {
        "dcaccount:"
    };
    format!("{scheme}https://{}/new", domain.url_host())
}
