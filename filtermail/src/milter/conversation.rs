//! One connection of the MTA: commands in, answers out, a [`Session`] between them. No I/O.

use std::net::IpAddr;

use chatmail::Reply;

use super::wire::{Event, Flow, Malformed, Packets, command, take_text, write};
use crate::session::{Answer, Edit, Outcome, Session};

/// The version of the protocol.
const VERSION: u32 = 6;

/// All that is done to messages: new header fields (`SMFIF_ADDHDRS`), changed ones
/// (`SMFIF_CHGHDRS`), another envelope sender (`SMFIF_CHGFROM`).
const ACTIONS: u32 = 0x1 | 0x10 | 0x40;

/// What the MTA does not send, and what it sends and does not wait for, in the names of `mfdef.h`.
const PROTOCOL: u32 = no_step::HELO
    | no_step::UNKNOWN
    | no_step::DATA
    | no_reply::CONNECT
    | no_reply::MAIL
    | no_reply::HEADER
    | no_reply::END_OF_HEADERS
    | no_reply::BODY
    | HEADER_LEADING_SPACE;

/// `SMFIP_NO…`
mod no_step {
    pub(super) const HELO: u32 = 0x2;
    pub(super) const UNKNOWN: u32 = 0x100;
    pub(super) const DATA: u32 = 0x200;
}

/// `SMFIP_NR_…`
mod no_reply {
    pub(super) const HEADER: u32 = 0x80;
    pub(super) const CONNECT: u32 = 0x1000;
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
    question: Option<Question>,
    closed: bool,
}

/// What the MTA waits for.
enum Question {
    Recipient(Vec<u8>),
    EndOfMessage,
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
                question: None,
                closed: false,
            },
        }
    }

    /// Takes what the MTA says, up to where it [asks](Self::is_asked), and appends what it is to
    /// be answered before. Returns what is left, which is to come again after the answer.
    ///
    /// # Errors
    /// See [`Malformed`]. What was appended before may still be sent; then the connection is to be
    /// closed.
    pub(super) fn take<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], Malformed> {
        let state = &mut self.state;
        self.packets.feed(input, |event| {
            state.event(event, out)?;
            Ok(match state.question {
                None => Flow::Continue,
                Some(_) => Flow::Wait,
            })
        })
    }

    /// Whether the MTA waits for [`answer`](Self::answer).
    pub(super) fn is_asked(&self) -> bool {
        self.state.question.is_some()
    }

    /// Has the session answer what the MTA waits for, and appends that.
    pub(super) async fn answer(&mut self, out: &mut Vec<u8>) {
        match self.state.question.take() {
            None => {}
            Some(Question::Recipient(recipient)) => {
                match self.state.session.recipient(&recipient).await {
                    Answer::Continue => write(out, b'c', &[]),
                    Answer::Refuse(reply) => refuse(out, &reply),
                }
            }
            Some(Question::EndOfMessage) => self.state.end_of_message(out).await,
        }
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
            Event::Packet(letter, payload) => self.command(letter, payload),
            Event::Body(piece) => {
                self.session.body(piece);
                Ok(())
            }
            Event::EndOfMessage => {
                self.question = Some(Question::EndOfMessage);
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

    fn command(&mut self, letter: u8, payload: &[u8]) -> Result<(), Malformed> {
        let malformed = Malformed::Payload(letter);
        let mut rest = payload;
        match letter {
            command::MACROS => return self.macros(payload),
            command::CONNECT => {
                let client = client(payload).ok_or(malformed)?;
                self.session.connected(client);
            }
            command::MAIL => {
                let sender = take_text(&mut rest).ok_or(malformed)?;
                let login = self.login.take().filter(|login| !login.is_empty());
                self.message = true;
                self.session
                    .mail(without_brackets(sender), login.as_deref());
            }
            command::RECIPIENT => {
                let recipient = take_text(&mut rest).ok_or(malformed)?;
                self.question = Some(Question::Recipient(without_brackets(recipient).to_vec()));
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

    async fn end_of_message(&mut self, out: &mut Vec<u8>) {
        let queue_id = self.queue_id.take().unwrap_or_default();
        let queue_id = String::from_utf8_lossy(&queue_id);
        let outcome = self.session.end_of_message(&queue_id).await;
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

/// The IP address in a `SMFIC_CONNECT`: a host name, the letter of the address family, then for IP
/// the port and the address. `None` when it is malformed, `Some(None)` for other families.
fn client(mut payload: &[u8]) -> Option<Option<IpAddr>> {
    take_text(&mut payload)?;
    let (family, rest) = payload.split_first()?;
    if !matches!(family, b'4' | b'6') {
        return Some(None);
    }
    let (_port, mut rest) = rest.split_at_checked(2)?;
    let text = str::from_utf8(take_text(&mut rest)?).ok()?;
    let prefix = text.get(..IPV6.len());
    let text = match prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(IPV6)) {
        true => text.get(IPV6.len()..)?,
        false => text,
    };
    // An IPv4 client of an IPv6 socket is an IPv4 client.
    Some(Some(text.parse::<IpAddr>().ok()?.to_canonical()))
}

/// What Postfix writes before an IPv6 address.
const IPV6: &str = "IPv6:";

/// `m`, which field of its name, the name and the new value, an empty value to delete; `i`, where,
/// the name and the value; `e` and the new sender.
fn change(out: &mut Vec<u8>, edit: &Edit) {
    let (letter, number, name, value) = match edit {
        Edit::Replace {
            name,
            occurrence,
            value,
        } => (b'm', *occurrence, name, format!(" {value}")),
        Edit::Delete { name, occurrence } => (b'm', *occurrence, name, String::new()),
        Edit::Insert { name, value } => (b'i', 0, name, format!(" {value}")),
        Edit::Sender(address) => {
            return write(out, b'e', &[b"<", address.as_bytes(), b">\0"]);
        }
    };
    let (name, value) = (name.as_bytes(), value.as_bytes());
    write(
        out,
        letter,
        &[&number.to_be_bytes(), name, b"\0", value, b"\0"],
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
        out.clear();
        change(
            &mut out,
            &Edit::Insert {
                name: name(),
                value: "x".into(),
            },
        );
        assert_eq!(out, b"\0\0\0\x10i\0\0\0\0Subject\0 x\0");
    }

    #[test]
    fn senders_stand_in_brackets() {
        let mut out = Vec::new();
        change(&mut out, &Edit::Sender(String::new()));
        change(&mut out, &Edit::Sender("a@x.org".into()));
        assert_eq!(out, b"\0\0\0\x04e<>\0\0\0\0\x0be<a@x.org>\0");
    }

    #[rstest]
    #[case::ipv4(b"h\x004\x00\x19192.0.2.1\0", Some(Some("192.0.2.1")))]
    #[case::ipv6(b"h\x006\x00\x19IPv6:2001:db8::1\0", Some(Some("2001:db8::1")))]
    #[case::mapped(b"h\x006\x00\x19IPv6:::ffff:192.0.2.1\0", Some(Some("192.0.2.1")))]
    #[case::unknown(b"h\0U", Some(None))]
    #[case::unix(b"h\0L\0\0/socket\0", Some(None))]
    #[case::no_family(b"h\0", None)]
    #[case::no_address(b"h\x004\0\x19", None)]
    #[case::no_end(b"h\x004\0\x19192.0.2.1", None)]
    #[case::not_an_address(b"h\x004\0\x19example\0", None)]
    fn clients_are_known_by_their_address(
        #[case] payload: &[u8],
        #[case] expected: Option<Option<&str>>,
    ) {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(client(payload), expected.map(|ip| ip.map(parse)));
    }
}
