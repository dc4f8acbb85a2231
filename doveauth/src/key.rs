//! What Dovecot's auth process puts into the keys of its lookups.
//!
//! `password_key = passdb/%Ew"%Eu"%r`: password, user name and the client's IP address, where `%E` puts a
//! backslash before `"`, `'` and `\`, so that a bare `"` separates them. The password is in clear. Without the
//! address, as classic relays have it, it is the same lookup of a client that nobody knows.

use std::net::IpAddr;

use chatmail::Address;

/// What an auth lookup asks for.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthKey {
    /// A login. The address is `None` when the name is not an address.
    Passdb {
        /// As the client sent it: any bytes.
        password: Vec<u8>,
        /// Who logs in.
        address: Option<Address>,
        /// From where, if Dovecot says so.
        client: Option<IpAddr>,
    },
    /// Where the mailbox of an address is.
    Userdb(Option<Address>),
}

impl AuthKey {
    /// Reads a key; `None` for one that no auth process sends.
    pub fn parse(key: &[u8]) -> Option<Self> {
        if let Some(rest) = key.strip_prefix(b"shared/passdb/") {
            let mut parts = split_quoted(rest)?.into_iter();
            let (Some(password), Some(user)) = (parts.next(), parts.next()) else {
                return None;
            };
            let client = parts.next().map(|client| parse_client(&client));
            return parts.next().is_none().then_some(Self::Passdb {
                password,
                address: parse_address(&user),
                client: client.unwrap_or(Some(None))?,
            });
        }
        let mut parts = split_quoted(key.strip_prefix(b"shared/userdb/")?)?.into_iter();
        match (parts.next(), parts.next()) {
            (Some(user), None) => Some(Self::Userdb(parse_address(&user))),
            _ => None,
        }
    }
}

fn parse_address(user: &[u8]) -> Option<Address> {
    Address::try_from(user).ok()
}

/// Outer `None`: no client. Inner `None`: nobody knows which, as for lookups by `doveadm auth`.
fn parse_client(client: &[u8]) -> Option<Option<IpAddr>> {
    match client {
        b"" => Some(None),
        client => std::str::from_utf8(client).ok()?.parse().ok().map(Some),
    }
}

/// Splits at each `"` that no backslash stands before, and takes the backslashes out; `None` when
/// the last byte is a backslash with nothing to stand for.
fn split_quoted(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut parts = Vec::with_capacity(2);
    let mut part = Vec::new();
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => part.push(*bytes.next()?),
            b'"' => parts.push(std::mem::take(&mut part)),
            plain => part.push(plain),
        }
    }
    parts.push(part);
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"secret\"bob@x.org", b"secret")]
    #[case(b"se/cret\tx\"bob@x.org", b"se/cret\tx")]
    #[case(br#"a\"b\'c\\d"bob@x.org"#, br#"a"b'c\d"#)]
    #[case(b"\xff\0\n\"bob@x.org", b"\xff\0\n")]
    #[case(b"\"Bob@X.org", b"")]
    fn passdb_keys(#[case] rest: &[u8], #[case] password: &[u8]) {
        let clients = [None, Some(""), Some("192.0.2.1"), Some("2001:db8::1")];
        for client in clients {
            let end = client.map(|client| format!("\"{client}"));
            let end = end.unwrap_or_default();
            let key = AuthKey::parse(&[b"shared/passdb/", rest, end.as_bytes()].concat());
            let expected = AuthKey::Passdb {
                password: password.to_vec(),
                address: Some("bob@x.org".parse().unwrap()),
                client: client.and_then(|client| client.parse().ok()),
            };
            assert!(key == Some(expected));
        }
    }

    #[rstest]
    #[case("bob@x.org", true)]
    #[case("BOB@X.ORG", true)]
    #[case(r"o\'brien@x.org", true)]
    #[case("bob", false)]
    #[case("", false)]
    #[case("bob@", false)]
    fn userdb_keys(#[case] rest: &str, #[case] is_address: bool) {
        match AuthKey::parse(format!("shared/userdb/{rest}").as_bytes()) {
            Some(AuthKey::Userdb(address)) => assert_eq!(address.is_some(), is_address),
            _ => panic!("not a userdb key"),
        }
    }

    #[rstest]
    #[case(b"")]
    #[case(b"shared/")]
    #[case(b"shared/other/bob@x.org")]
    #[case(b"priv/passdb/secret\"bob@x.org")]
    #[case(b"shared/passdb/bob@x.org")]
    #[case(b"shared/passdb/secret\"bob@x.org\"more")]
    #[case(b"shared/passdb/secret\"bob@x.org\"192.0.2.1\"")]
    #[case(b"shared/passdb/secret\"bob@x.org\"\xff")]
    #[case(b"shared/passdb/secret\"bob@x.org\\")]
    #[case(b"shared/userdb/bob\"@x.org")]
    fn other_keys(#[case] key: &[u8]) {
        assert!(AuthKey::parse(key).is_none());
    }
}
