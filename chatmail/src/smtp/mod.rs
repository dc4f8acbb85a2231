//! SMTP (RFC 5321) and LMTP (RFC 2033) as octets: client side and server side, without I/O.
//!
//! Both protocols are lines that end in CRLF: commands from the client, replies with three digits
//! in front from the server. After `DATA` comes the message, its lines as they are but for a dot
//! doubled where it begins a line, and a line with one dot ends it. LMTP differs in two ways: it
//! says `LHLO`, and the server gives one reply for each accepted recipient after the message.
//!
//! Programs that disagree on where a line ends let mail be smuggled inside other mail. Here nothing
//! but CRLF ends a line and nothing but CRLF, dot, CRLF ends a message; a CR or LF alone, or a NUL,
//! is an error, and one that is only reported at the true end, so that what follows it is never
//! taken for a command. The writers cannot be made to write one: what they take was checked when
//! it was made.
//!
//! - [`Lines`]: lines out of octets, for both sides
//! - [`Command`], with [`Path`], [`MailParameters`] and [`RecipientParameters`]: read and written
//! - [`DataDecoder`], [`DataEncoder`]: the message
//! - [`write_reply`], [`write_lines`]; [`ReplyReader`], [`ServerReply`]: replies
//! - [`Extensions`]: what a server offers: SIZE (RFC 1870), PIPELINING (2920), 8BITMIME (6152),
//!   SMTPUTF8 (6531), DSN (3461)
//!
//! What a client sends ahead (PIPELINING) needs nothing special: everything that reads takes octets
//! from the front of a slice and leaves the rest.
//!
//! Not offered: AUTH, STARTTLS, VRFY, BDAT, XCLIENT, source routes (RFC 5321 appendix C).

mod command;
mod data;
mod extensions;
mod lines;
mod parameters;
mod path;
mod reply;
mod reply_reader;
mod xtext;

pub use command::{ClientName, Command, CommandError, Greeting};
pub use data::{DataDecoder, DataEncoder, DataFault, DataProgress};
pub use extensions::Extensions;
pub use lines::{LineFault, Lines};
pub use parameters::{
    BodyType, MailParameters, Notify, OriginalRecipient, ParameterError, RecipientParameters,
    Returned,
};
pub use path::{Path, PathError};
pub use reply::{write_lines, write_reply};
pub use reply_reader::{ReplyError, ReplyReader, ServerReply};
pub use xtext::{AddressKind, Xtext};

/// Which of the two protocols a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP: `EHLO` or `HELO`; one reply to a message.
    Smtp,
    /// LMTP: `LHLO`; after a message a reply for each recipient that was accepted.
    Lmtp,
}
