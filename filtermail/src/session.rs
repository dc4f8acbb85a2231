//! What a milter decides. No I/O and no wire format.
//!
//! A [`Session`] lives as long as Postfix's connection to us, which is one SMTP connection. It is
//! told first of the client ([`connected`](Session::connected)), then of each message in the order
//! of SMTP: [`mail`](Session::mail), [`recipient`](Session::recipient) for each recipient,
//! [`header`](Session::header) for each header field,
//! [`end_of_headers`](Session::end_of_headers), [`body`](Session::body) for each chunk,
//! [`end_of_message`](Session::end_of_message); or [`abort`](Session::abort) at any point.
//! Only two of these have an answer: a milter that lets Postfix wait for every stage costs it a
//! round trip each time, and what is wrong with a message can as well be said at its end.
//!
//! These two may wait for something, such as a lookup, and must end by themselves in reasonable
//! time: Postfix gives up after 30 s at `RCPT` (`milter_command_timeout`) and after 300 s at the
//! end of a message (`milter_content_timeout`). When Postfix goes away meanwhile, the future and
//! the session are dropped.

use std::net::IpAddr;

use chatmail::Reply;

/// One SMTP connection as the milter sees it.
pub trait Session: Send + 'static {
    /// Who is connected to Postfix; `None` when that is no IP address. Told before the first
    /// message, and not at all by an MTA that does not know.
    fn connected(&mut self, client: Option<IpAddr>);

    /// A message begins. `sender` is the reverse path without its angle brackets, empty for
    /// `<>`; `login` is Postfix's `{auth_authen}`, absent when the client did not log in.
    fn mail(&mut self, sender: &[u8], login: Option<&[u8]>);

    /// One more recipient, without angle brackets. A refusal concerns this recipient.
    fn recipient(&mut self, recipient: &[u8]) -> impl Future<Output = Answer> + Send;

    /// One header field, its value with the white space that follows the colon; continuation
    /// lines are separated by LF.
    fn header(&mut self, name: &[u8], value: &[u8]);

    /// The header section is over.
    fn end_of_headers(&mut self);

    /// A piece of the body, lines ending in CRLF.
    fn body(&mut self, chunk: &[u8]);

    /// The message is complete; `queue_id` is for the log.
    fn end_of_message(&mut self, queue_id: &str) -> impl Future<Output = Outcome> + Send;

    /// The message is given up by the client or by Postfix.
    fn abort(&mut self);
}

/// The answer to a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The recipient is fine.
    Continue,
    /// The recipient gets this 4yz or 5yz reply.
    Refuse(Reply),
}

/// The answer to a complete message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message passes with these changes, made in this order.
    Accept(Vec<Edit>),
    /// The client gets this 4yz or 5yz reply after its final dot.
    Refuse(Reply),
}

/// One change to the header section or the envelope. Values have no white space in front and LF
/// before continuation lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Gives the nth field of this name, counted from 1, a new value.
    Replace {
        /// The name of the field, in any case.
        name: String,
        /// Which of the fields of that name.
        occurrence: u32,
        /// Its new value.
        value: String,
    },
    /// Removes the nth field of this name, counted from 1.
    Delete {
        /// The name of the field, in any case.
        name: String,
        /// Which of the fields of that name.
        occurrence: u32,
    },
    /// Puts a new field before all others.
    Insert {
        /// The name of the field.
        name: String,
        /// Its value.
        value: String,
    },
    /// Gives the message another envelope sender: an address without angle brackets, empty for
    /// `<>`.
    Sender(String),
}

/// The reply to steps that come without [`mail`](Session::mail) before them. Postfix never does this;
/// whoever does gets an answer all the same.
pub fn out_of_order() -> Reply {
    Reply::new(503, (5, 5, 1), "MAIL comes first")
}
