//! Envelope addresses as they stand between angle brackets.

use std::fmt;

use crate::address::{Address, AddressError};

/// Longest path in octets: the longest local part and the longest domain (RFC 5321 sections
/// 4.5.3.1.1 and 4.5.3.1.2). Its section 4.5.3.1.3 would have 254, less than the two together.
const PATH_MAX: usize = 64 + 1 + 255;

/// A reverse-path or forward-path (RFC 5321 section 4.1.2) without its brackets and without a
/// source route: `local@domain`, `"quoted local"@domain`, `local@[192.0.2.1]`, the empty
/// path of bounces, or a local part alone such as `postmaster`.
///
/// The octets are kept as they came, since only their owner may say what they mean. They hold no
/// control character and no bracket outside quotes, so that they can be written anywhere a path
/// can. Outside ASCII they are UTF-8 (RFC 6531).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path(Box<[u8]>);

/// Why octets are not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Over 320 octets.
    #[error("a path has at most 320 octets")]
    TooLong,
    /// Neither `local@domain`, nor a local part alone, nor empty.
    #[error("expected local@domain")]
    Syntax,
}

impl Path {
    /// The null reverse-path `<>`.
    pub fn null() -> Self {
        Self(Box::default())
    }

    /// Whether this is the null reverse-path.
    pub fn is_null(&self) -> bool {
        self.0.is_empty()
    }

    /// The octets between the brackets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    /// The mailbox that it names.
    ///
    /// # Errors
    /// As for any [`Address`]: the null path, quoted local parts and whatever else has none.
    pub fn address(&self) -> Result<Address, AddressError> {
        Address::try_from(&*self.0)
    }
}

impl TryFrom<&[u8]> for Path {
    type Error = PathError;

    fn try_from(octets: &[u8]) -> Result<Self, PathError> {
        if octets.len() > PATH_MAX {
            return Err(PathError::TooLong);
        }
        let text = std::str::from_utf8(octets).map_err(|_| PathError::Syntax)?;
        if text.is_empty() {
            return Ok(Self::null());
        }
        let behind = after_local_part(text).ok_or(PathError::Syntax)?;
        match behind.strip_prefix('@') {
            Some(domain) if is_domain(domain) => Ok(Self(octets.into())),
            None if behind.is_empty() => Ok(Self(octets.into())),
            _ => Err(PathError::Syntax),
        }
    }
}

impl From<&Address> for Path {
    fn from(address: &Address) -> Self {
        Self(address.to_string().into_bytes().into())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "<{}>", self.0.escape_ascii())
    }
}

/// What follows the local part; `None` when there is none.
fn after_local_part(text: &str) -> Option<&str> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(|c| !is_dot_atom(c)).unwrap_or(text.len());
        return text.get(end..).filter(|_| end > 0);
    };
    loop {
        let mut characters = rest.chars();
        match characters.next()? {
            '"' => return Some(characters.as_str()),
            '\\' => drop(characters.next().filter(|&c| is_printable(c))?),
            c if is_printable(c) => {}
            _ => return None,
        }
        rest = characters.as_str();
    }
}

/// RFC 5321 `Dot-string` with dots anywhere, as in [`crate::LocalPart`].
fn is_dot_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || is_beyond_ascii(c)
}

fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~') || is_beyond_ascii(c)
}

/// RFC 6531 section 3.3; but for the control characters of ISO 8859.
fn is_beyond_ascii(c: char) -> bool {
    c > '\u{9f}'
}

/// A name, or an address literal whose content nobody here reads.
fn is_domain(text: &str) -> bool {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) => {
            let literal = |c: char| c.is_ascii_alphanumeric() || ".:-_".contains(c);
            !inner.is_empty() && inner.chars().all(literal)
        }
        None => {
            let name = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            !text.is_empty() && text.chars().all(|c| name(c) || is_beyond_ascii(c))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("a@x.org")]
    #[case("u@[1.2.3.4]")]
    #[case("u@[IPv6:2001:db8::1]")]
    #[case("\"a b\"@x.org")]
    #[case("\"a\\\"<>@,b\"@x.org")]
    #[case("\"\"@x.org")]
    #[case(".a..b.@x.org")]
    #[case("\u{fc}@\u{fc}.example")]
    #[case("postmaster")]
    #[case("")]
    fn kept_as_they_are(#[case] text: &str) {
        let path = Path::try_from(text.as_bytes()).unwrap();
        assert_eq!(path.as_bytes(), text.as_bytes());
        assert_eq!(path.is_null(), text.is_empty());
        assert_eq!(path.is_ascii(), text.is_ascii());
    }

    #[rstest]
    #[case(b"a@")]
    #[case(b"@x.org")]
    #[case(b"@relay.org:a@x.org")]
    #[case(b"a b@x.org")]
    #[case(b"a@x.org b")]
    #[case(b"a@b@x.org")]
    #[case(b"a@x.org>")]
    #[case(b"<a@x.org")]
    #[case(b"\"a@x.org")]
    #[case(b"\"a\\\"@x.org")]
    #[case(b"\"a\"b@x.org")]
    #[case(b"\"a\tb\"@x.org")]
    #[case(b"\"a\\\rb\"@x.org")]
    #[case(b"a\0@x.org")]
    #[case(b"a\xff@x.org")]
    #[case("a\u{85}@x.org".as_bytes())]
    #[case(b"a@[]")]
    #[case(b"a@[1.2.3.4")]
    #[case(b"a@[1.2.3.4]x")]
    #[case(b"a@x/y")]
    fn refused(#[case] octets: &[u8]) {
        assert_eq!(Path::try_from(octets), Err(PathError::Syntax));
    }

    #[test]
    fn length_has_a_limit() {
        let path = |length: usize| format!("{}@x.org", "a".repeat(length - 6));
        assert!(Path::try_from(path(320).as_bytes()).is_ok());
        assert_eq!(
            Path::try_from(path(321).as_bytes()),
            Err(PathError::TooLong)
        );
    }

    #[test]
    fn mailboxes_are_addresses() {
        let address = |text: &str| Path::try_from(text.as_bytes()).unwrap().address();
        assert_eq!(address("A@[1.2.3.4]").unwrap().to_string(), "a@[1.2.3.4]");
        assert!(address("\"a\"@x.org").is_err());
        assert!(address("").is_err());
    }

    proptest! {
        #[test]
        fn every_address_is_a_path(text in "[a-z.+]{1,9}@([a-z]{1,9}\\.org|\\[[1-9]\\.2\\.3\\.4\\])") {
            let address: Address = text.parse().unwrap();
            let path = Path::from(&address);
            prop_assert_eq!(Path::try_from(path.as_bytes()), Ok(path.clone()));
            prop_assert_eq!(path.address(), Ok(address));
        }
    }
}
