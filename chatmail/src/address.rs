//! Mail addresses, parsed once at the edge.
//!
//! An [`Address`] is an `addr-spec` in the narrow form that SMTP servers agree on
//! (RFC 5321 section 4.1.2 without quoted local parts): `local@domain` or `local@[1.2.3.4]`.
//! Parsing folds to lower case, since a chatmail relay treats `Alice@Example.org` and
//! `alice@example.org` as one account; two addresses are the same mailbox exactly when they
//! compare equal.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest local part in octets (RFC 5321 section 4.5.3.1.1).
pub const LOCAL_PART_MAX: usize = 64;
/// Longest domain in octets (RFC 5321 section 4.5.3.1.2; 253 is what DNS can carry).
pub const DOMAIN_MAX: usize = 253;

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `@`, or one side of it is empty.
    #[error("not of the form local@domain")]
    Shape,
    /// The local part holds a character outside `atext` and `.`, or is over 64 octets.
    #[error("the local part is not 1 to 64 letters, digits, dots or RFC 5322 atext characters")]
    LocalPart,
    /// The domain is neither a DNS name nor an address literal.
    #[error("the domain is neither a DNS name nor an address literal such as [192.0.2.1]")]
    Domain,
}

/// The part before the `@`, lower case: `atext` characters and dots, 1 to 64 octets.
///
/// Dots may stand anywhere, as Postfix accepts them; whether a *new account* may have such a name
/// is the account store's decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPart(Box<str>);

impl LocalPart {
    /// The text, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The local part without its `+tag` (Postfix's `recipient_delimiter = +`).
    ///
    /// A `+` at the start does not begin a tag, as in Postfix.
    pub fn base(&self) -> &str {
        match self.0.find('+') {
            Some(at) if at > 0 => &self.0[..at],
            _ => &self.0,
        }
    }
}

impl FromStr for LocalPart {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fits = (1..=LOCAL_PART_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte == b'.' || is_atext(byte)) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(AddressError::LocalPart)
        }
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// RFC 5322 section 3.2.3 `atext`, ASCII only.
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// The part after the `@`: a DNS name, lower case, or an address literal.
///
/// Labels may hold `_`, since relays without a public name are called `_something.example`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(DomainKind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum DomainKind {
    Name(Box<str>),
    /// The text is kept beside the address: it is asked for far more often.
    Literal(IpAddr, Box<str>),
}

impl Domain {
    /// The domain of a relay that is known by its address only: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    pub fn literal(address: IpAddr) -> Self {
        let text = match address {
            IpAddr::V4(v4) => format!("[{v4}]"),
            IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
        };
        Self(DomainKind::Literal(address, text.into()))
    }

    /// The text as it stands in an address; a literal keeps its brackets.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            DomainKind::Name(text) | DomainKind::Literal(_, text) => text,
        }
    }

    /// The address of a literal, `None` for a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.0 {
            DomainKind::Name(_) => None,
            DomainKind::Literal(address, _) => Some(*address),
        }
    }

    /// Whether no public authority vouches for it, so that its relay has a certificate of its own: an address,
    /// or a name that begins with `_`.
    pub fn is_uncertified(&self) -> bool {
        self.ip().is_some() || self.as_str().starts_with('_')
    }

    /// How it stands in a URL (RFC 3986 section 3.2.2): IPv6 addresses in brackets, IPv4 addresses without.
    pub fn url_host(&self) -> String {
        match self.ip() {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            Some(IpAddr::V4(address)) => address.to_string(),
            None => self.as_str().to_owned(),
        }
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(inner) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            return parse_literal(inner)
                .map(Self::literal)
                .ok_or(AddressError::Domain);
        }
        let label_is_good = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        // An all-digits last label would be an IPv4 address without its brackets.
        let numeric_end = |text: &str| {
            text.rsplit('.')
                .next()
                .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
        };
        if text.len() <= DOMAIN_MAX && text.split('.').all(label_is_good) && !numeric_end(text) {
            Ok(Self(DomainKind::Name(text.to_ascii_lowercase().into())))
        } else {
            Err(AddressError::Domain)
        }
    }
}

/// RFC 5321 section 4.1.3, without general address literals.
fn parse_literal(inner: &str) -> Option<IpAddr> {
    let tag = inner
        .get(..5)
        .filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    match tag {
        Some(tag) => inner[tag.len()..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A mailbox address, lower case. Its `Display` is `local@domain`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local_part: LocalPart,
    domain: Domain,
}

impl Address {
    /// Puts the two parts together.
    pub fn new(local_part: LocalPart, domain: Domain) -> Self {
        Self { local_part, domain }
    }

    /// The part before the `@`.
    pub fn local_part(&self) -> &LocalPart {
        &self.local_part
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The address without its `+tag`: the account that `user+tag@domain` is delivered to.
    pub fn without_tag(&self) -> Self {
        Self {
            local_part: LocalPart(self.local_part.base().into()),
            domain: self.domain.clone(),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Shape)?;
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Shape);
        }
        Ok(Self {
            local_part: local.parse()?,
            domain: domain.parse()?,
        })
    }
}

impl TryFrom<&[u8]> for Address {
    type Error = AddressError;

    fn try_from(bytes: &[u8]) -> Result<Self, AddressError> {
        std::str::from_utf8(bytes)
            .map_err(|_| AddressError::Shape)?
            .parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.local_part, self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("Alice@Example.ORG", "alice@example.org")]
    #[case("a.b-c_d+tag@x", "a.b-c_d+tag@x")]
    #[case("bob@_relay.example", "bob@_relay.example")]
    #[case("bob@[192.0.2.7]", "bob@[192.0.2.7]")]
    #[case("bob@[ipv6:2001:DB8:0::1]", "bob@[IPv6:2001:db8::1]")]
    fn folds_and_keeps(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
    }

    #[rstest]
    #[case("", AddressError::Shape)]
    #[case("alice", AddressError::Shape)]
    #[case("@example.org", AddressError::Shape)]
    #[case("alice@", AddressError::Shape)]
    #[case("a@b@example.org", AddressError::LocalPart)]
    #[case("\"a b\"@example.org", AddressError::LocalPart)]
    #[case("a b@example.org", AddressError::LocalPart)]
    #[case("ä@example.org", AddressError::LocalPart)]
    #[case("a\0@example.org", AddressError::LocalPart)]
    #[case("a@example..org", AddressError::Domain)]
    #[case("a@example.org.", AddressError::Domain)]
    #[case("a@-x.org", AddressError::Domain)]
    #[case("a@192.0.2.1", AddressError::Domain)]
    #[case("a@[192.0.2.1", AddressError::Domain)]
    #[case("a@[192.0.2.256]", AddressError::Domain)]
    #[case("a@[192.0.02.1]", AddressError::Domain)]
    #[case("a@ex/ample.org", AddressError::Domain)]
    fn refuses(#[case] text: &str, #[case] why: AddressError) {
        assert_eq!(text.parse::<Address>(), Err(why));
    }

    #[test]
    fn lengths_have_limits() {
        assert!(
            format!("{}@x.org", "a".repeat(64))
                .parse::<Address>()
                .is_ok()
        );
        assert!(
            format!("{}@x.org", "a".repeat(65))
                .parse::<Address>()
                .is_err()
        );
        assert!(
            format!("a@{}.org", "x".repeat(64))
                .parse::<Address>()
                .is_err()
        );
        assert!(
            format!("a@{}org", "x.".repeat(126))
                .parse::<Address>()
                .is_err()
        );
    }

    #[rstest]
    #[case("user+tag+more@x.org", "user@x.org")]
    #[case("user@x.org", "user@x.org")]
    #[case("+tag@x.org", "+tag@x.org")]
    fn tags_come_off(#[case] text: &str, #[case] base: &str) {
        assert_eq!(
            text.parse::<Address>().unwrap().without_tag().to_string(),
            base
        );
    }

    proptest! {
        #[test]
        fn what_parses_parses_again(text in "\\PC{0,80}") {
            if let Ok(address) = text.parse::<Address>() {
                let shown = address.to_string();
                prop_assert!(!shown.contains('/') || address.local_part().as_str().contains('/'));
                prop_assert_eq!(shown.parse::<Address>(), Ok(address));
            }
        }
    }
}
