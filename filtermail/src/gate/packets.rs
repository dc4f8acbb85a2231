//! The OpenPGP packets of an encrypted message (RFC 9580 section 10.3: ESK sequence, encrypted data).

use super::seipd::Seipd;
use super::session_key::{self, Free};
use super::{Direction, Rule};

/// Most session-key packets of one message.
const SESSION_KEYS_MAX: usize = 2000;
/// Least size of the first part of a packet with partial lengths (RFC 9580 section 4.2.1.4).
const FIRST_PARTIAL_MIN: u32 = 512;
/// Packet types (RFC 9580 section 5).
const MARKER: u8 = 10;
const PUBLIC_KEY_SESSION_KEY: u8 = 1;
const PASSWORD_SESSION_KEY: u8 = 3;
const SEIPD: u8 = 18;

/// Follows a sequence of packets, as it is decoded.
#[derive(Debug)]
pub(super) struct Packets {
    direction: Direction,
    state: State,
    /// Octets of the header, or of the session key or marker, that has begun.
    gathered: Vec<u8>,
    session_keys: usize,
    marker_seen: bool,
    free: Free,
}

#[derive(Debug)]
enum State {
    /// In a packet header, or before one.
    Header,
    /// In a packet that is small enough to be gathered.
    Small { kind: Small, length: usize },
    /// In the SEIPD, `left` octets before the end of it, or of this part of it.
    Data {
        seipd: Box<Seipd>,
        left: u32,
        partial: bool,
    },
    /// In the SEIPD, in the length of its next part.
    DataLength { seipd: Box<Seipd> },
    /// Behind the SEIPD.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Small {
    Marker,
    PublicKey,
    Password,
}

impl Packets {
    pub(super) fn new(direction: Direction) -> Self {
        Self {
            direction,
            state: State::Header,
            gathered: Vec::new(),
            session_keys: 0,
            marker_seen: false,
            free: Free::default(),
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Rule> {
        while !bytes.is_empty() {
            bytes = self.step(bytes)?;
        }
        Ok(())
    }

    /// The data has ended: the SEIPD must have ended exactly here.
    pub(super) fn finish(self) -> Result<(), Rule> {
        match self.state {
            State::End => Ok(()),
            _ => Err(Rule::PacketTruncated),
        }
    }

    /// Takes some of `bytes`, at least one, and returns the rest.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Rule> {
        match std::mem::replace(&mut self.state, State::End) {
            State::Header => {
                let (rest, header) = self.gather_length(bytes, parse_header)?;
                self.state = match header {
                    Some((tag, length)) => self.begin(tag, length)?,
                    None => State::Header,
                };
                Ok(rest)
            }
            State::Small { kind, length } => {
                let missing = length.saturating_sub(self.gathered.len());
                let (head, rest) = bytes.split_at(missing.min(bytes.len()));
                self.gathered.extend_from_slice(head);
                if head.len() == missing {
                    self.small_packet(kind)?;
                    self.state = State::Header;
                } else {
                    self.state = State::Small { kind, length };
                }
                Ok(rest)
            }
            State::Data {
                mut seipd,
                left,
                partial,
            } => {
                let take = bytes.len().min(left as usize);
                let (head, rest) = bytes.split_at(take);
                seipd.push(head)?;
                self.data(seipd, left - take as u32, partial)?;
                Ok(rest)
            }
            State::DataLength { seipd } => {
                let (rest, length) = self.gather_length(bytes, parse_length)?;
                match length {
                    Some(Length::Fixed(left)) => self.data(seipd, left, false)?,
                    Some(Length::Partial(left)) => self.data(seipd, left, true)?,
                    None => self.state = State::DataLength { seipd },
                }
                Ok(rest)
            }
            State::End => Err(Rule::PacketTrailing),
        }
    }

    /// Adds octets to what is gathered until `parse` finds a whole header or length in it.
    fn gather_length<'a, T>(
        &mut self,
        mut bytes: &'a [u8],
        parse: fn(&[u8]) -> Result<Option<T>, Rule>,
    ) -> Result<(&'a [u8], Option<T>), Rule> {
        while let Some((&octet, rest)) = bytes.split_first() {
            bytes = rest;
            self.gathered.push(octet);
            if let Some(parsed) = parse(&self.gathered)? {
                self.gathered.clear();
                return Ok((bytes, Some(parsed)));
            }
        }
        Ok((bytes, None))
    }

    /// The header of a packet is there: whether it may stand here, and what comes next.
    fn begin(&mut self, tag: u8, length: Length) -> Result<State, Rule> {
        let kind = match tag {
            PUBLIC_KEY_SESSION_KEY => Small::PublicKey,
            PASSWORD_SESSION_KEY => Small::Password,
            MARKER if self.marker_may_stand_here() => Small::Marker,
            SEIPD if self.session_keys == 0 => return Err(Rule::SessionKeyMissing),
            SEIPD => return self.begin_data(length),
            _ => return Err(Rule::PacketTag),
        };
        let Length::Fixed(length) = length else {
            return Err(Rule::PacketPartial);
        };
        match kind {
            Small::Marker => {
                self.marker_seen = true;
                if length != 3 {
                    return Err(Rule::MarkerContent);
                }
            }
            Small::PublicKey | Small::Password => {
                self.session_keys += 1;
                if self.session_keys > SESSION_KEYS_MAX {
                    return Err(Rule::SessionKeyCount);
                }
                if length == 0 {
                    return Err(Rule::SessionKeyLength);
                }
            }
        }
        match usize::try_from(length) {
            Ok(length) if length <= session_key::SIZE_MAX => Ok(State::Small { kind, length }),
            _ => Err(Rule::SessionKeySize),
        }
    }

    fn marker_may_stand_here(&self) -> bool {
        self.direction == Direction::Incoming && self.session_keys == 0 && !self.marker_seen
    }

    fn begin_data(&mut self, length: Length) -> Result<State, Rule> {
        std::mem::take(&mut self.free).finish()?;
        let seipd = Box::new(Seipd::new());
        match length {
            Length::Fixed(0) => Err(Rule::DataShort),
            Length::Fixed(left) => Ok(State::Data {
                seipd,
                left,
                partial: false,
            }),
            Length::Partial(left) if left < FIRST_PARTIAL_MIN => Err(Rule::PacketPartial),
            Length::Partial(left) => Ok(State::Data {
                seipd,
                left,
                partial: true,
            }),
        }
    }

    /// Goes on after `left` was reduced.
    fn data(&mut self, seipd: Box<Seipd>, left: u32, partial: bool) -> Result<(), Rule> {
        self.state = match (left, partial) {
            (0, true) => State::DataLength { seipd },
            (0, false) => {
                seipd.finish()?;
                State::End
            }
            _ => State::Data {
                seipd,
                left,
                partial,
            },
        };
        Ok(())
    }

    fn small_packet(&mut self, kind: Small) -> Result<(), Rule> {
        let body = std::mem::take(&mut self.gathered);
        match kind {
            Small::Marker if body == b"PGP" => {}
            Small::Marker => return Err(Rule::MarkerContent),
            Small::PublicKey => session_key::check_public_key(&body, &mut self.free)?,
            Small::Password => session_key::check_password(&body, &mut self.free)?,
        }
        self.gathered = body;
        self.gathered.clear();
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Fixed(u32),
    Partial(u32),
}

/// Packet type and length, when `octets` holds all of a header (RFC 9580 section 4.2).
fn parse_header(octets: &[u8]) -> Result<Option<(u8, Length)>, Rule> {
    let Some((&first, length)) = octets.split_first() else {
        return Ok(None);
    };
    match first {
        // Current format.
        0xC0.. => Ok(parse_length(length)?.map(|length| (first & 0x3F, length))),
        // Legacy format: the last two bits say how many octets the length has.
        0x80..0xC0 => {
            let size = match first & 3 {
                3 => return Err(Rule::PacketIndeterminate),
                size => 1_usize << size,
            };
            let length = length
                .iter()
                .fold(0_u32, |sum, &octet| (sum << 8) | u32::from(octet));
            let complete = octets.len() > size;
            Ok(complete.then_some(((first >> 2) & 0xF, Length::Fixed(length))))
        }
        _ => Err(Rule::PacketHeader),
    }
}

/// A length in the current format (RFC 9580 section 4.2.1), when `octets` holds all of it.
fn parse_length(octets: &[u8]) -> Result<Option<Length>, Rule> {
    Ok(match *octets {
        [first @ 0..=191] => Some(Length::Fixed(first.into())),
        [first @ 192..=223, second] => Some(Length::Fixed(
            (u32::from(first) - 192) * 256 + u32::from(second) + 192,
        )),
        [first @ 224..=254] => Some(Length::Partial(1 << (first & 0x1F))),
        [255, a, b, c, d] => Some(Length::Fixed(u32::from_be_bytes([a, b, c, d]))),
        _ => None,
    })
}
