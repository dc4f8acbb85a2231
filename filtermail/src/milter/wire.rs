//! Packets of the milter protocol, version 6. No I/O.
//!
//! The protocol has no standard; this follows `mfdef.h` of sendmail's libmilter and what Postfix's
//! `milter8.c` sends. A packet is a length (four octets, most significant first, counting what
//! follows), a letter, and that letter's payload. Text in payloads ends in NUL.

/// Longest packet that is held at once. Body chunks are passed on as they come and may be longer.
/// Postfix cuts header fields at 102 400 octets (`header_size_limit`).
pub(super) const PACKET_MAX: usize = 512 * 1024;

/// What cannot be a packet from an MTA. The connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A packet without a letter.
    #[error("an empty packet")]
    Empty,
    /// A packet that is longer than any of its kind.
    #[error("a packet of {0} octets")]
    TooLong(usize),
    /// A letter that is not a command, or one that we asked not to be sent.
    #[error("unexpected command {0:#04x}")]
    Command(u8),
    /// A payload that is not of its command's form.
    #[error("a malformed payload of command {0:#04x}")]
    Payload(u8),
    /// Something else than a negotiation at the start, or a second one.
    #[error("a negotiation that is missing or repeated")]
    Negotiation,
    /// The MTA does not offer what filtermail relies on.
    #[error(
        "the MTA does not offer milter protocol 6 with all steps: remove milter_protocol from \
         main.cf"
    )]
    Offer,
}

/// A part of what an MTA says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A whole packet but a body chunk: its letter and payload.
    Packet(u8, &'a [u8]),
    /// A piece of the body, however it was cut into packets.
    Body(&'a [u8]),
    /// The message is complete.
    EndOfMessage,
}

/// Whether what follows an event may be looked at now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It may.
    Continue,
    /// The event has to be answered first.
    Wait,
}

/// Letters of the commands from the MTA.
pub(super) mod command {
    pub(in super::super) const NEGOTIATE: u8 = b'O';
    pub(in super::super) const MACROS: u8 = b'D';
    pub(in super::super) const CONNECT: u8 = b'C';
    pub(in super::super) const MAIL: u8 = b'M';
    pub(in super::super) const RECIPIENT: u8 = b'R';
    pub(in super::super) const HEADER: u8 = b'L';
    pub(in super::super) const END_OF_HEADERS: u8 = b'N';
    pub(in super::super) const BODY: u8 = b'B';
    pub(in super::super) const END_OF_MESSAGE: u8 = b'E';
    pub(in super::super) const ABORT: u8 = b'A';
    pub(in super::super) const QUIT: u8 = b'Q';
    pub(in super::super) const QUIT_NEW_CONNECTION: u8 = b'K';
}

/// Octets of a length and a letter.
const HEAD: usize = 5;

/// Cuts a stream of octets into events.
#[derive(Debug, Default)]
pub(super) struct Packets {
    /// The beginning of a packet that has not come whole.
    held: Vec<u8>,
    body: Option<BodyPacket>,
}

/// What is still to come of a packet that carries a piece of the body.
#[derive(Clone, Copy, Debug)]
struct BodyPacket {
    missing: usize,
    last: bool,
}

/// What stands at the beginning of some octets.
enum Beginning<'a> {
    /// A whole packet, and what follows it.
    Packet(u8, &'a [u8], &'a [u8]),
    /// The head of a body packet, and what follows it.
    Body(BodyPacket, &'a [u8]),
    /// Too little; so many octets are needed to tell more.
    Incomplete(usize),
}

impl Packets {
    /// Takes more octets, however they were cut, and hands on what they complete, until `take` has
    /// to wait. Returns the octets that are left: none unless it waits.
    ///
    /// # Errors
    /// See [`Malformed`], also from `take`; nothing that follows can be read.
    pub(super) fn feed<'a>(
        &mut self,
        mut input: &'a [u8],
        mut take: impl FnMut(Event<'_>) -> Result<Flow, Malformed>,
    ) -> Result<&'a [u8], Malformed> {
        let mut flow = Flow::Continue;
        while flow == Flow::Continue {
            if let Some(packet) = &mut self.body {
                let (piece, rest) = input.split_at(packet.missing.min(input.len()));
                input = rest;
                packet.missing -= piece.len();
                let (missing, last) = (packet.missing, packet.last);
                if !piece.is_empty() {
                    take(Event::Body(piece))?;
                }
                if missing > 0 {
                    break;
                }
                self.body = None;
                if last {
                    flow = take(Event::EndOfMessage)?;
                }
            } else if input.is_empty() {
                break;
            } else if self.held.is_empty() {
                // Most packets come whole and are read where they are.
                match Beginning::of(input)? {
                    Beginning::Packet(letter, payload, rest) => {
                        input = rest;
                        flow = take(Event::Packet(letter, payload))?;
                    }
                    Beginning::Body(packet, rest) => {
                        input = rest;
                        self.body = Some(packet);
                    }
                    Beginning::Incomplete(_) => {
                        self.held.extend_from_slice(input);
                        input = &[];
                    }
                }
            } else {
                (input, flow) = self.complete_held(input, &mut take)?;
            }
        }
        Ok(input)
    }

    /// Gives back the memory of a long packet.
    pub(super) fn shrink(&mut self) {
        self.held.shrink_to(HELD_KEPT);
    }

    /// Adds to the packet that is held, and hands it on when it is whole; returns what is left.
    fn complete_held<'a>(
        &mut self,
        mut input: &'a [u8],
        take: &mut impl FnMut(Event<'_>) -> Result<Flow, Malformed>,
    ) -> Result<(&'a [u8], Flow), Malformed> {
        loop {
            let mut flow = Flow::Continue;
            match Beginning::of(&self.held)? {
                Beginning::Packet(letter, payload, _) => {
                    flow = take(Event::Packet(letter, payload))?;
                }
                Beginning::Body(packet, _) => self.body = Some(packet),
                Beginning::Incomplete(_) if input.is_empty() => return Ok((input, flow)),
                Beginning::Incomplete(wanted) => {
                    let missing = wanted.saturating_sub(self.held.len()).min(input.len());
                    let (more, rest) = input.split_at(missing);
                    self.held.extend_from_slice(more);
                    input = rest;
                    continue;
                }
            }
            self.held.clear();
            return Ok((input, flow));
        }
    }
}

/// Memory that a connection keeps between packets.
const HELD_KEPT: usize = 1024;

impl<'a> Beginning<'a> {
    fn of(octets: &'a [u8]) -> Result<Self, Malformed> {
        let Some((&[a, b, c, d, letter], rest)) = octets.split_first_chunk::<HEAD>() else {
            return Ok(Self::Incomplete(HEAD));
        };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let length = length.checked_sub(1).ok_or(Malformed::Empty)?;
        if let command::BODY | command::END_OF_MESSAGE = letter {
            let last = letter == command::END_OF_MESSAGE;
            let packet = BodyPacket {
                missing: length,
                last,
            };
            return Ok(Self::Body(packet, rest));
        }
        if length > PACKET_MAX {
            return Err(Malformed::TooLong(length));
        }
        Ok(match rest.split_at_checked(length) {
            Some((payload, rest)) => Self::Packet(letter, payload, rest),
            None => Self::Incomplete(HEAD + length),
        })
    }
}

/// Appends a packet.
pub(super) fn write(out: &mut Vec<u8>, letter: u8, payload: &[&[u8]]) {
    let length: usize = 1 + payload.iter().map(|part| part.len()).sum::<usize>();
    // What we write is far shorter than a packet can be.
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.push(letter);
    for part in payload {
        out.extend_from_slice(part);
    }
}

/// Takes a text and its NUL off the front of a payload.
pub(super) fn take_text<'a>(payload: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = payload.iter().position(|&octet| octet == 0)?;
    let (text, rest) = payload.split_at_checked(end)?;
    *payload = rest.get(1..)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What events are, so that they can be kept; pieces of a body joined. It waits after some.
    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let mut packets = Packets::default();
        let mut seen: Vec<String> = Vec::new();
        let mut body = String::new();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                piece = packets.feed(piece, |event| {
                    match event {
                        Event::Packet(letter, payload) => {
                            seen.push(format!("{} {}", char::from(letter), payload.escape_ascii()));
                        }
                        Event::Body(piece) => body.push_str(&piece.escape_ascii().to_string()),
                        Event::EndOfMessage => {
                            seen.push(format!("end {}", std::mem::take(&mut body)));
                        }
                    }
                    Ok(if waits(&event) {
                        Flow::Wait
                    } else {
                        Flow::Continue
                    })
                })?;
            }
        }
        Ok(seen)
    }

    fn waits(event: &Event<'_>) -> bool {
        matches!(event, Event::Packet(b'M', _) | Event::EndOfMessage)
    }

    const STREAM: &[u8] =
        b"\0\0\0\x06Mabc\0x\0\0\0\x01N\0\0\0\x04Bone\0\0\0\x01B\0\0\0\x04Etwo\0\0\0\x01E\0\0\0\x01Q";

    #[test]
    fn packets_are_cut_and_bodies_joined() {
        let expected = ["M abc\\x00x", "N ", "end onetwo", "end ", "Q "];
        assert_eq!(read(&[STREAM]).unwrap(), expected);
    }

    #[test]
    fn nothing_behind_an_event_that_waits_is_looked_at() {
        let mut packets = Packets::default();
        let mut rests = Vec::new();
        let mut input = STREAM;
        while !input.is_empty() {
            input = packets.feed(input, |_| Ok(Flow::Wait)).unwrap();
            rests.push(input.len());
        }
        let behind_m = STREAM.len() - 10;
        assert_eq!(
            rests,
            [behind_m, behind_m - 5, 10, 5, 0],
            "pieces of a body never wait"
        );
    }

    #[test]
    fn lengths_have_limits() {
        assert_eq!(read(&[b"\0\0\0\0M"]), Err(Malformed::Empty));
        assert_eq!(
            read(&[b"\x7f\0\0\0L"]),
            Err(Malformed::TooLong(0x7EFF_FFFF))
        );
        // A body may be as long as it likes: it is not held.
        assert_eq!(read(&[b"\x7f\0\0\0Bxyz"]), Ok(Vec::new()));
    }

    #[test]
    fn texts_end_in_nul() {
        let mut payload = &b"one\0\0two"[..];
        assert_eq!(take_text(&mut payload), Some(&b"one"[..]));
        assert_eq!(take_text(&mut payload), Some(&b""[..]));
        assert_eq!(take_text(&mut payload), None);
    }

    proptest! {
        #[test]
        fn any_cut_is_the_same(cuts in proptest::collection::vec(0..STREAM.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &STREAM[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[STREAM]));
        }

        #[test]
        fn garbage_never_panics(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..6)) {
            let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
            let _ = read(&pieces);
        }
    }
}
