//! A message as a list of headers and a body.

use bytes::Bytes;
use rand::distr::{Alphanumeric, SampleString as _};

use crate::client::smtp::Content;

/// Headers in order, and a body. Nothing is checked or repaired: a message may be as wrong as a
/// test wants it.
///
/// A clone shares the body, so that thousands of messages which differ in their headers are cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Names and values; a value may hold folds (`\r\n` and a blank).
    pub headers: Vec<(String, String)>,
    /// The body as sent, before dot-stuffing.
    pub body: Bytes,
}

impl Message {
    /// Puts headers and body together.
    pub fn new<'a, V: Into<String>>(
        headers: impl IntoIterator<Item = (&'a str, V)>,
        body: impl Into<Bytes>,
    ) -> Self {
        let headers = headers.into_iter();
        let headers = headers.map(|(name, value)| (name.to_owned(), value.into()));
        Self {
            headers: headers.collect(),
            body: body.into(),
        }
    }

    /// The value of the first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Gives the first header with this name another value, or appends one.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        match self
            .headers
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            Some((_, old)) => *old = value,
            None => self.headers.push((name.to_owned(), value)),
        }
        self
    }

    /// Puts a header before all others, though there may be one with this name.
    pub fn with_first(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(0, (name.to_owned(), value.into()));
        self
    }

    /// Puts a header after all others, though there may be one with this name.
    pub fn with_last(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Takes off every header with this name.
    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Has another body.
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Replaces the first occurrence of `old` in the body.
    ///
    /// # Panics
    /// When the body does not hold `old`: a mutation that mutates nothing is a broken test.
    pub fn replacing(self, old: &str, new: &str) -> Self {
        let at = self
            .body
            .windows(old.len())
            .position(|window| window == old.as_bytes());
        let Some(at) = at else {
            panic!("the body does not hold {old:?}")
        };
        let (before, rest) = self.body.split_at(at);
        let after = rest.split_at(old.len()).1;
        let body = [before, new.as_bytes(), after].concat();
        self.with_body(body)
    }

    /// Has a new `Message-ID` of the same length as before, so that the size stays.
    pub fn renewed(self) -> Self {
        let length = self.header("Message-ID").map_or(ID_LENGTH, |id| {
            id.len().saturating_sub(message_id_of(0).len())
        });
        self.with("Message-ID", message_id_of(length))
    }

    /// The header section with the empty line that ends it.
    pub fn head(&self) -> Vec<u8> {
        let lines = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        (lines.collect::<String>() + "\r\n").into_bytes()
    }

    /// The whole message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The size in bytes, as `MAIL FROM … SIZE=` counts it: lines end in CRLF, no dot is stuffed.
    pub fn size(&self) -> usize {
        self.head().len() + self.body.len()
    }

    /// Ready for `DATA`.
    pub fn content(&self) -> Content {
        Content::new(self.head(), self.body.clone())
    }
}

/// A fresh `Message-ID`, in Delta Chat's style.
pub fn message_id() -> String {
    message_id_of(ID_LENGTH)
}

const ID_LENGTH: usize = 24;

fn message_id_of(length: usize) -> String {
    let id = Alphanumeric.sample_string(&mut rand::rng(), length);
    format!("<{id}@localhost>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::new(
            [("From", "<a@x>"), ("Subject", "s"), ("Message-ID", "<1@x>")],
            "body\r\n",
        )
    }

    #[test]
    fn one_thing_changes_at_a_time() {
        let text = |message: Message| String::from_utf8(message.to_bytes()).unwrap();
        let plain = "From: <a@x>\r\nSubject: s\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n";
        assert_eq!(text(message()), plain);
        assert_eq!(
            text(message().without("subject")),
            plain.replace("Subject: s\r\n", "")
        );
        assert_eq!(
            text(message().with("Subject", "t")),
            plain.replace(": s", ": t")
        );
        assert_eq!(
            text(message().with_first("To", "b")),
            format!("To: b\r\n{plain}")
        );
        let twice = text(message().with_last("From", "<b@x>"));
        assert_eq!(twice, plain.replace("\r\n\r\n", "\r\nFrom: <b@x>\r\n\r\n"));
        assert_eq!(
            text(message().replacing("bo", "da")),
            plain.replace("body", "dady")
        );
        assert_eq!(message().size(), plain.len());
    }

    #[test]
    fn a_renewed_message_has_the_same_size() {
        let first = message().with("Message-ID", message_id());
        let second = first.clone().renewed();
        assert_ne!(first.header("Message-ID"), second.header("Message-ID"));
        assert_eq!(first.size(), second.size());
    }

    #[test]
    #[should_panic(expected = "does not hold")]
    fn a_mutation_without_effect_is_a_broken_test() {
        let _ = message().replacing("nowhere", "");
    }
}
