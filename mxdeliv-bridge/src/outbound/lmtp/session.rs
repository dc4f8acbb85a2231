//! What an LMTP server says to what a client says, without I/O.
//!
//! The session takes octets, writes replies and now and then asks its owner something. Nothing more is
//! taken until the owner has answered, so commands that came ahead wait their turn.

use chatmail::Reply;
use chatmail::smtp::{
    Command, DataDecoder, DataFault, DataProgress, Extensions, Lines, MailParameters, Path,
    Protocol, RecipientParameters, write_lines, write_reply,
};

use crate::envelope::{Envelope, Recipient};

/// Most recipients of a message (RFC 5321 section 4.5.3.1.8 has 100 as the least).
const RECIPIENTS_MAX: usize = 1000;

/// After so many bad commands the connection is closed.
const ERRORS_MAX: usize = 20;

/// The name that the server goes by. Postfix takes a server that has Postfix's own name for a loop.
const NAME: &str = "localhost";

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Session {
    size_max: u64,
    lines: Lines,
    greeted: bool,
    envelope: Option<Envelope>,
    data: Option<Data>,
    errors: usize,
    closed: bool,
}

/// What a session needs to know before it goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Whether this recipient is accepted: [`Session::judged`].
    Recipient(Recipient),
    /// Room for so many octets beside those there is room for: [`Session::room_found`],
    /// [`Session::no_room`].
    Room { held: u64, octets: u64 },
    /// What becomes of this message: [`Session::message_ended`].
    Message(Envelope, Vec<u8>),
}

/// A message that is coming.
#[derive(Debug)]
struct Data {
    decoder: DataDecoder,
    message: Vec<u8>,
    /// Octets that there is room for.
    room: u64,
    /// Whether there was no room for the rest: what comes is not kept.
    dropped: bool,
}

impl Session {
    /// A session that takes messages of at most `size_max` octets, and its greeting.
    pub(super) fn new(size_max: u64, out: &mut Vec<u8>) -> Self {
        write_lines(220, [format!("{NAME} LMTP").as_str()], out);
        Self {
            size_max,
            lines: Lines::new(Lines::COMMAND_MAX),
            greeted: false,
            envelope: None,
            data: None,
            errors: 0,
            closed: false,
        }
    }

    /// Takes octets from the front of `input` up to a request or up to the end of the session.
    pub(super) fn take(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Request> {
        while !self.closed && !input.is_empty() {
            let request = match self.data.take() {
                Some(data) => self.message(data, input, out),
                None => {
                    let line = self.lines.take(input)?;
                    match line.map(|line| Command::parse(Protocol::Lmtp, &line)) {
                        Ok(Ok(command)) => self.command(command, out),
                        Ok(Err(error)) => self.error(&error.reply(), out),
                        Err(fault) => {
                            self.error(&Reply::new(500, (5, 5, 2), fault.to_string()), out)
                        }
                    }
                }
            };
            if request.is_some() {
                return request;
            }
        }
        None
    }

    /// The transaction so far.
    pub(super) fn envelope(&self) -> Option<&Envelope> {
        self.envelope.as_ref()
    }

    /// Whether there is no transaction, nor the beginning of a command.
    pub(super) fn is_idle(&self) -> bool {
        self.envelope.is_none() && self.lines.at_start()
    }

    /// Whether a message is coming.
    pub(super) fn is_in_message(&self) -> bool {
        self.data.is_some()
    }

    /// Whether the server has said its last word.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Answers [`Request::Recipient`].
    pub(super) fn judged(
        &mut self,
        recipient: Recipient,
        verdict: Result<(), Reply>,
        out: &mut Vec<u8>,
    ) {
        match (verdict, &mut self.envelope) {
            (Ok(()), Some(envelope)) => {
                envelope.recipients.push(recipient);
                write_reply(&Reply::new(250, (2, 1, 5), "Recipient ok"), out);
            }
            (Ok(()), None) => write_reply(&no_transaction(), out),
            (Err(refusal), _) => write_reply(&refusal, out),
        }
    }

    /// Answers [`Request::Room`].
    pub(super) fn room_found(&mut self, octets: u64, out: &mut Vec<u8>) {
        match &mut self.data {
            Some(data) => data.room += octets,
            None => {
                self.data = Some(Data {
                    decoder: DataDecoder::new(self.size_max),
                    message: Vec::new(),
                    room: octets,
                    dropped: false,
                });
                write_lines(354, ["Go ahead"], out);
            }
        }
    }

    /// Answers [`Request::Room`].
    pub(super) fn no_room(&mut self, out: &mut Vec<u8>) {
        match &mut self.data {
            Some(data) => {
                data.dropped = true;
                data.message = Vec::new();
            }
            None => {
                self.envelope = None;
                write_reply(&out_of_memory(), out);
            }
        }
    }

    /// Answers [`Request::Message`], which had `count` recipients, with a reply for each.
    pub(super) fn message_ended(&mut self, count: usize, replies: &[Reply], out: &mut Vec<u8>) {
        let missing = Reply::new(451, (4, 3, 0), "Nobody has answered for this recipient");
        let replies = replies.iter().chain(std::iter::repeat(&missing));
        replies
            .take(count)
            .for_each(|reply| write_reply(reply, out));
    }

    /// Ends the session from the server's side (RFC 5321 section 3.8).
    pub(super) fn close(&mut self, enhanced: (u8, u16, u16), why: &'static str, out: &mut Vec<u8>) {
        self.closed = true;
        write_reply(&Reply::new(421, enhanced, why), out);
    }

    fn command(&mut self, command: Command, out: &mut Vec<u8>) -> Option<Request> {
        match command {
            Command::Hello(..) => {
                self.greeted = true;
                self.envelope = None;
                self.offer(out);
            }
            Command::Mail(sender, parameters) => return self.mail(sender, parameters, out),
            Command::Recipient(path, parameters) => return self.recipient(path, parameters, out),
            Command::Data => return self.data(out),
            Command::Reset => {
                self.envelope = None;
                write_reply(&Reply::new(250, (2, 0, 0), "Ok"), out);
            }
            Command::Noop => write_reply(&Reply::new(250, (2, 0, 0), "Ok"), out),
            Command::Quit => {
                self.closed = true;
                write_reply(&Reply::new(221, (2, 0, 0), "Bye"), out);
            }
        }
        None
    }

    fn offer(&self, out: &mut Vec<u8>) {
        let offered = Extensions {
            pipelining: true,
            size: Some(self.size_max),
            eight_bit_mime: true,
            smtputf8: true,
            dsn: true,
            enhanced_status_codes: true,
            starttls: false,
        };
        let lines = offered.to_lines();
        let lines = lines.iter().map(String::as_str);
        write_lines(250, std::iter::once(NAME).chain(lines), out);
    }

    fn mail(
        &mut self,
        sender: Path,
        parameters: MailParameters,
        out: &mut Vec<u8>,
    ) -> Option<Request> {
        if !self.greeted {
            return self.error(&Reply::new(503, (5, 5, 1), "Say LHLO first"), out);
        }
        if self.envelope.is_some() {
            let nested = Reply::new(503, (5, 5, 1), "There is a transaction already");
            return self.error(&nested, out);
        }
        if parameters.size.is_some_and(|size| size > self.size_max) {
            write_reply(&too_large(), out);
            return None;
        }
        self.envelope = Some(Envelope {
            sender,
            parameters,
            recipients: Vec::new(),
        });
        write_reply(&Reply::new(250, (2, 1, 0), "Sender ok"), out);
        None
    }

    fn recipient(
        &mut self,
        path: Path,
        parameters: RecipientParameters,
        out: &mut Vec<u8>,
    ) -> Option<Request> {
        let Some(envelope) = &self.envelope else {
            return self.error(&no_transaction(), out);
        };
        if envelope.recipients.len() == RECIPIENTS_MAX {
            write_reply(&Reply::new(452, (4, 5, 3), "Too many recipients"), out);
            return None;
        }
        if !envelope.parameters.smtputf8 && !path.is_ascii() {
            let text = "SMTPUTF8 is needed for this address";
            return self.error(&Reply::new(553, (5, 6, 7), text), out);
        }
        Some(Request::Recipient(Recipient { path, parameters }))
    }

    fn data(&mut self, out: &mut Vec<u8>) -> Option<Request> {
        let Some(envelope) = &self.envelope else {
            return self.error(&no_transaction(), out);
        };
        if envelope.recipients.is_empty() {
            // RFC 2033 section 4.2.
            return self.error(&Reply::new(503, (5, 5, 1), "No valid recipients"), out);
        }
        let expected = match envelope.parameters.size {
            // The sizes that clients tell come near the truth (RFC 1870 section 5).
            Some(size @ 1..) => size.saturating_add(size / 32 + 4096).min(self.size_max),
            Some(0) | None => self.size_max,
        };
        Some(Request::Room {
            held: 0,
            octets: expected,
        })
    }

    /// Takes octets of a message.
    fn message(&mut self, mut data: Data, input: &mut &[u8], out: &mut Vec<u8>) -> Option<Request> {
        let left = data.room.saturating_sub(data.message.len() as u64);
        let limited = data.room < self.size_max && !data.dropped;
        if limited && left == 0 {
            let held = data.room;
            let octets = held.max(4096).min(self.size_max - held);
            self.data = Some(data);
            return Some(Request::Room { held, octets });
        }
        // A message has no more octets than what is said on the wire.
        let fits = usize::try_from(left).unwrap_or(usize::MAX);
        let length = if limited {
            input.len().min(fits)
        } else {
            input.len()
        };
        let (now, _) = input.split_at(length);
        let mut rest = now;
        let progress = data.decoder.take(&mut rest, &mut data.message);
        *input = input.split_at(length - rest.len()).1;
        if data.dropped || data.decoder.fault().is_some() {
            data.message = Vec::new();
        }
        match progress {
            DataProgress::More => {
                self.data = Some(data);
                None
            }
            DataProgress::End(end) => {
                let envelope = self.envelope.take()?;
                let refusal = match end {
                    Err(fault) => refusal(fault),
                    Ok(()) if data.dropped => out_of_memory(),
                    Ok(()) => return Some(Request::Message(envelope, data.message)),
                };
                let replies = vec![refusal; envelope.recipients.len()];
                self.message_ended(replies.len(), &replies, out);
                None
            }
        }
    }

    fn error(&mut self, reply: &Reply, out: &mut Vec<u8>) -> Option<Request> {
        write_reply(reply, out);
        self.errors += 1;
        if self.errors == ERRORS_MAX {
            self.close((4, 7, 0), "Too many errors", out);
        }
        None
    }
}

fn no_transaction() -> Reply {
    Reply::new(503, (5, 5, 1), "There is no transaction")
}

fn too_large() -> Reply {
    Reply::new(552, (5, 3, 4), "Message too large")
}

fn out_of_memory() -> Reply {
    Reply::new(452, (4, 3, 1), "No memory for this message now")
}

fn refusal(fault: DataFault) -> Reply {
    match fault {
        DataFault::TooLarge => too_large(),
        DataFault::BareLineEnding | DataFault::Nul => {
            Reply::new(550, (5, 6, 0), format!("Message with {fault}"))
        }
    }
}

#[cfg(test)]
mod tests;
