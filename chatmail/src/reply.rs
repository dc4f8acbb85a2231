//! SMTP replies as values (RFC 5321 section 4.2, RFC 3463 for the enhanced code).

use std::borrow::Cow;
use std::fmt;

/// One SMTP or LMTP reply: `523 5.7.1 Encryption Needed: …`.
///
/// The text is one line; [`Reply::new`] replaces what would break out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit code, 200 to 599.
    pub code: u16,
    /// The enhanced status code, for example `(5, 7, 1)`.
    pub enhanced: (u8, u16, u16),
    /// What a person reads; one line, printable ASCII.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// Makes a reply. Control and non-ASCII characters in `text`, which may hold what a client
    /// sent, become `?`, so that they cannot start a line of their own.
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        let printable = |c: char| matches!(c, ' '..='~');
        let text = if text.chars().all(printable) {
            text
        } else {
            text.chars()
                .map(|c| if printable(c) { c } else { '?' })
                .collect::<String>()
                .into()
        };
        Self {
            code,
            enhanced,
            text,
        }
    }

    /// Whether the client may try the same again later (4yz).
    pub fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// The enhanced status code as text: `5.7.1`.
    pub fn enhanced_text(&self) -> String {
        let (class, subject, detail) = self.enhanced;
        format!("{class}.{subject}.{detail}")
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.code, self.enhanced_text(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_stays_on_its_line() {
        let reply = Reply::new(550, (5, 7, 1), "bad <a\r\n250 ok\u{e4}>");
        assert_eq!(reply.to_string(), "550 5.7.1 bad <a??250 ok?>");
        assert!(!reply.is_temporary());
    }
}
