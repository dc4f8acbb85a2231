//! What can be on the list.

use std::fmt;
use std::str::FromStr;

use super::{Network, NetworkError};
use crate::{Address, AddressError, Domain};

/// Longest note, in characters.
pub const NOTE_MAX: usize = 200;

/// Why a text is not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// There is an `@` and the rest is wrong.
    #[error("not an address or @domain: {0}")]
    Address(AddressError),
    /// There is a `/` or `:`, or only digits and dots, and the rest is wrong.
    #[error("not a network: {0}")]
    Network(NetworkError),
    /// Something else.
    #[error(
        "not an address, a domain or a network; \
         domains are written in ASCII (xn--...) and without a dot at the end"
    )]
    Other,
}

/// An entry of the block list. Addresses and domains are lower case; what is equal blocks the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// One sender: `mallory@spam.example`. Without a `+tag` it means all tags.
    Address(Address),
    /// All senders of a domain, and of none below it: `spam.example`, `@spam.example`, `[192.0.2.1]`.
    Domain(Domain),
    /// All clients of a network: `192.0.2.0/24`, `2001:db8::1`.
    Network(Network),
}

impl Entry {
    /// What sort of entry it is, in a word: `address`, `domain` or `network`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Domain(_) => "domain",
            Self::Network(_) => "network",
        }
    }
}

impl FromStr for Entry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        if let Some(domain) = text.strip_prefix('@') {
            return domain
                .parse()
                .map(Self::Domain)
                .map_err(EntryError::Address);
        }
        // Before networks: `/` is an ordinary character of an address.
        if text.contains('@') {
            return text.parse().map(Self::Address).map_err(EntryError::Address);
        }
        if let Ok(domain) = text.parse() {
            return Ok(Self::Domain(domain));
        }
        let numeric = |text: &str| text.bytes().all(|byte| b".0123456789".contains(&byte));
        match text.parse() {
            Ok(network) => Ok(Self::Network(network)),
            Err(error) if text.contains(['/', ':']) || (!text.is_empty() && numeric(text)) => {
                Err(EntryError::Network(error))
            }
            Err(_) => Err(EntryError::Other),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Domain(domain) => domain.fmt(out),
            Self::Network(network) => network.fmt(out),
        }
    }
}

/// Why a text is not a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is too long.
    #[error("a note has at most {NOTE_MAX} characters")]
    TooLong,
    /// It holds a line break, a TAB or another control character.
    #[error("a note is one line without TABs or other control characters")]
    Control,
}

/// Why an entry is there, for people: one line of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note(String);

impl Note {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        if text.chars().nth(NOTE_MAX).is_some() {
            Err(NoteError::TooLong)
        } else if text.contains(char::is_control) {
            Err(NoteError::Control)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("Mallory@Spam.Example", "address", "mallory@spam.example")]
    #[case("mallory+tag@spam.example", "address", "mallory+tag@spam.example")]
    #[case("a/b@spam.example", "address", "a/b@spam.example")]
    #[case("mallory@[192.0.2.1]", "address", "mallory@[192.0.2.1]")]
    #[case("Spam.Example", "domain", "spam.example")]
    #[case("@spam.example", "domain", "spam.example")]
    #[case("_spam.example", "domain", "_spam.example")]
    #[case("XN--BCHER-KVA.example", "domain", "xn--bcher-kva.example")]
    #[case("localhost", "domain", "localhost")]
    #[case("[192.0.2.1]", "domain", "[192.0.2.1]")]
    #[case("[ipv6:2001:DB8::1]", "domain", "[IPv6:2001:db8::1]")]
    #[case("192.0.2.1", "network", "192.0.2.1")]
    #[case("192.0.2.0/24", "network", "192.0.2.0/24")]
    #[case("2001:db8::/32", "network", "2001:db8::/32")]
    #[case("::ffff:192.0.2.1", "network", "192.0.2.1")]
    fn entries(#[case] text: &str, #[case] kind: &str, #[case] shown: &str) {
        let entry: Entry = text.parse().unwrap();
        assert_eq!((entry.kind(), entry.to_string().as_str()), (kind, shown));
        assert_eq!(shown.parse(), Ok(entry));
    }

    #[rstest]
    #[case("", "not an address, a domain or a network")]
    #[case("bücher.example", "written in ASCII (xn--...)")]
    #[case("spam.example.", "without a dot at the end")]
    #[case("spam example", "not an address, a domain or a network")]
    #[case("@", "not an address or @domain")]
    #[case("@spam..example", "not an address or @domain")]
    #[case("a b@spam.example", "the local part is not")]
    #[case("mallory@192.0.2.1", "the domain is neither")]
    #[case("192.0.2", "not a network: not an IP address")]
    #[case("192.0.2.300", "not a network: not an IP address")]
    #[case("192.0.2.7/24", "write 192.0.2.0/24")]
    #[case("spam.example/24", "not a network: not an IP address")]
    #[case("2001:db8:::1", "not a network: not an IP address")]
    #[case("spam.example\0", "not an address, a domain or a network")]
    fn no_entries(#[case] text: &str, #[case] why: &str) {
        let error = text.parse::<Entry>().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn notes_are_short_lines() {
        let long = "ä".repeat(NOTE_MAX);
        assert_eq!(long.parse::<Note>().unwrap().as_str(), long);
        assert_eq!((long + "ä").parse::<Note>(), Err(NoteError::TooLong));
        for control in ["two\nlines", "a\tb", "\x1b[2J", "\0"] {
            assert_eq!(control.parse::<Note>(), Err(NoteError::Control));
        }
    }
}
