//! An LMTP server (RFC 2033) on a unix socket, for Postfix's lmtp(8).
//!
//! A message is held in memory until its [`Transactions`] has found the next one for it; the client
//! gets no reply before that. Room for it is asked for at `DATA`: who finds none is told to come
//! again before the first octet of the message.

mod server;
mod session;

use bytes::Bytes;
use chatmail::Reply;

use crate::budget::{Exhausted, Reservation};
use crate::envelope::{Envelope, Recipient};

pub use server::serve;

/// What a server does with mail.
pub trait Transactions: Send + Sync + 'static {
    /// Judges a recipient, at `RCPT`. The envelope has those that were accepted before.
    ///
    /// # Errors
    /// The reply for the recipient, 4yz or 5yz. The others are not concerned.
    fn recipient(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
    ) -> impl Future<Output = Result<(), Reply>> + Send;

    /// Room for so many octets of a message that is about to come. Asked again, for more, when it
    /// turns out to be larger than the client said: `held` is what it was given before. May wait, at
    /// most a minute.
    ///
    /// # Errors
    /// There is none: the client is told 452.
    fn room(
        &self,
        envelope: &Envelope,
        held: u64,
        octets: u64,
    ) -> impl Future<Output = Result<Vec<Reservation>, Exhausted>> + Send;

    /// Finds the next one for a message: a reply for each recipient of the envelope, in their order. A
    /// 2yz says that somebody else has it now.
    ///
    /// Runs to its end even when the client goes away, so it must end by itself, well within the ten
    /// minutes that Postfix waits.
    fn message(
        &self,
        envelope: Envelope,
        message: HeldMessage,
    ) -> impl Future<Output = Vec<Reply>> + Send;
}

/// A message in memory, with the room that it takes.
#[derive(Debug)]
pub struct HeldMessage {
    octets: Bytes,
    _room: Vec<Reservation>,
}

impl HeldMessage {
    /// The message: CRLF at each line's end and nowhere else a CR or LF; no NUL. May be empty.
    pub fn octets(&self) -> &Bytes {
        &self.octets
    }
}
