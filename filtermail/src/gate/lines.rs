//! Lines out of chunks, and header fields out of lines.

use super::Rule;
use super::header::VALUE_MAX;

/// Longest line in octets without its CRLF (RFC 5322 section 2.1.1).
pub(super) const LINE_MAX: usize = 998;

/// Whether some programs end a line at a character that is not CR or LF: Python's `splitlines` and
/// its like do at form feeds, U+0085 and U+2028. All control characters count.
pub(super) fn may_end_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Gathers the octets of one line. CR and LF may stand only together, NUL nowhere.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    carriage_return: bool,
}

impl Lines {
    /// Takes octets from the front of `chunk`; gives the line, without its CRLF, when it is
    /// complete. Give it back with [`Lines::reuse`] to save an allocation.
    pub(super) fn take(&mut self, chunk: &mut &[u8]) -> Result<Option<Vec<u8>>, Rule> {
        while let Some((&octet, rest)) = chunk.split_first() {
            *chunk = rest;
            match (octet, self.carriage_return) {
                (0, _) => return Err(Rule::Nul),
                (b'\n', true) => {
                    self.carriage_return = false;
                    return Ok(Some(std::mem::take(&mut self.line)));
                }
                (b'\n', false) | (_, true) => return Err(Rule::BareLineEnding),
                (b'\r', false) => self.carriage_return = true,
                _ if self.line.len() == LINE_MAX => return Err(Rule::LineTooLong),
                _ => self.line.push(octet),
            }
        }
        Ok(None)
    }

    /// Whether the next octet is the first of a line.
    pub(super) fn at_start(&self) -> bool {
        self.line.is_empty() && !self.carriage_return
    }

    /// Takes back the memory of a line.
    pub(super) fn reuse(&mut self, mut line: Vec<u8>) {
        if self.line.is_empty() {
            line.clear();
            self.line = line;
        }
    }

    /// The last line, when the data ended without a CRLF.
    pub(super) fn finish(&mut self) -> Result<Option<Vec<u8>>, Rule> {
        if self.carriage_return {
            return Err(Rule::BareLineEnding);
        }
        let line = std::mem::take(&mut self.line);
        Ok(Some(line).filter(|line| !line.is_empty()))
    }
}

/// Joins the lines of a header section into fields (RFC 5322 section 2.2.3).
///
/// Of a value no more is kept than it takes to see that it is too long to be looked at.
#[derive(Debug, Default)]
pub(super) struct Fields {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Fields {
    /// Takes a line; gives the field before it to `on_field` when the line begins another.
    /// Returns whether the line was the empty one that ends the section.
    pub(super) fn line(
        &mut self,
        line: &[u8],
        on_field: impl FnOnce(&[u8], &[u8]) -> Result<(), Rule>,
    ) -> Result<bool, Rule> {
        if let Some(b' ' | b'\t') = line.first() {
            // Some parsers take a blank line for the end of the header, some for a continuation.
            let blank = line.iter().all(|octet| matches!(octet, b' ' | b'\t'));
            if blank || self.name.is_empty() {
                return Err(Rule::HeaderSyntax);
            }
            if self.value.len() <= VALUE_MAX {
                self.value.push(b'\n');
                self.value.extend_from_slice(line);
            }
            return Ok(false);
        }
        if !self.name.is_empty() {
            on_field(&self.name, &self.value)?;
        }
        self.name.clear();
        self.value.clear();
        if line.is_empty() {
            return Ok(true);
        }
        let colon = line
            .iter()
            .position(|&octet| octet == b':')
            .ok_or(Rule::HeaderSyntax)?;
        let (name, value) = line.split_at(colon);
        if name.is_empty() {
            return Err(Rule::HeaderSyntax);
        }
        self.name.extend_from_slice(name);
        self.value
            .extend_from_slice(value.get(1..).unwrap_or_default());
        Ok(false)
    }
}
