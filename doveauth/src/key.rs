//! What Dovecot's auth process puts into the keys of its lookups.
//!
//! `passdb_key = passdb/%Ew"%Eu`: password and user name, where `%E` puts a backslash before `"`,
//! `'` and `\`, so that a bare `"` separates them. The password is in clear.

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
    },
    /// Where the mailbox of an address is.
    Userdb(Option<Address>),
}

impl AuthKey {
    /// Reads a key; `None` for one that no auth process sends.
    pub fn parse(key: &[u8]) -> Option<Self> {
        if let Some(rest) = key.strip_prefix(b"shared/passdb/") {
            let mut parts = split_quoted(rest)?.into_iter();
            return match (parts.next(), parts.next(), parts.next()) {
                (Some(password), Some(user), None) => Some(Self::Passdb {
                    password,
                    address: parse_address(&user),
                }),
                _ => None,
            };
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
        let key = AuthKey::parse(&[b"shared/passdb/", rest].concat());
        let address = Some("bob@x.org".parse().unwrap());
        assert!(
            key == Some(AuthKey::Passdb {
                password: password.to_vec(),
                address
            })
        );
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
    #[case(b"shared/passdb/secret\"bob@x.org\\")]
    #[case(b"shared/userdb/bob\"@x.org")]
    fn other_keys(#[case] key: &[u8]) {
        assert!(AuthKey::parse(key).is_none());
    }
}
