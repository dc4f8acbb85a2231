//! The base64 lines of an armored block, decoded as they come (RFC 9580 section 6).
//!
//! [`Decoder::push`] defines what is accepted octet by octet: lines of up to 998 base64 characters,
//! padding at the end of the last one, CRLF after each. A message is nearly all base64 in lines of
//! one length, so most of it goes another, faster way to the same result: lines as long as the one
//! before are copied together and decoded at once; only when that fails are they read again octet
//! by octet, which finds out why.

use base64_simd::{AsOut, STANDARD};

use super::Rule;
use super::lines::LINE_MAX;

/// Base64 characters decoded at once; a multiple of four.
const BATCH: usize = 8 * 1024;
/// What [`Decoder::push`] gives when the data goes on.
const NOT_BASE64: u8 = 0xFF;

/// The value of each base64 character, [`NOT_BASE64`] for all else.
static VALUES: [u8; 256] = values();

/// Decodes base64 lines.
#[derive(Debug)]
pub(super) struct Decoder {
    place: Place,
    /// Characters of a group of four that is not complete.
    group: [u8; 4],
    grouped: usize,
    /// Characters so far in this line.
    in_line: usize,
    /// Characters in the line before: a guess for the next.
    line_length: usize,
    staged: Vec<u8>,
    decoded: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    Line,
    /// Behind the first `=` of the padding.
    Padding,
    /// Behind a CR; `last`: the line ended with padding.
    LineEnd {
        last: bool,
    },
    /// At the start of the line that follows padding.
    AfterPadding,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            place: Place::LineStart,
            group: [0; 4],
            grouped: 0,
            in_line: 0,
            line_length: 0,
            staged: Vec::new(),
            decoded: Vec::new(),
        }
    }

    /// Decodes from the front of `chunk` and gives what was decoded to `sink`. Returns whether the
    /// base64 lines are over, with `chunk` at the line that is none: it begins with `=` or `-`.
    pub(super) fn push(
        &mut self,
        chunk: &mut &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), Rule>,
    ) -> Result<bool, Rule> {
        while !chunk.is_empty() {
            let (batch, decoded) = self.decode_lines(chunk);
            if decoded {
                sink(&self.decoded)?;
                *chunk = chunk.split_at(batch).1;
                continue;
            }
            let (mut lines, rest) = chunk.split_at(batch);
            self.decoded.clear();
            let result = self.decode_octets(&mut lines);
            sink(&self.decoded)?;
            if result? {
                *chunk = chunk.split_at(batch - lines.len()).1;
                return Ok(true);
            }
            *chunk = rest;
        }
        Ok(false)
    }

    /// Checks, where the base64 lines are over, that no character is left undecoded.
    pub(super) fn finish(&self) -> Result<(), Rule> {
        if self.grouped == 0 {
            Ok(())
        } else {
            Err(Rule::ArmorPadding)
        }
    }

    /// The fast way: as many lines of the guessed length as fit a batch. Returns how many octets
    /// they are, and whether they are now decoded; if not, nothing has changed, and that many
    /// octets are to be read one by one.
    fn decode_lines(&mut self, chunk: &[u8]) -> (usize, bool) {
        let length = self.line_length;
        if self.place != Place::LineStart || length == 0 || length > BATCH {
            return (self.line_remainder(chunk), false);
        }
        self.staged.clear();
        self.staged
            .extend_from_slice(self.group.get(..self.grouped).unwrap_or_default());
        let lines = chunk.chunks_exact(length + 2).take(BATCH / length);
        for line in lines {
            let (text, ending) = line.split_at(length);
            if ending != b"\r\n" {
                break;
            }
            self.staged.extend_from_slice(text);
        }
        let lines = (self.staged.len() - self.grouped) / length;
        let whole = self.staged.len() / 4 * 4;
        let (groups, left) = self.staged.split_at(whole);
        // Padding ends the data: that is for the slow way to see.
        if lines == 0 || groups.ends_with(b"=") {
            return (self.line_remainder(chunk), false);
        }
        self.decoded.resize(whole / 4 * 3, 0);
        if STANDARD
            .decode(groups, self.decoded.as_mut_slice().as_out())
            .is_err()
            || left.iter().any(|&character| value(character) == NOT_BASE64)
        {
            return (lines * (length + 2), false);
        }
        self.grouped = left.len();
        for (place, character) in self.group.iter_mut().zip(left) {
            *place = *character;
        }
        (lines * (length + 2), true)
    }

    /// How far the slow way is to go: to the end of this line, or of a long stretch of it.
    fn line_remainder(&self, chunk: &[u8]) -> usize {
        let stretch = chunk.get(..BATCH).unwrap_or(chunk);
        stretch
            .iter()
            .position(|&octet| octet == b'\n')
            .map_or(stretch.len(), |at| at + 1)
    }

    /// The slow way. Returns whether the base64 lines are over, with `octets` at what follows.
    fn decode_octets(&mut self, octets: &mut &[u8]) -> Result<bool, Rule> {
        while let Some((&octet, rest)) = octets.split_first() {
            match (self.place, octet) {
                (_, 0) => return Err(Rule::Nul),
                (Place::LineEnd { last }, b'\n') => {
                    self.place = if last {
                        Place::AfterPadding
                    } else {
                        Place::LineStart
                    };
                    self.line_length = std::mem::take(&mut self.in_line);
                }
                (Place::LineEnd { .. }, _) | (_, b'\n') => return Err(Rule::BareLineEnding),
                (Place::LineStart | Place::AfterPadding, b'=' | b'-') => return Ok(true),
                (Place::AfterPadding, _) => return Err(Rule::ArmorPadding),
                (Place::Line | Place::Padding, b'=') => self.padding()?,
                (Place::Line, b'\r') => self.place = Place::LineEnd { last: false },
                (Place::Padding, b'\r') if self.grouped == 0 => {
                    self.place = Place::LineEnd { last: true };
                }
                (Place::Padding, _) => return Err(Rule::ArmorPadding),
                (Place::Line | Place::LineStart, _) => self.character(octet)?,
            }
            *octets = rest;
        }
        Ok(false)
    }

    fn character(&mut self, character: u8) -> Result<(), Rule> {
        if value(character) == NOT_BASE64 {
            return Err(Rule::ArmorBase64);
        }
        self.place = Place::Line;
        self.lengthen()?;
        if let Some(place) = self.group.get_mut(self.grouped) {
            *place = character;
        }
        self.grouped += 1;
        if self.grouped == 4 {
            self.grouped = 0;
            let [_, a, b, c] = self.group_bits().to_be_bytes();
            self.decoded.extend_from_slice(&[a, b, c]);
        }
        Ok(())
    }

    /// The line has one more character.
    fn lengthen(&mut self) -> Result<(), Rule> {
        self.in_line += 1;
        if self.in_line > LINE_MAX {
            return Err(Rule::LineTooLong);
        }
        Ok(())
    }

    /// Takes one `=`. The bits that the padding makes superfluous must be zero.
    fn padding(&mut self) -> Result<(), Rule> {
        let first = self.place != Place::Padding;
        self.place = Place::Padding;
        self.lengthen()?;
        let bits = self.group_bits();
        match (self.grouped, first) {
            (2, true) if bits & 0xFFFF == 0 => self.decoded.push((bits >> 16) as u8),
            (3, true) if bits & 0xFF == 0 => {
                self.decoded
                    .extend_from_slice(&[(bits >> 16) as u8, (bits >> 8) as u8]);
            }
            (3, false) => {}
            _ => return Err(Rule::ArmorPadding),
        }
        self.grouped = (self.grouped + 1) % 4;
        Ok(())
    }

    /// The characters gathered, six bits each, as the upper ones of 24.
    fn group_bits(&self) -> u32 {
        let characters = self
            .group
            .iter()
            .take(if self.grouped == 0 { 4 } else { self.grouped });
        let bits = characters
            .clone()
            .fold(0, |bits, &c| (bits << 6) | u32::from(value(c)));
        bits << (6 * (4 - characters.len()))
    }
}

/// The value of a base64 character, or [`NOT_BASE64`].
fn value(character: u8) -> u8 {
    VALUES[usize::from(character)]
}

/// The three octets that a checksum line's four characters encode.
pub(super) fn decode_checksum(characters: &[u8]) -> Option<u32> {
    let bits = characters
        .iter()
        .try_fold(0, |bits, &character| match value(character) {
            NOT_BASE64 => None,
            value => Some((bits << 6) | u32::from(value)),
        });
    bits.filter(|_| characters.len() == 4)
}

const fn values() -> [u8; 256] {
    const CHARACTERS: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [NOT_BASE64; 256];
    let mut value = 0;
    while value < 64 {
        values[CHARACTERS[value] as usize] = value as u8;
        value += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    /// Decodes in chunks of `step`; gives the data and the line that ended it.
    fn decode(text: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), Rule> {
        let mut decoder = Decoder::new();
        let mut data = Vec::new();
        for (at, mut chunk) in text.chunks(step).enumerate() {
            let length = chunk.len();
            let over = decoder.push(&mut chunk, &mut |decoded| {
                data.extend_from_slice(decoded);
                Ok(())
            })?;
            if over {
                decoder.finish()?;
                return Ok((data, text[at * step + length - chunk.len()..].to_vec()));
            }
        }
        decoder.finish()?;
        Ok((data, Vec::new()))
    }

    fn encode(data: &[u8], line: usize) -> Vec<u8> {
        let text = STANDARD.encode_to_string(data);
        let mut lines: Vec<u8> = Vec::new();
        for chunk in text.as_bytes().chunks(line) {
            lines.extend_from_slice(chunk);
            lines.extend_from_slice(b"\r\n");
        }
        lines
    }

    #[rstest]
    #[case::character(b"QUJD\r\nQU!D\r\n", Rule::ArmorBase64)]
    #[case::blank(b"QUJD \r\n", Rule::ArmorBase64)]
    #[case::empty_line(b"QUJD\r\n\r\n", Rule::ArmorBase64)]
    #[case::url_alphabet(b"QUJD\r\nQU_-\r\n", Rule::ArmorBase64)]
    #[case::bare_lf(b"QUJD\nQUJD\r\n", Rule::BareLineEnding)]
    #[case::bare_cr(b"QUJD\rQUJD\r\n", Rule::BareLineEnding)]
    #[case::nul(b"QU\0D\r\n", Rule::Nul)]
    #[case::incomplete(b"QUJDQ\r\n", Rule::ArmorPadding)]
    #[case::no_padding(b"QUI\r\n=abcd\r\n", Rule::ArmorPadding)]
    #[case::half_padding(b"QQ=\r\n", Rule::ArmorPadding)]
    #[case::much_padding(b"QUI==\r\n", Rule::ArmorPadding)]
    #[case::padding_alone(b"QUJD====\r\n", Rule::ArmorPadding)]
    #[case::data_after_padding(b"QQ==\r\nQUJD\r\n", Rule::ArmorPadding)]
    #[case::data_inside_padding(b"QQ=Q\r\n", Rule::ArmorPadding)]
    #[case::superfluous_bits(b"QR==\r\n", Rule::ArmorPadding)]
    #[case::superfluous_bits_of_two(b"QUJ=\r\n", Rule::ArmorPadding)]
    fn refuses(#[case] text: &[u8], #[case] rule: Rule) {
        for step in 1..text.len() {
            assert_eq!(decode(text, step), Err(rule), "step {step}");
        }
        // The same behind lines that go the fast way.
        let long = [encode(&[7; 3000], 4), text.to_vec()].concat();
        assert_eq!(decode(&long, long.len()), Err(rule));
    }

    proptest! {
        #[test]
        fn decodes_lines_of_any_length(
            data in proptest::collection::vec(any::<u8>(), 1..20_000),
            line in prop_oneof![Just(64_usize), Just(76), 1..=LINE_MAX],
            step in prop_oneof![1..200_usize, Just(65_535)],
            tail in prop_oneof![Just(b"=abcd\r\n".as_slice()), Just(b"-----END".as_slice())],
        ) {
            let text = STANDARD.encode_to_string(&data);
            // A line may not begin with padding.
            prop_assume!(!text.as_bytes().chunks(line).any(|line| line.starts_with(b"=")));
            let mut text = encode(&data, line);
            text.extend_from_slice(tail);
            prop_assert_eq!(decode(&text, step), Ok((data, tail.to_vec())));
        }

        #[test]
        fn the_fast_way_and_the_slow_way_agree(
            data in proptest::collection::vec(any::<u8>(), 300..1000),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut text = encode(&data, 64);
            for (at, octet) in changes {
                let at = at.index(text.len());
                text[at] = octet;
            }
            prop_assert_eq!(decode(&text, text.len()), decode(&text, 1));
        }
    }
}
