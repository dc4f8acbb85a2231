//! Whole messages, as they stand in a file or come by HTTP, for a [`Gate`] or another [`Sink`].

use super::header::VALUE_MAX;
use super::lines::{Fields, Lines};
use super::{Direction, Gate, Progress, Rule, Verdict};

/// Splits a message of RFC 5322 into header fields and body, for a [`Gate`] unless told otherwise.
///
/// Chunks may have any size. Lines end in CRLF; a CR or LF alone, a NUL, and anything in the
/// header section that is neither a field nor a continuation refuse the message. What stands in the
/// body's lines is for the sink to judge.
#[derive(Debug)]
pub struct MessageReader<S = Gate> {
    sink: S,
    place: Place,
    endings: Endings,
}

/// What a [`MessageReader`] feeds, in the order of the message.
pub trait Sink {
    /// The longest value of a header field that must arrive whole, in octets; of a longer one more
    /// than this arrives, but perhaps not all.
    const VALUE_MAX: usize;

    /// Takes a header field, its value as it stands behind the colon, with LF where it is folded.
    fn header(&mut self, name: &[u8], value: &[u8]);

    /// The header section is complete.
    fn end_of_headers(&mut self);

    /// Takes the next octets of the body.
    fn body(&mut self, chunk: &[u8]) -> Progress;

    /// The header section breaks a rule; nothing of the message follows.
    fn refuse(&mut self, rule: Rule);
}

impl Sink for Gate {
    const VALUE_MAX: usize = VALUE_MAX;

    fn header(&mut self, name: &[u8], value: &[u8]) {
        self.header(name, value);
    }

    fn end_of_headers(&mut self) {
        self.end_of_headers();
    }

    fn body(&mut self, chunk: &[u8]) -> Progress {
        self.body(chunk)
    }

    fn refuse(&mut self, rule: Rule) {
        self.refuse(rule);
    }
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
        Self::feeding(Gate::new(direction))
    }

    /// Reads a message as it is stored: when its first line ends in LF alone, as in most Maildirs,
    /// each LF is read as CRLF, and a CR anywhere refuses the message.
    pub fn new_stored(direction: Direction) -> Self {
        let endings = Endings::Unknown {
            after_carriage_return: false,
        };
        Self {
            endings,
            ..Self::new(direction)
        }
    }

    /// The message is complete.
    pub fn finish(self) -> Verdict {
        self.complete().finish()
    }
}

impl<S: Sink> MessageReader<S> {
    /// Reads a message as it goes over the wire, for this sink.
    pub fn feeding(sink: S) -> Self {
        let place = Place::Headers {
            lines: Lines::default(),
            fields: Fields::keeping(S::VALUE_MAX),
        };
        Self {
            sink,
            place,
            endings: Endings::Kept,
        }
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

    /// The message is complete; gives the sink back.
    pub fn complete(mut self) -> S {
        if let Place::Headers {
            mut lines,
            mut fields,
        } = std::mem::replace(&mut self.place, Place::Body)
        {
            let sink = &mut self.sink;
            let mut on_field = |name: &[u8], value: &[u8]| {
                sink.header(name, value);
                Ok(())
            };
            let result = lines.finish().and_then(|line| {
                if let Some(line) = line {
                    fields.line(&line, &mut on_field)?;
                }
                fields.line(b"", &mut on_field)
            });
            match result {
                Ok(_) => self.sink.end_of_headers(),
                Err(rule) => self.sink.refuse(rule),
            }
        }
        self.sink
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
            self.sink.refuse(rule);
            self.place = Place::Refused;
        }
        match self.place {
            Place::Headers { .. } => Progress::More,
            Place::Body => self.sink.body(chunk),
            Place::Refused => Progress::Decided,
        }
    }

    fn headers(&mut self, chunk: &mut &[u8]) -> Result<(), Rule> {
        let Place::Headers { lines, fields } = &mut self.place else {
            return Ok(());
        };
        while let Some(line) = lines.take(chunk)? {
            let sink = &mut self.sink;
            let end = fields.line(&line, |name, value| {
                sink.header(name, value);
                Ok(())
            })?;
            if end {
                self.sink.end_of_headers();
                self.place = Place::Body;
                return Ok(());
            }
            lines.reuse(line);
        }
        Ok(())
    }
}
