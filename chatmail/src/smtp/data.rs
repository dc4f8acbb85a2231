//! The message as it goes over the wire after `DATA` (RFC 5321 section 4.5.2).

/// Reads a message from the client up to the line with one dot.
///
/// The end is CRLF, dot, CRLF and nothing else. A message with a fault is read to that end as well,
/// so that the client gets its reply when it expects it and its next command is not lost; nothing of
/// it is passed on after the fault.
#[derive(Debug)]
pub struct DataDecoder {
    place: Place,
    room: u64,
    fault: Option<DataFault>,
}

/// What is wrong with a message on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataFault {
    /// A CR or LF that is not part of a CRLF (RFC 5321 section 2.3.8). Some programs would end a
    /// line there, and perhaps the message.
    #[error("bare CR or LF")]
    BareLineEnding,
    /// A NUL (RFC 5322 section 4).
    #[error("NUL")]
    Nul,
    /// More octets than are allowed.
    #[error("message too large")]
    TooLarge,
}

/// How far a message has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataProgress {
    /// All octets were taken, and the message goes on.
    More,
    /// The message has ended; the rest of the octets are not part of it.
    End(Result<(), DataFault>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    /// Behind a dot that begins a line.
    Dot,
    /// Behind such a dot and a CR.
    DotCarriageReturn,
    Line,
    /// Behind a CR.
    CarriageReturn,
}

impl DataDecoder {
    /// A message of at most `size_max` octets.
    pub fn new(size_max: u64) -> Self {
        Self {
            place: Place::LineStart,
            room: size_max,
            fault: None,
        }
    }

    /// Takes octets from the front of `input` and appends what they say to `message`, with CRLF at
    /// line ends and without the dots that were doubled.
    ///
    /// Call it no more after the end.
    pub fn take(&mut self, input: &mut &[u8], message: &mut Vec<u8>) -> DataProgress {
        while let Some(&first) = input.first() {
            let plain = self.plain_prefix(input);
            if plain > 0 {
                let (text, rest) = input.split_at(plain);
                *input = rest;
                self.place = Place::Line;
                self.keep(text, message);
                continue;
            }
            *input = input.get(1..).unwrap_or_default();
            if self.special(first, message) {
                return DataProgress::End(self.fault.map_or(Ok(()), Err));
            }
        }
        DataProgress::More
    }

    /// What is wrong with the message so far.
    pub fn fault(&self) -> Option<DataFault> {
        self.fault
    }

    /// How many octets at the front of `input` stand for themselves.
    fn plain_prefix(&self, input: &[u8]) -> usize {
        let begins = match self.place {
            Place::Line => true,
            Place::LineStart => input.first() != Some(&b'.'),
            _ => false,
        };
        if begins {
            let special = |octet: &u8| matches!(octet, b'\r' | b'\n' | 0);
            input.iter().position(special).unwrap_or(input.len())
        } else {
            0
        }
    }

    /// Takes one octet that may not stand for itself; returns whether the message ends with it.
    fn special(&mut self, octet: u8, message: &mut Vec<u8>) -> bool {
        self.place = match (self.place, octet) {
            (Place::DotCarriageReturn, b'\n') => return true,
            (Place::CarriageReturn, b'\n') => {
                self.keep(b"\r\n", message);
                Place::LineStart
            }
            (Place::LineStart, b'.') => Place::Dot,
            (Place::Dot, b'\r') => Place::DotCarriageReturn,
            (Place::CarriageReturn | Place::DotCarriageReturn, _) => {
                self.fail(DataFault::BareLineEnding);
                self.after(octet, message)
            }
            (Place::LineStart | Place::Dot | Place::Line, _) => self.after(octet, message),
        };
        false
    }

    /// Where `octet` leads inside a line.
    fn after(&mut self, octet: u8, message: &mut Vec<u8>) -> Place {
        match octet {
            b'\r' => return Place::CarriageReturn,
            b'\n' => self.fail(DataFault::BareLineEnding),
            0 => self.fail(DataFault::Nul),
            _ => self.keep(&[octet], message),
        }
        Place::Line
    }

    fn keep(&mut self, text: &[u8], message: &mut Vec<u8>) {
        if self.fault.is_some() {
            return;
        }
        // What fits is passed on, so that it does not matter how the octets came.
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let (fits, too_much) = text.split_at(text.len().min(room));
        message.extend_from_slice(fits);
        self.room -= fits.len() as u64;
        if !too_much.is_empty() {
            self.fail(DataFault::TooLarge);
        }
    }

    /// The first fault counts.
    fn fail(&mut self, fault: DataFault) {
        self.fault.get_or_insert(fault);
    }
}

/// Writes a message for the server, with the dots doubled that begin a line, up to the line with
/// one dot.
///
/// Lines must end in CRLF: what a server makes of anything else is not known, so it is not sent.
#[derive(Debug)]
pub struct DataEncoder {
    line_start: bool,
    carriage_return: bool,
}

impl DataEncoder {
    /// Starts with an empty message.
    pub fn new() -> Self {
        Self {
            line_start: true,
            carriage_return: false,
        }
    }

    /// Takes a piece of the message, cut anywhere, and appends what is to be sent.
    ///
    /// # Errors
    /// [`DataFault::BareLineEnding`], [`DataFault::Nul`]. The message cannot be sent, and what was
    /// sent of it cannot be taken back: close the connection.
    pub fn push(&mut self, mut message: &[u8], out: &mut Vec<u8>) -> Result<(), DataFault> {
        while let Some((&first, behind)) = message.split_first() {
            match (self.carriage_return, first) {
                (true, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    (self.carriage_return, self.line_start) = (false, true);
                    message = behind;
                }
                (true, _) | (false, b'\n') => return Err(DataFault::BareLineEnding),
                (false, b'\r') => {
                    self.carriage_return = true;
                    message = behind;
                }
                (false, 0) => return Err(DataFault::Nul),
                (false, _) => {
                    if self.line_start && first == b'.' {
                        out.push(b'.');
                    }
                    self.line_start = false;
                    let special = |octet: &u8| matches!(octet, b'\r' | b'\n' | 0);
                    let end = message.iter().position(special).unwrap_or(message.len());
                    let (text, rest) = message.split_at(end);
                    out.extend_from_slice(text);
                    message = rest;
                }
            }
        }
        Ok(())
    }

    /// The message is complete. One that does not end in CRLF gets one, since the line with the dot
    /// needs a line start.
    ///
    /// # Errors
    /// [`DataFault::BareLineEnding`] when the message ended in CR.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), DataFault> {
        if self.carriage_return {
            return Err(DataFault::BareLineEnding);
        }
        if !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        Ok(())
    }
}

impl Default for DataEncoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
