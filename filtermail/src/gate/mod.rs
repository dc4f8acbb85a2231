//! The PGP gate: is this message encrypted?
//!
//! One verdict for every message, whichever door it came through. [`Gate`] is a push parser
//! without I/O: header fields and body chunks go in as they arrive, the [`Verdict`] comes out at
//! the end. It holds no message: tables, one line and some windows of a few KiB each, at worst a
//! session-key packet of 16 KiB, whatever the message size, and it panics on no input.
//!
//! A message is *encrypted* when it is OpenPGP/MIME (RFC 3156) to the last octet: two parts and
//! nothing around them (`mime`), one armored block in the second (`armor`), in it session keys
//! and one encrypted data packet and nothing else (`packets`, `session_key`,
//! `seipd`), whose
//! content looks random ([`entropy`]). Everything is accepted in one form only, the one that all
//! parsers read alike, since a mail program must not find text where the gate saw none. A
//! *securejoin request* is the one cleartext message that Delta Chat needs to make contact.
//!
//! The layers from the outside in: `reader` → `header`, `mime` → `armor` → `base64`, `crc24` →
//! `packets` → `session_key`, `seipd` → `entropy`. Each names the [`Rule`] that failed.

mod armor;
mod base64;
mod content_type;
mod crc24;
mod display_name;
pub mod entropy;
mod from;
mod header;
mod lines;
mod mime;
mod packets;
mod reader;
mod rule;
mod seipd;
mod session_key;

use chatmail::Address;

pub(crate) use content_type::ContentType;
pub use from::parse_from;
pub(crate) use header::Once;
pub(crate) use lines::LineCheck;
pub use reader::{MessageReader, Sink};
pub use rule::Rule;

use header::{Kind, MessageHeaders};
use mime::Body;

/// Which way a message goes. Incoming mail is by other people's software: it may have a short
/// preamble, armor headers and a marker packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a user of this relay.
    Outgoing,
    /// From another relay.
    Incoming,
}

/// Whether the rest of a body matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It does.
    More,
    /// The message is refused already; more body cannot change the verdict.
    Decided,
}

/// What a message is, and who it says it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the message is.
    pub class: Class,
    /// The one mailbox of the one From header, or why there is none.
    pub from: Result<Address, Rule>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// OpenPGP/MIME, encrypted.
    Encrypted,
    /// A `vc-request` or `vg-request` of the securejoin protocol.
    SecurejoinRequest,
    /// Anything else, with the first rule that it fails.
    Cleartext(Rule),
}

/// Judges one message, fed by a milter or by a [`MessageReader`].
#[derive(Debug)]
pub struct Gate {
    direction: Direction,
    headers: MessageHeaders,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Headers,
    Body(Box<Body>),
    Refused(Rule),
}

impl Gate {
    /// Starts with an empty message.
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            headers: MessageHeaders::default(),
            stage: Stage::Headers,
        }
    }

    /// Takes a header field as a milter hands it: the name without its colon; the value as it
    /// stands behind the colon, with LF or CRLF where it is folded.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        if let Err(rule) = self.headers.field(name, value) {
            self.refuse(rule);
        }
    }

    /// The header section is complete.
    pub fn end_of_headers(&mut self) {
        if !matches!(self.stage, Stage::Headers) {
            return;
        }
        self.stage = match self.headers.shape() {
            Ok(shape) => Stage::Body(Box::new(Body::new(self.direction, shape))),
            Err(rule) => Stage::Refused(rule),
        };
    }

    /// Takes the next octets of the body, with CRLF line ends.
    pub fn body(&mut self, chunk: &[u8]) -> Progress {
        self.end_of_headers();
        if let Stage::Body(body) = &mut self.stage
            && let Err(rule) = body.push(chunk)
        {
            self.stage = Stage::Refused(rule);
        }
        match self.stage {
            Stage::Refused(_) => Progress::Decided,
            _ => Progress::More,
        }
    }

    /// The one mailbox of the one From header, or why there is none. What it is after the header
    /// section it stays.
    ///
    /// # Errors
    /// The rule that the From header, or its absence, fails.
    pub fn author(&self) -> Result<Address, Rule> {
        self.headers.from()
    }

    /// The message is complete.
    pub fn finish(mut self) -> Verdict {
        self.end_of_headers();
        let from = self.author();
        let class = match self.stage {
            Stage::Body(body) => {
                let kind = body.kind();
                match (body.finish(), kind) {
                    (Ok(()), Kind::Encrypted) => Class::Encrypted,
                    (Ok(()), Kind::Securejoin(_)) => Class::SecurejoinRequest,
                    (Err(rule), _) => Class::Cleartext(rule),
                }
            }
            Stage::Refused(rule) => Class::Cleartext(rule),
            // `end_of_headers` leaves this stage; if it did not, nothing has been proven.
            Stage::Headers => Class::Cleartext(Rule::ContentTypeMissing),
        };
        Verdict { class, from }
    }

    /// The message fails `rule`, unless it failed another before.
    fn refuse(&mut self, rule: Rule) {
        if !matches!(self.stage, Stage::Refused(_)) {
            self.stage = Stage::Refused(rule);
        }
    }
}
