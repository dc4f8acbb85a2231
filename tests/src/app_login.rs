//! How a Delta Chat app gets an account on a relay of the testbed: a `dclogin:` URL.
//!
//! The scheme carries everything an app would otherwise look up in DNS or guess:
//! `ih`, `ip`, `is` are IMAP's host, port and security, `sh`, `sp`, `ss` the same for SMTP, `p` the
//! password, `ic` how certificates are checked (3: not at all, for they are self-signed), `v` the
//! version of the scheme.

use crate::target::Target;

/// The URL that logs an app in as `address`; the relay makes the account when the app does so.
pub fn url(target: &Target, address: &str, password: &str) -> String {
    format!(
        "dclogin:{address}?p={}&v=1&ih={}&ip={}&is=ssl&sh={}&sp={}&ss=ssl&ic=3",
        percent_encode(password),
        target.imap.host,
        target.imap.port,
        target.smtps.host,
        target.smtps.port,
    )
}

/// RFC 3986, section 2.1: everything but unreserved characters.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_escaped() {
        assert_eq!(percent_encode("aZ0-._~"), "aZ0-._~");
        assert_eq!(percent_encode("a&b=ü %"), "a%26b%3D%C3%BC%20%25");
    }
}
