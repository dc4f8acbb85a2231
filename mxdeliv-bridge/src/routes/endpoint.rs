//! Where a peer takes mail over HTTPS, and what an operator may decide about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;

use chatmail::Domain;

/// The path of every endpoint.
pub const PATH: &str = "/mxdeliv";

/// The port of `https` URLs.
const HTTPS_PORT: u16 = 443;

/// A place to post to: `https://HOST:PORT/mxdeliv`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name, or an address literal.
    pub host: Domain,
    /// The port.
    pub port: u16,
    /// Whether any certificate will do. What is learnt with it says nothing about connections
    /// without it.
    pub lax: bool,
}

/// What the operator has decided about a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Override {
    /// Its mail goes by SMTP.
    Smtp,
    /// Its mail is posted here, and goes by SMTP when that fails.
    Endpoint(Endpoint),
}

/// A text is not an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// It is none of the two forms.
    #[error("not smtp and not of the form https://HOST or https://HOST:PORT")]
    Shape,
    /// SMTP has no certificates that we could choose about.
    #[error("lax TLS is for an endpoint, not for smtp")]
    LaxSmtp,
}

impl Endpoint {
    /// The URL.
    pub fn url(&self) -> String {
        format!("https://{self}{PATH}")
    }

    /// The host as certificates and `Host` have it: an address stands without a mail domain's brackets.
    pub fn server_name(&self) -> String {
        match self.host.ip() {
            Some(address) => address.to_string(),
            None => self.host.to_string(),
        }
    }
}

/// `HOST` or `HOST:PORT`, as in a URL.
impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.host.url_host())?;
        match self.port {
            HTTPS_PORT => Ok(()),
            port => write!(out, ":{port}"),
        }
    }
}

impl Override {
    /// Reads `smtp`, or `https://HOST[:PORT]` with or without the path. `lax`: any certificate will do.
    ///
    /// # Errors
    /// See [`OverrideError`].
    pub fn parse(text: &str, lax: bool) -> Result<Self, OverrideError> {
        if text.eq_ignore_ascii_case("smtp") {
            return match lax {
                true => Err(OverrideError::LaxSmtp),
                false => Ok(Self::Smtp),
            };
        }
        let authority = text.strip_prefix("https://").ok_or(OverrideError::Shape)?;
        let authority = authority.strip_suffix(PATH).unwrap_or(authority);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority_parts(authority).ok_or(OverrideError::Shape)?;
        Ok(Self::Endpoint(Endpoint { host, port, lax }))
    }

    /// Whether any certificate will do.
    pub fn is_lax(&self) -> bool {
        matches!(self, Self::Endpoint(endpoint) if endpoint.lax)
    }
}

/// What [`Override::parse`] reads.
impl fmt::Display for Override {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp => out.write_str("smtp"),
            Self::Endpoint(endpoint) => write!(out, "https://{endpoint}"),
        }
    }
}

/// `HOST`, `HOST:PORT`, `192.0.2.1`, `[2001:db8::1]:8443`.
fn authority_parts(authority: &str) -> Option<(Domain, u16)> {
    if let Ok(address) = SocketAddr::from_str(authority) {
        let usable = address.port() != 0;
        return usable.then(|| (Domain::literal(address.ip()), address.port()));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, read_port(port)?),
        _ => (authority, HTTPS_PORT),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = match bare {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => match host.parse() {
            Ok(v4) => IpAddr::V4(v4),
            Err(_) => return Some((host.parse().ok()?, port)),
        },
    };
    Some((Domain::literal(address), port))
}

fn read_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("smtp", "smtp")]
    #[case("SMTP", "smtp")]
    #[case("https://Mx.Example.org", "https://mx.example.org")]
    #[case("https://mx.example.org/", "https://mx.example.org")]
    #[case("https://mx.example.org:443/mxdeliv", "https://mx.example.org")]
    #[case("https://mx.example.org:8443", "https://mx.example.org:8443")]
    #[case("https://192.0.2.1", "https://192.0.2.1")]
    #[case("https://192.0.2.1:8443", "https://192.0.2.1:8443")]
    #[case("https://[2001:db8::1]", "https://[2001:db8::1]")]
    #[case("https://[2001:db8::1]:8443/mxdeliv", "https://[2001:db8::1]:8443")]
    fn what_is_read_is_shown_and_read_again(#[case] text: &str, #[case] shown: &str) {
        let read = Override::parse(text, false).unwrap();
        assert_eq!(read.to_string(), shown);
        assert_eq!(Override::parse(shown, false), Ok(read));
    }

    #[rstest]
    #[case("")]
    #[case("http://mx.example.org")]
    #[case("mx.example.org")]
    #[case("https://")]
    #[case("https://user@mx.example.org")]
    #[case("https://mx.example.org:0")]
    #[case("https://mx.example.org:+80")]
    #[case("https://mx.example.org:99999")]
    #[case("https://mx.example.org:")]
    #[case("https://mx.example.org/other")]
    #[case("https://mx.example.org?x")]
    #[case("https://[192.0.2.1]")]
    #[case("https://2001:db8::1")]
    #[case("https://192.0.2.1:0")]
    fn other_texts_are_refused(#[case] text: &str) {
        assert_eq!(Override::parse(text, false), Err(OverrideError::Shape));
    }

    #[test]
    fn smtp_has_no_lax_tls() {
        assert_eq!(Override::parse("smtp", true), Err(OverrideError::LaxSmtp));
        let lax = Override::parse("https://x.test", true).unwrap();
        assert!(lax.is_lax());
    }

    #[test]
    fn addresses_have_brackets_where_urls_want_them() {
        let endpoint = |host: &str| Endpoint {
            host: host.parse().unwrap(),
            port: 443,
            lax: true,
        };
        let (v4, v6) = (endpoint("[192.0.2.1]"), endpoint("[IPv6:2001:db8::1]"));
        assert_eq!(v4.url(), "https://192.0.2.1/mxdeliv");
        assert_eq!(v6.url(), "https://[2001:db8::1]/mxdeliv");
        assert_eq!(v6.server_name(), "2001:db8::1");
    }
}
