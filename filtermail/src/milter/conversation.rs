//! One connection of the MTA: commands in, answers out, a [`Session`] between them. No I/O.

use chatmail::Reply;

use super::wire::{Event, Malformed, Packets, command, take_text, write};
use crate::session::{Answer, Edit, Outcome, Session};

/// The version of the protocol.
const VERSION: u32 = 6;

/// Change header fields (`SMFIF_CHGHDRS`): all that is done to messages.
const ACTIONS: u32 = 0x10;

/// What the MTA does not send, and what it sends and does not wait for, in the names of `mfdef.h`.
const PROTOCOL: u32 = no_step::CONNECT
    | no_step::HELO
    | no_step::UNKNOWN
    | no_step::DATA
    | no_reply::MAIL
    | no_reply::HEADER
    | no_reply::END_OF_HEADERS
    | no_reply::BODY
    | HEADER_LEADING_SPACE;

/// `SMFIP_NO…`
mod no_step {
    pub(super) const CONNECT: u32 = 0x1;
    pub(super) const HELO: u32 = 0x2;
    pub(super) const UNKNOWN: u32 = 0x100;
    pub(super) const DATA: u32 = 0x200;
}

/// `SMFIP_NR_…`
mod no_reply {
    pub(super) const HEADER: u32 = 0x80;
    pub(super) const MAIL: u32 = 0x4000;
    pub(super) const END_OF_HEADERS: u32 = 0x4_0000;
    pub(super) const BODY: u32 = 0x8_0000;
}

/// `SMFIP_HDR_LEADSPC`: values come and go with the white space that follows the colon.
const HEADER_LEADING_SPACE: u32 = 0x10_0000;

/// The SASL login, in the MTA's notation.
const AUTH_AUTHEN: &[u8] = b"{auth_authen}";

/// The queue id, in the MTA's notation.
const QUEUE_ID: &[u8] = b"i";

/// The macros we ask for at each stage, by `mfdef.h`'s number of the stage: connect, helo, mail,
/// recipient, data, end of message, end of headers. What is not asked for need not be made.
const MACROS: [(u32, &[u8]); 7] = [
    (0, b""),
    (1, b""),
    (2, AUTH_AUTHEN),
    (3, b""),
    (4, b""),
    (5, QUEUE_ID),
    (6, b""),
];

/// The most octets of a reply's text before `%` is doubled; an SMTP reply line has 512.
const TEXT_MAX: usize = 480;

/// A connection's state.
pub(super) struct Conversation<S> {
    packets: Packets,
    state: State<S>,
}

/// What the packets change.
struct State<S> {
    session: S,
    negotiated: bool,
    /// Macros that came since the last command.
    login: Option<Vec<u8>>,
    queue_id: Option<Vec<u8>>,
    message: bool,
    closed: bool,
}

impl<S: Session> Conversation<S> {
    /// A connection that has said nothing yet.
    pub(super) fn new(session: S) -> Self {
        Self {
            packets: Packets::default(),
            state: State {
                session,
                negotiated: false,
                login: None,
                queue_id: None,
                message: false,
                closed: false,
            },
        }
    }

    /// Takes what the MTA says and appends what it is to be answered.
    ///
    /// # Errors
    /// See [`Malformed`]. What was appended before may still be sent; then the connection is to be
    /// closed.
    pub(super) fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let state = &mut self.state;
        self.packets.feed(input, |event| state.event(event, out))
    }

    /// Whether a message has begun and not ended.
    pub(super) fn message_under_way(&self) -> bool {
        self.state.message
    }

    /// Whether the MTA has said goodbye.
    pub(super) fn is_closed(&self) -> bool {
        self.state.closed
    }

    /// Gives back memory that a silent connection does not need.
    pub(super) fn rest(&mut self) {
        self.packets.shrink();
    }
}

impl<S: Session> State<S> {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match event {
            Event::Packet(command::NEGOTIATE, payload) => self.negotiate(payload, out),
            _ if !self.negotiated => Err(Malformed::Negotiation),
            Event::Packet(letter, payload) => self.command(letter, payload, out),
            Event::Body(piece) => {
                self.session.body(piece);
                Ok(())
            }
            Event::EndOfMessage => {
                self.end_of_message(out);
                Ok(())
            }
        }
    }

    fn negotiate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.negotiated {
            return Err(Malformed::Negotiation);
        }
        let malformed = Malformed::Payload(command::NEGOTIATE);
        let (version, rest) = payload.split_first_chunk().ok_or(malformed)?;
        let (actions, rest) = rest.split_first_chunk().ok_or(malformed)?;
        let (protocol, _) = rest.split_first_chunk().ok_or(malformed)?;
        let [version, actions, protocol] =
            [version, actions, protocol].map(|w| u32::from_be_bytes(*w));
        if version < VERSION || actions & ACTIONS != ACTIONS || protocol & PROTOCOL != PROTOCOL {
            return Err(Malformed::Offer);
        }
        self.negotiated = true;
        let mut answer = [VERSION, ACTIONS, PROTOCOL].map(u32::to_be_bytes).concat();
        for (stage, names) in MACROS {
            answer.extend(stage.to_be_bytes());
            answer.extend_from_slice(names);
            answer.push(0);
        }
        write(out, command::NEGOTIATE, &[&answer]);
        Ok(())
    }

    fn command(&mut self, letter: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let malformed = Malformed::Payload(letter);
        let mut rest = payload;
        match letter {
            command::MACROS => return self.macros(payload),
            command::MAIL => {
                let sender = take_text(&mut rest).ok_or(malformed)?;
                let login = self.login.take().filter(|login| !login.is_empty());
                self.message = true;
                self.session
                    .mail(without_brackets(sender), login.as_deref());
            }
            command::RECIPIENT => {
                let recipient = take_text(&mut rest).ok_or(malformed)?;
                match self.session.recipient(without_brackets(recipient)) {
                    Answer::Continue => write(out, b'c', &[]),
                    Answer::Refuse(reply) => refuse(out, &reply),
                }
            }
            command::HEADER => {
                let name = take_text(&mut rest).ok_or(malformed)?;
                let value = take_text(&mut rest).ok_or(malformed)?;
                self.session.header(name, value);
            }
            command::END_OF_HEADERS => self.session.end_of_headers(),
            command::ABORT => self.abort(),
            command::QUIT => self.closed = true,
            command::QUIT_NEW_CONNECTION => {
                self.abort();
                self.negotiated = false;
            }
            other => return Err(Malformed::Command(other)),
        }
        Ok(())
    }

    /// `D`, the letter of the command that the macros are for, then names and values.
    fn macros(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let Some((_, mut rest)) = payload.split_first() else {
            return Err(Malformed::Payload(command::MACROS));
        };
        while !rest.is_empty() {
            let pair = take_text(&mut rest).zip(take_text(&mut rest));
            let (name, value) = pair.ok_or(Malformed::Payload(command::MACROS))?;
            match name {
                AUTH_AUTHEN => self.login = Some(value.to_vec()),
                QUEUE_ID => self.queue_id = Some(value.to_vec()),
                _ => {}
            }
        }
        Ok(())
    }

    fn end_of_message(&mut self, out: &mut Vec<u8>) {
        let queue_id = self.queue_id.take().unwrap_or_default();
        let outcome = self
            .session
            .end_of_message(&String::from_utf8_lossy(&queue_id));
        self.message = false;
        match outcome {
            Outcome::Refuse(reply) => refuse(out, &reply),
            Outcome::Accept(edits) => {
                for edit in edits {
                    change(out, &edit);
                }
                write(out, b'c', &[]);
            }
        }
    }

    fn abort(&mut self) {
        self.session.abort();
        self.message = false;
    }
}

/// The address of `MAIL FROM:<address>`.
fn without_brackets(text: &[u8]) -> &[u8] {
    let inner = text
        .strip_prefix(b"<")
        .and_then(|rest| rest.strip_suffix(b">"));
    inner.unwrap_or(text)
}

/// `m`, which field of its name, the name and the new value; an empty value deletes.
fn change(out: &mut Vec<u8>, edit: &Edit) {
    let (name, occurrence, value) = match edit {
        Edit::Replace {
            name,
            occurrence,
            value,
        } => (name, occurrence, format!(" {value}")),
        Edit::Delete { name, occurrence } => (name, occurrence, String::new()),
    };
    let occurrence = occurrence.to_be_bytes();
    write(
        out,
        b'm',
        &[&occurrence, name.as_bytes(), b"\0", value.as_bytes(), b"\0"],
    );
}

/// `y` and the whole reply. Postfix reads it as a format, so `%` is doubled.
fn refuse(out: &mut Vec<u8>, reply: &Reply) {
    let end = reply.text.floor_char_boundary(TEXT_MAX);
    let text = reply.text.get(..end).unwrap_or_default().replace('%', "%%");
    let line = format!("{} {} {text}\0", reply.code, reply.enhanced_text());
    write(out, b'y', &[line.as_bytes()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"<a@x.org>", b"a@x.org")]
    #[case(b"<>", b"")]
    #[case(b"a@x.org", b"a@x.org")]
    #[case(b"<a@x.org", b"<a@x.org")]
    fn paths_lose_their_brackets(#[case] text: &[u8], #[case] expected: &[u8]) {
        assert_eq!(without_brackets(text), expected);
    }

    #[test]
    fn replies_are_one_line_and_no_format() {
        let mut out = Vec::new();
        refuse(&mut out, &Reply::new(550, (5, 7, 1), "100% <a\r\nb>"));
        assert_eq!(out, b"\0\0\0\x18y550 5.7.1 100%% <a??b>\0");
    }

    #[test]
    fn changes_carry_the_space_behind_the_colon() {
        let mut out = Vec::new();
        let name = || "Subject".to_owned();
        change(
            &mut out,
            &Edit::Replace {
                name: name(),
                occurrence: 1,
                value: "x".into(),
            },
        );
        assert_eq!(out, b"\0\0\0\x10m\0\0\0\x01Subject\0 x\0");
        out.clear();
        change(
            &mut out,
            &Edit::Delete {
                name: name(),
                occurrence: 2,
            },
        );
        assert_eq!(out, b"\0\0\0\x0em\0\0\0\x02Subject\0\0");
    }
}
