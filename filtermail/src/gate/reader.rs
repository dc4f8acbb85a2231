//! Whole messages, as they stand in a file or come by HTTP, for a [`Gate`].

use super::lines::{Fields, Lines};
use super::{Direction, Gate, Progress, Rule, Verdict};

/// Feeds a message of RFC 5322 to a [`Gate`]: splits it into header fields and body.
///
/// Chunks may have any size. Lines end in CRLF; a CR or LF alone, a NUL, and anything in the
/// header section that is neither a field nor a continuation refuse the message.
#[derive(Debug)]
pub struct MessageReader {
    gate: Gate,
    place: Place,
    endings: Endings,
}

#[derive(Debug)]
enum Place {
    Headers { lines: Lines, fields: Fields },
    Body,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endings {
    /// As they come.
    Kept,
    /// The first LF will tell; whether the octet before it was a CR.
    Unknown { after_carriage_return: bool },
    /// Each LF stands for CRLF.
    LineFeed,
}

impl MessageReader {
    /// Reads a message as it goes over the wire.
    pub fn new(direction: Direction) -> Self {
        Self::with_endings(direction, Endings::Kept)
    }

    /// Reads a message as it is stored: when its first line ends in LF alone, as in most Maildirs,
    /// each LF is read as CRLF, and a CR anywhere refuses the message.
    pub fn new_stored(direction: Direction) -> Self {
        Self::with_endings(
            direction,
            Endings::Unknown {
                after_carriage_return: false,
            },
        )
    }

    /// Takes the next octets of the message.
    pub fn push(&mut self, chunk: &[u8]) -> Progress {
        match self.endings {
            Endings::Kept => self.push_with_crlf(chunk),
            Endings::LineFeed => self.push_with_lf(chunk),
            Endings::Unknown {
                after_carriage_return,
            } => {
                let first = chunk.iter().position(|&octet| octet == b'\n');
                let (line, _) = chunk.split_at(first.unwrap_or(chunk.len()));
                let crlf = line
                    .last()
                    .map_or(after_carriage_return, |&octet| octet == b'\r');
                match first {
                    None => {
                        self.endings = Endings::Unknown {
                            after_carriage_return: crlf,
                        };
                        self.push_with_crlf(chunk)
                    }
                    Some(_) => {
                        self.endings = if crlf {
                            Endings::Kept
                        } else {
                            Endings::LineFeed
                        };
                        self.push(chunk)
                    }
                }
            }
        }
    }

    /// The message is complete.
    pub fn finish(mut self) -> Verdict {
        if let Place::Headers {
            mut lines,
            mut fields,
        } = std::mem::replace(&mut self.place, Place::Body)
        {
            let gate = &mut self.gate;
            let mut on_field = |name: &[u8], value: &[u8]| {
                gate.header(name, value);
                Ok(())
            };
            let result = lines.finish().and_then(|line| {
                if let Some(line) = line {
                    fields.line(&line, &mut on_field)?;
                }
                fields.line(b"", &mut on_field)
            });
            match result {
                Ok(_) => self.gate.end_of_headers(),
                Err(rule) => self.gate.refuse(rule),
            }
        }
        self.gate.finish()
    }

    fn with_endings(direction: Direction, endings: Endings) -> Self {
        let place = Place::Headers {
            lines: Lines::default(),
            fields: Fields::default(),
        };
        Self {
            gate: Gate::new(direction),
            place,
            endings,
        }
    }

    fn push_with_lf(&mut self, chunk: &[u8]) -> Progress {
        let mut with_crlf = Vec::with_capacity(4096);
        let mut progress = Progress::More;
        for line in chunk.split_inclusive(|&octet| octet == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(text) => {
                    with_crlf.extend_from_slice(text);
                    with_crlf.extend_from_slice(b"\r\n");
                }
                None => with_crlf.extend_from_slice(line),
            }
            if with_crlf.len() >= 4000 {
                progress = self.push_with_crlf(&with_crlf);
                with_crlf.clear();
            }
        }
        if with_crlf.is_empty() {
            progress
        } else {
            self.push_with_crlf(&with_crlf)
        }
    }

    fn push_with_crlf(&mut self, mut chunk: &[u8]) -> Progress {
        if matches!(self.place, Place::Headers { .. })
            && let Err(rule) = self.headers(&mut chunk)
        {
            self.gate.refuse(rule);
            self.place = Place::Refused;
        }
        match self.place {
            Place::Headers { .. } => Progress::More,
            Place::Body => self.gate.body(chunk),
            Place::Refused => Progress::Decided,
        }
    }

    fn headers(&mut self, chunk: &mut &[u8]) -> Result<(), Rule> {
        let Place::Headers { lines, fields } = &mut self.place else {
            return Ok(());
        };
        while let Some(line) = lines.take(chunk)? {
            let gate = &mut self.gate;
            let end = fields.line(&line, |name, value| {
                gate.header(name, value);
                Ok(())
            })?;
            if end {
                self.gate.end_of_headers();
                self.place = Place::Body;
                return Ok(());
            }
            lines.reuse(line);
        }
        Ok(())
    }
}
