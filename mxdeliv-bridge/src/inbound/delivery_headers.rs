//! Header fields that no mailbox keeps.
//!
//! Mail that comes over SMTP loses them in Postfix: some in cleanup(8) (`message_drop_headers`), some on
//! the way to Dovecot (`lmtp_header_checks`, the file `delivery_headers`). It must not be told from a
//! message by which way it came.

/// What is removed, in lower case.
const REMOVED: [&str; 10] = [
    // The path that it took, and what has been found out on the way.
    "received",
    "dkim-signature",
    "authentication-results",
    // What it was written with, and where.
    "x-originating-ip",
    "x-mailer",
    "user-agent",
    // What Postfix drops from all mail.
    "bcc",
    "content-length",
    "resent-bcc",
    "return-path",
];

/// Removes them from a message with CRLF at its line ends.
pub(super) fn remove(message: &mut Vec<u8>) {
    let (mut read, mut written) = (0, 0);
    let mut keep = true;
    while let Some(line) = message.get(read..).map(first_line) {
        if line.is_empty() || line == b"\r\n" {
            break;
        }
        // A continuation goes with its field.
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            keep = !is_removed(line);
        }
        let end = read + line.len();
        if keep {
            message.copy_within(read..end, written);
            written += end - read;
        }
        read = end;
    }
    message.drain(written..read);
}

/// With its line end.
fn first_line(text: &[u8]) -> &[u8] {
    let end = text.windows(2).position(|window| window == b"\r\n");
    end.and_then(|end| text.get(..end + 2)).unwrap_or(text)
}

fn is_removed(line: &[u8]) -> bool {
    let name = line.split(|&octet| octet == b':').next();
    name.is_some_and(|name| {
        let is = |removed: &&str| name.eq_ignore_ascii_case(removed.as_bytes());
        REMOVED.iter().any(is)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", "")]
    #[case("\r\nReceived: in the body\r\n", "\r\nReceived: in the body\r\n")]
    #[case("A: b\r\n\r\nx", "A: b\r\n\r\nx")]
    #[case("RECEIVED: x\r\n\ty\r\nA: b\r\n c\r\n\r\nx", "A: b\r\n c\r\n\r\nx")]
    #[case("A: b\r\nUser-Agent: x\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n")]
    #[case("Bcc: x\r\n y", "")]
    #[case("X-Mailer: x\r\n", "")]
    #[case("X-Mailer-2: x\r\n", "X-Mailer-2: x\r\n")]
    #[case(
        "dkim-signature: 1\r\nDKIM-Signature: 2\r\nFrom: a\r\nReturn-Path: <>\r\n\r\n",
        "From: a\r\n\r\n"
    )]
    fn messages(#[case] before: &str, #[case] after: &str) {
        let mut message = before.as_bytes().to_vec();
        remove(&mut message);
        assert_eq!(String::from_utf8(message).unwrap(), after);
    }
}
