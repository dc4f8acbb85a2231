//! Replies, written by a server (RFC 5321 section 4.2).

use crate::Reply;

/// Most octets of text in a line: 512 less the code, the enhanced code and CRLF (RFC 5321 section
/// 4.5.3.1.5).
const TEXT_MAX: usize = 480;

/// Appends a reply with its enhanced code (RFC 2034), on several lines when it is long.
///
/// An LMTP server writes one for each recipient that it accepted, in their order, after the message
/// (RFC 2033 section 4.2).
pub fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    let text = printable(&reply.text);
    let mut lines = Vec::new();
    let mut rest = text.as_str();
    loop {
        let (line, behind) = split_line(rest);
        lines.push(format!("{} {line}", reply.enhanced_text()));
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    write_lines(reply.code, lines.iter().map(String::as_str), out);
}

/// Appends a reply that has no enhanced code: a greeting, what `EHLO` offers, or 354.
///
/// Characters outside printable ASCII become `?`. Without any line, the text is empty.
pub fn write_lines<'a>(code: u16, lines: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) {
    let mut lines = lines.into_iter().peekable();
    loop {
        let line = lines.next().unwrap_or_default();
        let divider = if lines.peek().is_some() { '-' } else { ' ' };
        out.extend_from_slice(format!("{code}{divider}{}\r\n", printable(line)).as_bytes());
        if divider == ' ' {
            return;
        }
    }
}

/// Cuts behind the last blank that leaves a line of at most [`TEXT_MAX`] octets.
fn split_line(text: &str) -> (&str, &str) {
    if text.len() <= TEXT_MAX {
        return (text, "");
    }
    let head = text.get(..TEXT_MAX).unwrap_or(text);
    let end = head.rfind(' ').map_or(head.len(), |blank| blank + 1);
    text.split_at(end)
}

/// ASCII, so that it can be cut anywhere.
fn printable(text: &str) -> String {
    let replaced = |c| if matches!(c, ' '..='~') { c } else { '?' };
    text.chars().map(replaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        write_reply(reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_or_several() {
        let mut out = Vec::new();
        write_lines(220, ["mx.example ESMTP"], &mut out);
        write_lines(250, ["mx.example", "PIPELINING", "SIZE 1000"], &mut out);
        write_lines(354, [], &mut out);
        let expected = "220 mx.example ESMTP\r\n250-mx.example\r\n250-PIPELINING\r\n\
                        250 SIZE 1000\r\n354 \r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn replies_carry_their_enhanced_code() {
        let reply = Reply::new(550, (5, 1, 1), "No such user here");
        assert_eq!(written(&reply), "550 5.1.1 No such user here\r\n");
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        let reply = Reply {
            code: 250,
            enhanced: (2, 0, 0),
            text: "a\r\n221 \u{e4}\0".into(),
        };
        assert_eq!(written(&reply), "250 2.0.0 a??221 ??\r\n");
    }

    #[test]
    fn long_texts_go_on_several_lines() {
        let words = written(&Reply::new(450, (4, 7, 1), "word ".repeat(300)));
        assert!(words.lines().count() > 3);
        assert!(words.lines().all(|line| line.len() <= 510));
        assert!(words.starts_with("450-4.7.1 word"));
        assert_eq!(words.matches("\r\n450 4.7.1 word").count(), 1);
        let no_blank = written(&Reply::new(450, (4, 7, 1), "x".repeat(1000)));
        assert_eq!(no_blank.matches('x').count(), 1000);
        assert_eq!(no_blank.lines().count(), 3);
    }
}
