//! Whole messages that no MTA has looked at.

use super::{Message, Passed, Refusal};
use crate::gate::{LineCheck, MessageReader, Progress, Rule, Sink};

/// The longest value of a header field that is kept whole: more than a signature check keeps.
const VALUE_MAX: usize = 256 << 10;

/// Feeds a [`Message`] from octets as they go over the wire.
///
/// Postfix mends what it takes: lines that do not end in CRLF, names of fields with a blank behind them.
/// Nobody has done so here, so whatever it would mend is refused, as are NUL and lines over 998 octets:
/// programs differ in what they make of them.
#[derive(Debug)]
pub struct WireMessage(MessageReader<Strict>);

/// Lets nothing malformed through.
#[derive(Debug)]
struct Strict {
    message: Message,
    lines: LineCheck,
}

impl WireMessage {
    /// The octets of a message that knows its recipients.
    pub fn new(message: Message) -> Self {
        Self(MessageReader::feeding(Strict {
            message,
            lines: LineCheck::default(),
        }))
    }

    /// Takes the next octets. [`Progress::Decided`]: the message cannot pass any more, and
    /// [`finish`](Self::finish) tells why. Must be called within a tokio runtime.
    pub fn push(&mut self, chunk: &[u8]) -> Progress {
        self.0.push(chunk)
    }

    /// The message is complete, or cannot pass. Waits for keys, for doveauth and for DNS.
    ///
    /// # Errors
    /// Why it does not pass.
    pub async fn finish(self) -> Result<Passed, Refusal> {
        let Strict { mut message, lines } = self.0.complete();
        if let Err(rule) = lines.finish() {
            message.refuse(rule);
        }
        message.finish().await
    }
}

impl Sink for Strict {
    const VALUE_MAX: usize = VALUE_MAX;

    fn header(&mut self, name: &[u8], value: &[u8]) {
        // The reader has seen to the rest.
        if !name.iter().all(u8::is_ascii_graphic) {
            self.message.refuse(Rule::HeaderSyntax);
        }
        self.message.header(name, value);
    }

    fn end_of_headers(&mut self) {
        self.message.end_of_headers();
    }

    fn body(&mut self, chunk: &[u8]) -> Progress {
        if let Err(rule) = self.lines.push(chunk) {
            self.message.refuse(rule);
        }
        self.message.body(chunk)
    }

    fn refuse(&mut self, rule: Rule) {
        self.message.refuse(rule);
    }
}
