//! What has to be known of a message before it can be posted.

use aws_lc_rs::digest::{Context, Digest, SHA256};

/// Octets that are looked at in one go; other tasks get their turn after each.
const PIECE: usize = 1024 * 1024;

/// What a message is like.
#[derive(Clone, Debug)]
pub(super) struct Examination {
    /// SHA-256 of the message.
    pub(super) digest: Digest,
    /// Whether a line begins with a dot.
    pub(super) has_dot_line: bool,
    /// Whether the header section is ASCII.
    pub(super) is_ascii_header: bool,
}

/// Looks at a message with CRLF at its line ends.
pub(super) async fn examine(message: &[u8]) -> Examination {
    let mut digest = Context::new(&SHA256);
    let mut has_dot_line = false;
    let mut at_line_start = true;
    for piece in message.chunks(PIECE) {
        if !std::ptr::eq(piece.as_ptr(), message.as_ptr()) {
            tokio::task::yield_now().await;
        }
        digest.update(piece);
        has_dot_line = has_dot_line || dot_begins_line(piece, at_line_start);
        at_line_start = piece.ends_with(b"\n");
    }
    Examination {
        digest: digest.finish(),
        has_dot_line,
        is_ascii_header: header_section(message).is_ascii(),
    }
}

fn dot_begins_line(piece: &[u8], at_line_start: bool) -> bool {
    let mut lines = piece.split(|&octet| octet == b'\n');
    let first = lines.next().unwrap_or_default();
    at_line_start && first.starts_with(b".") || lines.any(|line| line.starts_with(b"."))
}

/// Up to the first empty line.
fn header_section(message: &[u8]) -> &[u8] {
    let mut end = 0;
    for line in message.split_inclusive(|&octet| octet == b'\n') {
        if line == b"\r\n" {
            break;
        }
        end += line.len();
    }
    message.get(..end).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", false)]
    #[case(".\r\n", true)]
    #[case("a.b\r\n", false)]
    #[case("A: b\r\n\r\n..\r\n", true)]
    #[case("A: b\r\n\r\nx\r\n.x\r\n", true)]
    #[case("A: b\r\n\r\n x\r\n .x\r\n", false)]
    #[tokio::test]
    async fn lines_that_begin_with_a_dot(#[case] message: &str, #[case] expected: bool) {
        assert_eq!(examine(message.as_bytes()).await.has_dot_line, expected);
    }

    #[tokio::test]
    async fn dots_are_seen_where_pieces_meet() {
        let with_dot_at = |at: usize| {
            let mut message = vec![b'x'; PIECE + 10];
            message[PIECE - 1] = b'\n';
            message[at] = b'.';
            message
        };
        assert!(examine(&with_dot_at(PIECE)).await.has_dot_line);
        assert!(!examine(&with_dot_at(PIECE + 1)).await.has_dot_line);
        let whole = with_dot_at(PIECE);
        let digest = aws_lc_rs::digest::digest(&SHA256, &whole);
        assert_eq!(examine(&whole).await.digest.as_ref(), digest.as_ref());
    }

    #[rstest]
    #[case("A: b\r\n\r\n\u{fc}\r\n", true)]
    #[case("A: \u{fc}\r\n\r\nb\r\n", false)]
    #[case("A: b\r\nB: \u{fc}", false)]
    #[tokio::test]
    async fn only_the_header_section_counts(#[case] message: &str, #[case] expected: bool) {
        assert_eq!(examine(message.as_bytes()).await.is_ascii_header, expected);
    }
}
