//! A message made ready for `DATA`.

use bytes::{Bytes, BytesMut};

/// A message with its dots stuffed (RFC 5321 section 4.5.2), so that it can be sent many times, or
/// the same body under many headers, without touching each byte again.
///
/// A clone shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    head: Bytes,
    body: Bytes,
}

impl Content {
    /// No message at all: `DATA` is followed by the final dot.
    pub const EMPTY: Self = Self {
        head: Bytes::new(),
        body: Bytes::new(),
    };

    /// A message from its header section, which ends in an empty line, and its body. Leading dots
    /// are doubled, and a body that does not end in CRLF gets one. Nothing else changes: bare line
    /// feeds stay.
    pub fn new(head: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        Self {
            head: stuff(head.into()),
            body: ended(stuff(body.into())),
        }
    }

    /// The same body under another header section.
    pub fn with_head(&self, head: impl Into<Bytes>) -> Self {
        Self {
            head: stuff(head.into()),
            body: self.body.clone(),
        }
    }

    /// What goes over the wire before the final dot.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        [&self.head, &self.body]
    }
}

/// Doubles each dot at a line start; without one the bytes stay where they are.
fn stuff(bytes: Bytes) -> Bytes {
    let mut from = 0;
    let mut stuffed = BytesMut::new();
    for at in leading_dots(&bytes) {
        stuffed.extend_from_slice(&bytes[from..at]);
        stuffed.extend_from_slice(b".");
        from = at;
    }
    if stuffed.is_empty() && from == 0 {
        return bytes;
    }
    stuffed.extend_from_slice(&bytes[from..]);
    stuffed.freeze()
}

/// Where lines start with a dot. A line ends at CRLF alone: that is what the server unstuffs.
fn leading_dots(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let first = bytes.starts_with(b".").then_some(0);
    let later = bytes
        .windows(3)
        .enumerate()
        .filter(|(_, window)| *window == b"\r\n.");
    first.into_iter().chain(later.map(|(at, _)| at + 2))
}

fn ended(body: Bytes) -> Bytes {
    if body.is_empty() || body.ends_with(b"\r\n") {
        return body;
    }
    let mut longer = BytesMut::from(&body[..]);
    longer.extend_from_slice(b"\r\n");
    longer.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", "")]
    #[case("a\r\nb\r\n", "a\r\nb\r\n")]
    #[case(".", "..\r\n")]
    #[case(".\r\n..\r\na.\r\n", "..\r\n...\r\na.\r\n")]
    #[case("a\n.\r\n.b\r\n", "a\n.\r\n..b\r\n")]
    #[case("no end", "no end\r\n")]
    fn bodies_on_the_wire(#[case] body: &'static str, #[case] wire: &'static str) {
        assert_eq!(
            Content::new("", body).parts(),
            [b"" as &[u8], wire.as_bytes()]
        );
    }

    #[test]
    fn a_body_without_dots_is_not_copied() {
        let body = Bytes::from_static(b"a\r\n");
        let content = Content::new("H: 1\r\n\r\n", body.clone());
        assert_eq!(
            content.with_head("H: 2\r\n\r\n").parts()[1].as_ptr(),
            body.as_ptr()
        );
    }
}
