//! The armored block that is the second part of an encrypted message (RFC 9580 section 6.2).

use super::base64::{Decoder, decode_checksum};
use super::crc24::Crc24;
use super::lines::may_end_line;
use super::packets::Packets;
use super::{Direction, Rule};

/// Octets of armor headers tolerated on the way in.
const HEADERS_MAX: usize = 1024;

/// Reads one armored block: its base64 from the raw body, everything else line by line.
#[derive(Debug)]
pub(super) struct Armor {
    direction: Direction,
    place: Place,
    headers: usize,
    base64: Decoder,
    checksum: Crc24,
    packets: Option<Packets>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Begin,
    Headers,
    Base64,
    ChecksumOrEnd,
    End,
    After,
}

impl Armor {
    pub(super) fn new(direction: Direction) -> Self {
        Self {
            direction,
            place: Place::Begin,
            headers: 0,
            base64: Decoder::new(),
            checksum: Crc24::new(),
            packets: Some(Packets::new(direction)),
        }
    }

    /// Takes base64 from the front of `chunk`, if that is what comes next.
    pub(super) fn take_base64(&mut self, chunk: &mut &[u8]) -> Result<(), Rule> {
        let (Place::Base64, Some(packets)) = (self.place, &mut self.packets) else {
            return Ok(());
        };
        let checksum = &mut self.checksum;
        let over = self.base64.push(chunk, &mut |decoded| {
            checksum.update(decoded);
            packets.push(decoded)
        })?;
        if over {
            self.base64.finish()?;
            self.place = Place::ChecksumOrEnd;
        }
        Ok(())
    }

    /// Takes a line, without its CRLF, that is not base64.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Rule> {
        match self.place {
            Place::Begin if line == b"-----BEGIN PGP MESSAGE-----" => self.place = Place::Headers,
            Place::Begin => return Err(Rule::ArmorBegin),
            Place::Headers if line.is_empty() => self.place = Place::Base64,
            Place::Headers => self.header(line)?,
            // Lines come here only when they are not base64.
            Place::Base64 => return Err(Rule::ArmorBase64),
            Place::ChecksumOrEnd => match line.strip_prefix(b"=") {
                Some(characters) => self.check(characters)?,
                None => self.end(line)?,
            },
            Place::End => self.end(line)?,
            Place::After if line.iter().all(|octet| matches!(octet, b' ' | b'\t')) => {}
            Place::After => return Err(Rule::ArmorTrailing),
        }
        Ok(())
    }

    /// The part is over.
    pub(super) fn finish(&self) -> Result<(), Rule> {
        match self.place {
            Place::Begin => Err(Rule::ArmorBegin),
            Place::After => Ok(()),
            _ => Err(Rule::ArmorEnd),
        }
    }

    /// Armor headers (RFC 9580 section 6.2.2): other people's software still writes them.
    fn header(&mut self, line: &[u8]) -> Result<(), Rule> {
        const KNOWN: [&[u8]; 5] = [
            b"Version: ",
            b"Comment: ",
            b"Hash: ",
            b"Charset: ",
            b"MessageID: ",
        ];
        self.headers += line.len();
        let known = KNOWN.iter().any(|name| line.starts_with(name));
        let text = str::from_utf8(line).is_ok_and(|text| !text.contains(may_end_line));
        if self.direction == Direction::Outgoing || !known || !text || self.headers > HEADERS_MAX {
            return Err(Rule::ArmorHeader);
        }
        Ok(())
    }

    fn check(&mut self, characters: &[u8]) -> Result<(), Rule> {
        let given = decode_checksum(characters).ok_or(Rule::ArmorChecksumSyntax)?;
        if given != self.checksum.value() {
            return Err(Rule::ArmorChecksum);
        }
        self.place = Place::End;
        Ok(())
    }

    fn end(&mut self, line: &[u8]) -> Result<(), Rule> {
        if line != b"-----END PGP MESSAGE-----" {
            return Err(Rule::ArmorEnd);
        }
        self.place = Place::After;
        match self.packets.take() {
            Some(packets) => packets.finish(),
            None => Err(Rule::ArmorEnd),
        }
    }
}
