//! The socketmap protocol (socketmap_table(5)), without I/O: requests and replies are netstrings,
//! `LENGTH:OCTETS,`; a request's octets are `MAP KEY`.

/// The most octets of a request. A key is an address at most.
pub(super) const REQUEST_MAX: usize = 1024;

/// Digits of a length.
const DIGITS_MAX: usize = 4;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// The name of the map.
    pub(super) map: &'a str,
    /// What is looked up.
    pub(super) key: &'a str,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The value of the key.
    Ok(String),
    /// The key has no value.
    NotFound,
    /// The request can never be answered. Why.
    Perm(&'static str),
}

/// Something that is no request. The connection cannot be understood any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a length that is not a number, or too large")]
    Length,
    #[error("a netstring without its final comma")]
    End,
}

/// The first netstring of `input`, and how many octets it takes; `None` when it is not complete.
pub(super) fn netstring(input: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    let head = input
        .get(..input.len().min(DIGITS_MAX + 1))
        .unwrap_or(input);
    let Some(colon) = head.iter().position(|octet| *octet == b':') else {
        let incomplete = head.len() <= DIGITS_MAX && head.iter().all(u8::is_ascii_digit);
        return if incomplete {
            Ok(None)
        } else {
            Err(Malformed::Length)
        };
    };
    let (digits, rest) = input.split_at(colon);
    let rest = rest.get(1..).unwrap_or_default();
    let length = length(digits).ok_or(Malformed::Length)?;
    match rest.get(length) {
        None => Ok(None),
        Some(b',') => Ok(Some((
            rest.get(..length).unwrap_or_default(),
            colon + length + 2,
        ))),
        Some(_) => Err(Malformed::End),
    }
}

fn length(digits: &[u8]) -> Option<usize> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (length <= REQUEST_MAX).then_some(length)
}

impl<'a> Request<'a> {
    /// Reads the octets of a netstring; `None` when it is not a map and a key.
    pub(super) fn parse(octets: &'a [u8]) -> Option<Self> {
        let (map, key) = std::str::from_utf8(octets).ok()?.split_once(' ')?;
        Some(Self { map, key })
    }
}

impl Reply {
    /// Appends the netstring.
    pub(super) fn write_to(&self, output: &mut Vec<u8>) {
        let text = match self {
            Self::Ok(value) => format!("OK {value}"),
            Self::NotFound => "NOTFOUND ".into(),
            Self::Perm(why) => format!("PERM {why}"),
        };
        output.extend(format!("{}:{text},", text.len()).into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"", Ok(None))]
    #[case(b"1", Ok(None))]
    #[case(b"1024", Ok(None))]
    #[case(b"5:abcd", Ok(None))]
    #[case(b"5:abcde", Ok(None))]
    #[case(b"5:abcde,x", Ok(Some((&b"abcde"[..], 8))))]
    #[case(b"0:,", Ok(Some((&b""[..], 3))))]
    #[case(b"5:abcdex", Err(Malformed::End))]
    #[case(b":,", Err(Malformed::Length))]
    #[case(b"-1:,", Err(Malformed::Length))]
    #[case(b"+1:a,", Err(Malformed::Length))]
    #[case(b"1025:", Err(Malformed::Length))]
    #[case(b"10240", Err(Malformed::Length))]
    #[case(b"GET / HTTP/1.1", Err(Malformed::Length))]
    fn netstrings_are_read(
        #[case] input: &[u8],
        #[case] read: Result<Option<(&[u8], usize)>, Malformed>,
    ) {
        assert_eq!(netstring(input), read);
    }

    #[test]
    fn a_request_is_a_map_and_a_key() {
        let request = |octets| Request::parse(octets).map(|request| (request.map, request.key));
        assert_eq!(request(b"route a@x.test"), Some(("route", "a@x.test")));
        assert_eq!(request(b"route a b"), Some(("route", "a b")));
        assert_eq!(request(b"route "), Some(("route", "")));
        assert_eq!(request(b"route"), None);
        assert_eq!(request(b"route \xff"), None);
    }

    #[test]
    fn replies_are_netstrings() {
        let mut output = Vec::new();
        Reply::Ok("smtp:".into()).write_to(&mut output);
        Reply::NotFound.write_to(&mut output);
        assert_eq!(output, b"8:OK smtp:,9:NOTFOUND ,");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "[a-z ]{0,900}", behind: Vec<u8>) {
            let mut input = Vec::new();
            let reply = Reply::Ok(text);
            reply.write_to(&mut input);
            let length = input.len();
            input.extend(behind);
            let (octets, taken) = netstring(&input).unwrap().unwrap();
            prop_assert_eq!(taken, length);
            let Reply::Ok(text) = reply else { unreachable!() };
            let written = format!("OK {text}");
            prop_assert_eq!(octets, written.as_bytes());
        }

        #[test]
        fn any_octets_are_a_netstring_or_not(input: Vec<u8>, cut in 0..2000_usize) {
            let whole = netstring(&input);
            // A part of it says the same, or is not complete.
            let part = netstring(&input[..cut.min(input.len())]);
            prop_assert!(part == whole || part == Ok(None));
            if let Ok(Some((octets, taken))) = whole {
                prop_assert!(octets.len() < taken && taken <= input.len());
            }
        }
    }
}
