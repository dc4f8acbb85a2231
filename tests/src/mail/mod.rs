//! Messages as chat clients send them, and what can be wrong with them.
//!
//! - [`encrypted`], [`Encrypted`]: end-to-end encrypted mail, made with real OpenPGP keys
//! - [`cleartext`], [`securejoin_request`]: mail that is not encrypted
//! - [`Message`]: headers and a body, to change one thing at a time for negative tests
//! - [`decrypt`]: what the recipient reads
//!
//! A relay must not care about a message's `Date`, so every message has the same.

use bytes::Bytes;
use chatmail::Address;

mod armor;
mod encrypted;
mod key;
mod message;

pub use encrypted::{Encrypted, Seipd, decrypt, encrypted};
pub use key::{Key, KeyVersion};
pub use message::{Message, message_id};

/// The `Date` of every message made here.
pub const DATE: &str = "Thu, 01 Jan 2026 12:00:00 +0000";

/// A message in clear text, as a classic mail program writes it.
pub fn cleartext(from: &Address, to: &Address, text: &str) -> Message {
    Message::new(
        [
            ("From", format!("<{from}>")),
            ("To", format!("<{to}>")),
            ("Subject", "Not encrypted".to_owned()),
            ("Date", DATE.to_owned()),
            ("Message-ID", message_id()),
            ("MIME-Version", "1.0".to_owned()),
            ("Content-Type", "text/plain; charset=utf-8".to_owned()),
        ],
        format!("{text}\r\n"),
    )
}

/// The first step of a securejoin handshake, the one that older clients send in clear text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Securejoin {
    /// `vc-request`: make contact.
    Contact,
    /// `vg-request`: join a group.
    Group,
}

impl Securejoin {
    /// The step's name on the wire.
    pub fn step(self) -> &'static str {
        match self {
            Self::Contact => "vc-request",
            Self::Group => "vg-request",
        }
    }
}

/// A securejoin request in clear text.
pub fn securejoin_request(from: &Address, to: &Address, kind: Securejoin) -> Message {
    let boundary = "securejoin-boundary";
    let step = kind.step();
    Message::new(
        [
            ("From", format!("<{from}>")),
            ("To", format!("<{to}>")),
            ("Subject", "[...]".to_owned()),
            ("Date", DATE.to_owned()),
            ("Message-ID", message_id()),
            ("Chat-Version", "1.0".to_owned()),
            ("Secure-Join", step.to_owned()),
            (
                "Secure-Join-Invitenumber",
                "i5Qt7uSXtEBvGyBqkvw4rXo2".to_owned(),
            ),
            ("MIME-Version", "1.0".to_owned()),
            (
                "Content-Type",
                format!("multipart/mixed; boundary=\"{boundary}\""),
            ),
        ],
        Bytes::from(format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
             Secure-Join: {step}\r\n\r\n--{boundary}--\r\n"
        )),
    )
}

/// An encrypted message whose `From` header names someone else than `sender`, under whose name it
/// is to be submitted.
///
/// # Errors
/// As [`Encrypted::build`].
pub fn forged_from(sender: &Address, forged: &Address, to: &Address) -> anyhow::Result<Message> {
    let message = Encrypted::new(sender, to).build()?;
    Ok(message.with("From", format!("<{forged}>")))
}
