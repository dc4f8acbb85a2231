//! Replies, read by a client (RFC 5321 section 4.2).

use super::lines::{LineFault, Lines};
use crate::Reply;

/// Longest line of a reply in octets; RFC 5321 section 4.5.3.1.5 has 512, and not all keep to it.
const LINE_MAX: usize = 2048;
/// Most lines of a reply.
const LINES_MAX: usize = 128;

/// A reply as the server gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReply {
    /// The three-digit code, 200 to 599.
    pub code: u16,
    /// The enhanced status code, when the first line has one of the code's class (RFC 2034).
    pub enhanced: Option<(u8, u16, u16)>,
    /// The text of each line, without codes; at least one. Control characters are `?`.
    pub lines: Vec<String>,
}

/// Why a server cannot be understood. The connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line that is broken.
    #[error("reply with {0}")]
    Line(#[from] LineFault),
    /// A line that does not begin with three digits, or with others than the line before.
    #[error("reply without a code")]
    Code,
    /// More than 128 lines.
    #[error("reply with too many lines")]
    TooManyLines,
}

impl ServerReply {
    /// Whether the server did what it was asked (2yz).
    pub fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether it may do so later (4yz).
    pub fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// The reply in one line, to be passed on; without an enhanced code, `x.0.0`.
    pub fn to_reply(&self) -> Reply {
        let class = (self.code / 100) as u8;
        let text = self.lines.join(" ");
        Reply::new(self.code, self.enhanced.unwrap_or((class, 0, 0)), text)
    }
}

/// Gathers the lines of replies.
///
/// An LMTP client reads as many replies after a message as recipients were accepted.
#[derive(Debug)]
pub struct ReplyReader {
    lines: Lines,
    reply: Option<ServerReply>,
}

impl ReplyReader {
    /// Before the first reply, which is the greeting.
    pub fn new() -> Self {
        Self {
            lines: Lines::new(LINE_MAX),
            reply: None,
        }
    }

    /// Takes octets from the front of `input` up to the end of a reply. `None`: all was taken and the
    /// reply goes on.
    ///
    /// # Errors
    /// See [`ReplyError`]; close the connection.
    pub fn take(&mut self, input: &mut &[u8]) -> Option<Result<ServerReply, ReplyError>> {
        while let Some(line) = self.lines.take(input) {
            let complete = line
                .map_err(ReplyError::from)
                .and_then(|line| self.line(&line));
            match complete {
                Ok(false) => {}
                Ok(true) => return self.reply.take().map(Ok),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    /// Adds a line; returns whether it was the last.
    fn line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let (code, rest) = line.split_first_chunk().ok_or(ReplyError::Code)?;
        let code = parse_code(*code).ok_or(ReplyError::Code)?;
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(ReplyError::Code),
        };
        let text = readable(text);
        let reply = self.reply.get_or_insert_with(|| ServerReply {
            code,
            enhanced: split_enhanced(code, &text).map(|(enhanced, _)| enhanced),
            lines: Vec::new(),
        });
        if reply.code != code {
            return Err(ReplyError::Code);
        }
        if reply.lines.len() == LINES_MAX {
            return Err(ReplyError::TooManyLines);
        }
        let bare = split_enhanced(code, &text)
            .filter(|(enhanced, _)| reply.enhanced == Some(*enhanced))
            .map(|(_, bare)| bare.to_owned());
        reply.lines.push(bare.unwrap_or(text));
        Ok(last)
    }
}

impl Default for ReplyReader {
    fn default() -> Self {
        Self::new()
    }
}

fn parse_code([first, second, third]: [u8; 3]) -> Option<u16> {
    let digits = [first, second, third].map(|octet| u16::from(octet).wrapping_sub(48));
    match digits {
        [a @ 2..=5, b @ 0..=9, c @ 0..=9] => Some(a * 100 + b * 10 + c),
        _ => None,
    }
}

/// `5.7.1 text` (RFC 2034 section 4): the class is that of the code, the numbers have no leading zeros.
fn split_enhanced(code: u16, text: &str) -> Option<((u8, u16, u16), &str)> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut numbers = word.split('.').map(|digits| {
        let plain = digits == "0" || !digits.starts_with('0');
        let short = (1..=3).contains(&digits.len());
        let numeric = digits.bytes().all(|octet| octet.is_ascii_digit());
        let number = (plain && short && numeric).then(|| digits.parse::<u16>());
        number.and_then(Result::ok)
    });
    let (class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let fits = class == code / 100 && matches!(class, 2 | 4 | 5) && numbers.next().is_none();
    fits.then_some(((class as u8, subject, detail), rest))
}

fn readable(text: &[u8]) -> String {
    let replaced = |c: char| if c.is_control() { '?' } else { c };
    String::from_utf8_lossy(text)
        .chars()
        .map(replaced)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{write_lines, write_reply};
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn read(pieces: &[&[u8]]) -> Vec<Result<ServerReply, ReplyError>> {
        let mut reader = ReplyReader::default();
        let mut replies = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(reply) = reader.take(&mut piece) {
                let failed = reply.is_err();
                replies.push(reply);
                if failed {
                    return replies;
                }
            }
        }
        replies
    }

    fn reply(code: u16, enhanced: Option<(u8, u16, u16)>, lines: &[&str]) -> ServerReply {
        let lines = lines.iter().map(ToString::to_string).collect();
        ServerReply {
            code,
            enhanced,
            lines,
        }
    }

    #[rstest]
    #[case("220 mx ESMTP\r\n", reply(220, None, &["mx ESMTP"]))]
    #[case("250\r\n", reply(250, None, &[""]))]
    #[case("250 2.1.0 Ok\r\n", reply(250, Some((2, 1, 0)), &["Ok"]))]
    #[case("250 2.1.0\r\n", reply(250, Some((2, 1, 0)), &[""]))]
    #[case("250-mx\r\n250-SIZE 1\r\n250 DSN\r\n", reply(250, None, &["mx", "SIZE 1", "DSN"]))]
    #[case("550-5.1.1 No\r\n550 5.1.1 such\r\n", reply(550, Some((5, 1, 1)), &["No", "such"]))]
    #[case("550-5.1.1 No\r\n550 such\r\n", reply(550, Some((5, 1, 1)), &["No", "such"]))]
    #[case("550 4.1.1 No\r\n", reply(550, None, &["4.1.1 No"]))]
    #[case("550 5.01.1 No\r\n", reply(550, None, &["5.01.1 No"]))]
    #[case("550 5.1.1.1 No\r\n", reply(550, None, &["5.1.1.1 No"]))]
    #[case("550 5.1234.1 No\r\n", reply(550, None, &["5.1234.1 No"]))]
    #[case("550 \u{fc}\x07\u{85}\r\n", reply(550, None, &["\u{fc}??"]))]
    fn replies(#[case] text: &str, #[case] expected: ServerReply) {
        assert_eq!(read(&[text.as_bytes()]), [Ok(expected)]);
    }

    #[rstest]
    #[case(b"\r\n", ReplyError::Code)]
    #[case(b"25\r\n", ReplyError::Code)]
    #[case(b"150 x\r\n", ReplyError::Code)]
    #[case(b"650 x\r\n", ReplyError::Code)]
    #[case(b"2x0 x\r\n", ReplyError::Code)]
    #[case(b"250x\r\n", ReplyError::Code)]
    #[case(b"250-a\r\n251 b\r\n", ReplyError::Code)]
    #[case(b"250 a\nb\r\n", ReplyError::Line(LineFault::BareLineEnding))]
    #[case(b"250 \0\r\n", ReplyError::Line(LineFault::Nul))]
    fn errors(#[case] text: &[u8], #[case] error: ReplyError) {
        assert_eq!(read(&[text]), [Err(error)]);
    }

    #[test]
    fn limits() {
        let line = format!("250 {}\r\n", "x".repeat(LINE_MAX));
        let too_long = ReplyError::Line(LineFault::TooLong);
        assert_eq!(read(&[line.as_bytes()]), [Err(too_long)]);
        let endless = "250-x\r\n".repeat(LINES_MAX + 1);
        assert_eq!(read(&[endless.as_bytes()]), [Err(ReplyError::TooManyLines)]);
    }

    #[test]
    fn replies_can_be_passed_on() {
        let given = reply(451, None, &["try", "later\u{e4}"]);
        assert!(given.is_temporary() && !given.is_positive());
        assert_eq!(given.to_reply(), Reply::new(451, (4, 0, 0), "try later?"));
    }

    proptest! {
        #[test]
        fn what_a_server_writes_reads_back(
            code in 200_u16..600,
            detail in (0_u16..1000, 0_u16..1000),
            text in "[ -~]{0,40}|([a-z]{1,9} ){0,200}",
            cuts in proptest::collection::vec(0_usize..60, 0..6),
        ) {
            let enhanced = ((code / 100) as u8, detail.0, detail.1);
            let reply = Reply::new(code, enhanced, text.clone());
            let mut wire = Vec::new();
            write_reply(&reply, &mut wire);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
            let replies = read(&pieces);
            prop_assert_eq!(replies.len(), 1);
            let read = replies[0].clone().unwrap();
            prop_assert_eq!(read.code, code);
            // There is no class 3 (RFC 3463 section 2).
            if code / 100 != 3 {
                prop_assert_eq!(read.enhanced, Some(enhanced));
                prop_assert_eq!(read.lines.concat(), text);
            }
        }

        #[test]
        fn lines_read_back(lines in proptest::collection::vec("[A-Z]{0,20}( [!-~]{1,9})?", 1..9)) {
            let mut wire = Vec::new();
            write_lines(250, lines.iter().map(String::as_str), &mut wire);
            let expected = reply(250, None, &lines.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(read(&[&wire]), [Ok(expected)]);
        }
    }
}
