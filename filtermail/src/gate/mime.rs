//! The body of a message: delimiters, parts, and what the parts hold.
//!
//! Two shapes exist: OpenPGP/MIME (RFC 3156 section 4) with its control part and its armored part,
//! and the securejoin request with its one text part. A program that reads multiparts differently
//! must not find other text than this one does, so there is none outside the known places: not
//! before, between or after the parts, and in no part header but the MIME ones.

use super::armor::Armor;
use super::header::{Kind, PartHeaders, Shape};
use super::lines::{Fields, Lines};
use super::{Direction, Rule};

/// Octets of preamble tolerated on the way in: Thunderbird writes a sentence there.
const PREAMBLE_MAX: usize = 1024;
/// Largest body in octets of a message that is not encrypted.
const CLEARTEXT_MAX: usize = 1024 * 1024;

/// Follows a body of the shape that the header section announced.
#[derive(Debug)]
pub(super) struct Body {
    direction: Direction,
    kind: Kind,
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    lines: Lines,
    place: Place,
    /// Parts that have begun.
    parts: usize,
    preamble: usize,
    /// Octets that may still come.
    room: usize,
}

#[derive(Debug)]
enum Place {
    Preamble,
    Header(Box<(Fields, PartHeaders)>),
    Line(SingleLine),
    Armor(Box<Armor>),
    Epilogue,
}

enum Delimiter {
    Next,
    Close,
}

impl Body {
    pub(super) fn new(direction: Direction, shape: Shape) -> Self {
        let room = match shape.kind {
            Kind::Encrypted => usize::MAX,
            Kind::Securejoin(_) => CLEARTEXT_MAX,
        };
        Self {
            direction,
            kind: shape.kind,
            delimiter: [b"--", shape.boundary.as_slice()].concat(),
            lines: Lines::default(),
            place: Place::Preamble,
            parts: 0,
            preamble: 0,
            room,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Rule> {
        let (mut chunk, beyond) = chunk.split_at(chunk.len().min(self.room));
        self.room -= chunk.len();
        while !chunk.is_empty() {
            if let Place::Armor(armor) = &mut self.place
                && self.lines.at_start()
            {
                armor.take_base64(&mut chunk)?;
            }
            if let Some(line) = self.lines.take(&mut chunk)? {
                self.line(&line)?;
                self.lines.reuse(line);
            }
        }
        if beyond.is_empty() {
            Ok(())
        } else {
            Err(Rule::CleartextTooLarge)
        }
    }

    pub(super) fn finish(mut self) -> Result<(), Rule> {
        if let Some(line) = self.lines.finish()? {
            self.line(&line)?;
        }
        match self.place {
            Place::Epilogue => Ok(()),
            Place::Preamble => Err(Rule::PartMissing),
            _ => Err(Rule::ClosingDelimiterMissing),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Rule> {
        if let Some(delimiter) = self.delimiter(line)? {
            return self.next_part(delimiter);
        }
        let blank = is_blank(line);
        match &mut self.place {
            Place::Preamble => {
                self.preamble += line.len() + 2;
                let tolerated = self.direction == Direction::Incoming
                    && self.kind == Kind::Encrypted
                    && self.preamble <= PREAMBLE_MAX
                    && is_harmless_preamble(line);
                if blank || tolerated {
                    Ok(())
                } else {
                    Err(Rule::PreambleText)
                }
            }
            Place::Header(header) => {
                let (fields, headers) = header.as_mut();
                if fields.line(line, |name, value| headers.field(name, value))? {
                    self.begin_content()?;
                }
                Ok(())
            }
            Place::Line(single) if !blank => single.line(line),
            Place::Armor(armor) => armor.line(line),
            Place::Epilogue if !blank => Err(Rule::EpilogueText),
            Place::Line(_) | Place::Epilogue => Ok(()),
        }
    }

    /// Whether the line is a delimiter (RFC 2046 section 5.1.1).
    fn delimiter(&self, line: &[u8]) -> Result<Option<Delimiter>, Rule> {
        let Some(behind) = line.strip_prefix(self.delimiter.as_slice()) else {
            return Ok(None);
        };
        match behind.strip_prefix(b"--") {
            Some(blanks) if is_blank(blanks) => Ok(Some(Delimiter::Close)),
            None if is_blank(behind) => Ok(Some(Delimiter::Next)),
            // A longer boundary, or text behind this one: programs do not agree.
            _ => Err(Rule::DelimiterAmbiguous),
        }
    }

    fn next_part(&mut self, delimiter: Delimiter) -> Result<(), Rule> {
        match &self.place {
            Place::Preamble => {}
            Place::Header(_) => return Err(Rule::HeaderSyntax),
            Place::Line(single) => single.finish()?,
            Place::Armor(armor) => armor.finish()?,
            Place::Epilogue => return Err(Rule::PartExtra),
        }
        let wanted = match self.kind {
            Kind::Encrypted => 2,
            Kind::Securejoin(_) => 1,
        };
        self.place = match delimiter {
            Delimiter::Next if self.parts == wanted => return Err(Rule::PartExtra),
            Delimiter::Next => {
                self.parts += 1;
                Place::Header(Box::default())
            }
            Delimiter::Close if self.parts < wanted => return Err(Rule::PartMissing),
            Delimiter::Close => Place::Epilogue,
        };
        Ok(())
    }

    /// The header section of a part is complete.
    fn begin_content(&mut self) -> Result<(), Rule> {
        let Place::Header(header) = &self.place else {
            return Ok(());
        };
        let (_, headers) = header.as_ref();
        self.place = match (self.kind, self.parts) {
            (Kind::Encrypted, 1) => {
                headers.require("application/pgp-encrypted", false)?;
                Place::Line(SingleLine::exactly("Version: 1", Rule::VersionText))
            }
            (Kind::Encrypted, _) => {
                headers.require("application/octet-stream", false)?;
                Place::Armor(Box::new(Armor::new(self.direction)))
            }
            (Kind::Securejoin(step), _) => {
                headers.require("text/plain", true)?;
                Place::Line(SingleLine::in_any_case(step.text(), Rule::SecureJoinText))
            }
        };
        Ok(())
    }
}

/// The content of a part that holds one known line and nothing else but white space.
#[derive(Debug)]
struct SingleLine {
    wanted: &'static str,
    any_case: bool,
    seen: bool,
    otherwise: Rule,
}

impl SingleLine {
    fn exactly(wanted: &'static str, otherwise: Rule) -> Self {
        Self {
            wanted,
            any_case: false,
            seen: false,
            otherwise,
        }
    }

    fn in_any_case(wanted: &'static str, otherwise: Rule) -> Self {
        Self {
            any_case: true,
            ..Self::exactly(wanted, otherwise)
        }
    }

    /// Takes a line that is not blank.
    fn line(&mut self, line: &[u8]) -> Result<(), Rule> {
        let (line, wanted) = (trim_blanks(line), self.wanted.as_bytes());
        let same = line == wanted || self.any_case && line.eq_ignore_ascii_case(wanted);
        if self.seen || !same {
            return Err(self.otherwise);
        }
        self.seen = true;
        Ok(())
    }

    fn finish(&self) -> Result<(), Rule> {
        if self.seen {
            Ok(())
        } else {
            Err(self.otherwise)
        }
    }
}

/// Whether a line of preamble is text that nobody can take for a delimiter, whatever boundary he
/// believes in, nor for armor.
fn is_harmless_preamble(line: &[u8]) -> bool {
    let printable = |octet: &u8| matches!(octet, b' '..=b'~' | b'\t');
    line.iter().all(printable) && !trim_blanks(line).starts_with(b"--")
}

fn trim_blanks(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|octet| matches!(octet, b' ' | b'\t'))
}
