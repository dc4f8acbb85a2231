//! Lines to commands, replies to lines. Nothing here does I/O.

use std::borrow::Cow;

/// Field of a command: bytes without their escapes, borrowed from the line where it had none.
pub type Field<'a> = Cow<'a, [u8]>;

/// The number by which a client calls a transaction: its own choice, used again later.
pub type TransactionId = u64;

/// One line from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `H`: the protocol's major version, which is 2, 3 or 4.
    Hello(u32),
    /// `L`: wants the value of a key.
    Lookup {
        /// The key; for a passdb it holds the password in clear.
        key: Field<'a>,
        /// On whose behalf; empty before version 3.
        user: Field<'a>,
    },
    /// `I`: wants all keys below a path.
    Iterate(Iterate),
    /// `B`: begins a transaction.
    Begin {
        /// Its number.
        id: TransactionId,
        /// On whose behalf; empty before version 3.
        user: Field<'a>,
    },
    /// `S`: sets a key.
    Set {
        /// The transaction.
        id: TransactionId,
        /// The key.
        key: Field<'a>,
        /// Its new value.
        value: Field<'a>,
    },
    /// `U`: removes a key.
    Unset {
        /// The transaction.
        id: TransactionId,
        /// The key.
        key: Field<'a>,
    },
    /// `A`: adds to a number.
    Increment {
        /// The transaction.
        id: TransactionId,
        /// The key.
        key: Field<'a>,
        /// What to add.
        by: i64,
    },
    /// `T`: when the changes were made. No dict of ours keeps this.
    Timestamp(TransactionId),
    /// `V`: whether values are to be kept out of logs. Ours log none anyway.
    HideValues(TransactionId),
    /// `C`: makes the changes.
    Commit(TransactionId),
    /// `R`: forgets the changes.
    Rollback(TransactionId),
}

/// What an `I` line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Iterate {
    /// Bits: see the constants of this type.
    pub flags: u32,
    /// Most rows wanted; 0 for all.
    pub max_rows: u64,
    /// Keys begin with this.
    pub path: Vec<u8>,
    /// On whose behalf; empty before version 3.
    pub user: Vec<u8>,
}

impl Iterate {
    /// Rows are wanted in the order of their keys.
    pub const SORT_BY_KEY: u32 = 2;
    /// Rows are wanted in the order of their values.
    pub const SORT_BY_VALUE: u32 = 4;
}

/// Why a line is not a command. The text never quotes the line, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is nothing on the line.
    #[error("empty line")]
    Empty,
    /// The first byte is no command.
    #[error("unknown command")]
    UnknownCommand,
    /// A field that the command needs is missing.
    #[error("a field is missing")]
    MissingField,
    /// A field that should be a number is none.
    #[error("a number was expected")]
    NotANumber,
    /// A major version other than 2, 3 and 4.
    #[error("unsupported protocol version")]
    Version,
    /// More than [`LINE_MAX`](super::LINE_MAX) bytes without a newline.
    #[error("line too long")]
    TooLong,
    /// A transaction was begun under a number that is in use on this connection.
    #[error("transaction begun twice")]
    BegunTwice,
}

impl<'a> Command<'a> {
    /// Reads a line, given without its newline.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        let (&letter, rest) = line.split_first().ok_or(Malformed::Empty)?;
        let mut fields = Fields(rest.split(|&byte| byte == b'\t'));
        Ok(match letter {
            b'H' => Self::Hello(parse_version(fields.number()?)?),
            b'L' => Self::Lookup {
                key: fields.needed()?,
                user: fields.optional(),
            },
            b'I' => Self::Iterate(Iterate {
                flags: fields.number()?,
                max_rows: fields.number()?,
                path: fields.needed()?.into_owned(),
                user: fields.optional().into_owned(),
            }),
            b'B' => Self::Begin {
                id: fields.number()?,
                user: fields.optional(),
            },
            b'S' => {
                let (id, key) = (fields.number()?, fields.needed()?);
                Self::Set {
                    id,
                    key,
                    value: fields.needed()?,
                }
            }
            b'U' => Self::Unset {
                id: fields.number()?,
                key: fields.needed()?,
            },
            b'A' => {
                let (id, key) = (fields.number()?, fields.needed()?);
                Self::Increment {
                    id,
                    key,
                    by: fields.number()?,
                }
            }
            b'T' => Self::Timestamp(fields.number()?),
            b'V' => Self::HideValues(fields.number()?),
            b'C' => Self::Commit(fields.number()?),
            b'R' => Self::Rollback(fields.number()?),
            _ => return Err(Malformed::UnknownCommand),
        })
    }
}

fn parse_version(major: u32) -> Result<u32, Malformed> {
    if (2..=4).contains(&major) {
        Ok(major)
    } else {
        Err(Malformed::Version)
    }
}

/// The fields of a line, in order.
struct Fields<I>(I);

impl<'a, I: Iterator<Item = &'a [u8]>> Fields<I> {
    fn needed(&mut self) -> Result<Field<'a>, Malformed> {
        self.0.next().map(unescape).ok_or(Malformed::MissingField)
    }

    fn optional(&mut self) -> Field<'a> {
        self.0.next().map(unescape).unwrap_or_default()
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, Malformed> {
        let field = self.0.next().ok_or(Malformed::MissingField)?;
        let text = std::str::from_utf8(field).map_err(|_| Malformed::NotANumber)?;
        text.parse().map_err(|_| Malformed::NotANumber)
    }
}

/// One line to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `O`: the value of a key.
    Found(&'a [u8]),
    /// `N`: there is no such key.
    NotFound,
    /// `F`: the dict is out of order; Dovecot takes it for temporary.
    Failed(&'a str),
    /// `O`: a row of an iteration.
    Row {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// The empty line after the last row.
    EndOfRows,
    /// `O`: the changes are made.
    Committed(TransactionId),
    /// `F`: the changes are not made.
    CommitFailed(TransactionId, &'a str),
}

impl Reply<'_> {
    /// Appends the line with its newline.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Found(value) => {
                out.push(b'O');
                escape_into(value, out);
            }
            Self::NotFound => out.push(b'N'),
            Self::Failed(why) => {
                out.push(b'F');
                escape_into(why.as_bytes(), out);
            }
            Self::Row { key, value } => {
                out.push(b'O');
                escape_into(key, out);
                out.push(b'\t');
                escape_into(value, out);
            }
            Self::EndOfRows => {}
            Self::Committed(id) => {
                out.push(b'O');
                out.extend_from_slice(id.to_string().as_bytes());
            }
            Self::CommitFailed(id, why) => {
                out.push(b'F');
                out.extend_from_slice(id.to_string().as_bytes());
                out.push(b'\t');
                escape_into(why.as_bytes(), out);
            }
        }
        out.push(b'\n');
    }
}

/// The byte that begins an escape.
const ESCAPE: u8 = 0x01;

/// Appends a field with its escapes.
pub fn escape_into(field: &[u8], out: &mut Vec<u8>) {
    out.reserve(field.len());
    for &byte in field {
        let letter = match byte {
            ESCAPE => b'1',
            b'\t' => b't',
            b'\r' => b'r',
            b'\n' => b'n',
            0 => b'0',
            plain => {
                out.push(plain);
                continue;
            }
        };
        out.extend_from_slice(&[ESCAPE, letter]);
    }
}

/// Takes the escapes out of a field. A lone escape byte at the end is dropped.
pub fn unescape(field: &[u8]) -> Field<'_> {
    if !field.contains(&ESCAPE) {
        return Cow::Borrowed(field);
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(&byte) = bytes.next() {
        if byte != ESCAPE {
            plain.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'1') => plain.push(ESCAPE),
            Some(b't') => plain.push(b'\t'),
            Some(b'r') => plain.push(b'\r'),
            Some(b'n') => plain.push(b'\n'),
            Some(b'0') => plain.push(0),
            Some(&other) => plain.push(other),
            None => {}
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn field(text: &str) -> Field<'_> {
        Cow::Borrowed(text.as_bytes())
    }

    #[rstest]
    #[case("H2\t2\t0\t\tauth", Command::Hello(2))]
    #[case("H3\t2\t0\t\tauth", Command::Hello(3))]
    #[case("H4\t0\t0\t\tauth", Command::Hello(4))]
    #[case("Lshared/userdb/a@x", Command::Lookup { key: field("shared/userdb/a@x"), user: field("") })]
    #[case("Lshared/x\tbob", Command::Lookup { key: field("shared/x"), user: field("bob") })]
    #[case("La\x01tb\x01\x01\tbob", Command::Lookup { key: field("a\tb\x01"), user: field("bob") })]
    #[case("I0\t5\tshared/userdb/", Command::Iterate(Iterate { max_rows: 5, path: b"shared/userdb/".to_vec(), ..Iterate::default() }))]
    #[case("I33\t0\tp/\tbob", Command::Iterate(Iterate { flags: 33, path: b"p/".to_vec(), user: b"bob".to_vec(), ..Iterate::default() }))]
    #[case("B1", Command::Begin { id: 1, user: field("") })]
    #[case("B1\tbob\t30", Command::Begin { id: 1, user: field("bob") })]
    #[case("S1\tk\tv", Command::Set { id: 1, key: field("k"), value: field("v") })]
    #[case("S1\tk\t", Command::Set { id: 1, key: field("k"), value: field("") })]
    #[case("U1\tk", Command::Unset { id: 1, key: field("k") })]
    #[case("A1\tk\t-3", Command::Increment { id: 1, key: field("k"), by: -3 })]
    #[case("T1\t1700000000\t5", Command::Timestamp(1))]
    #[case("V1\tyes", Command::HideValues(1))]
    #[case("C18446744073709551615", Command::Commit(u64::MAX))]
    #[case("R7", Command::Rollback(7))]
    fn reads(#[case] line: &str, #[case] expected: Command<'_>) {
        assert_eq!(Command::parse(line.as_bytes()), Ok(expected));
    }

    #[rstest]
    #[case(b"", Malformed::Empty)]
    #[case(b"X", Malformed::UnknownCommand)]
    #[case(b"\xff\xfe", Malformed::UnknownCommand)]
    #[case(b"H1\t0\t0", Malformed::Version)]
    #[case(b"H5\t0\t0", Malformed::Version)]
    #[case(b"H", Malformed::NotANumber)]
    #[case(b"I0\t0", Malformed::MissingField)]
    #[case(b"I-1\t0\tp", Malformed::NotANumber)]
    #[case(b"B", Malformed::NotANumber)]
    #[case(b"B\xff", Malformed::NotANumber)]
    #[case(b"S1\tk", Malformed::MissingField)]
    #[case(b"A1\tk\tmany", Malformed::NotANumber)]
    #[case(b"C18446744073709551616", Malformed::NotANumber)]
    fn refuses(#[case] line: &[u8], #[case] why: Malformed) {
        assert_eq!(Command::parse(line), Err(why));
    }

    #[rstest]
    #[case(
        Reply::Found(b"a\tb\r\n\0\x01\xff"),
        b"Oa\x01tb\x01r\x01n\x010\x011\xff\n"
    )]
    #[case(Reply::NotFound, b"N\n")]
    #[case(Reply::Failed("no\nway"), b"Fno\x01nway\n")]
    #[case(Reply::Row { key: b"k", value: b"" }, b"Ok\t\n")]
    #[case(Reply::EndOfRows, b"\n")]
    #[case(Reply::Committed(3), b"O3\n")]
    #[case(Reply::CommitFailed(3, "why"), b"F3\twhy\n")]
    fn writes(#[case] reply: Reply<'_>, #[case] line: &[u8]) {
        let mut out = Vec::new();
        reply.write_to(&mut out);
        assert_eq!(out, line);
    }

    proptest! {
        #[test]
        fn escapes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut escaped = Vec::new();
            escape_into(&bytes, &mut escaped);
            prop_assert!(!escaped.iter().any(|byte| b"\t\r\n\0".contains(byte)));
            prop_assert_eq!(unescape(&escaped).into_owned(), bytes);
        }

        #[test]
        fn any_bytes_parse_or_are_refused(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn a_set_reads_back(
            id: u64,
            key in proptest::collection::vec(any::<u8>(), 0..40),
            value in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut line = format!("S{id}\t").into_bytes();
            escape_into(&key, &mut line);
            line.push(b'\t');
            escape_into(&value, &mut line);
            let (key, value) = (Cow::Owned(key), Cow::Owned(value));
            prop_assert_eq!(Command::parse(&line), Ok(Command::Set { id, key, value }));
        }
    }
}
