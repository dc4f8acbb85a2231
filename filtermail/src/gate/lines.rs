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
#[derive(Debug)]
pub(super) struct Fields {
    name: Vec<u8>,
    value: Vec<u8>,
    value_max: usize,
}

impl Fields {
    /// Values of more than `value_max` octets need not be whole.
    pub(super) fn keeping(value_max: usize) -> Self {
        Self {
            name: Vec::new(),
            value: Vec::new(),
            value_max,
        }
    }

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
            if self.value.len() <= self.value_max {
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

impl Default for Fields {
    fn default() -> Self {
        Self::keeping(VALUE_MAX)
    }
}

/// Looks at the lines of a body without keeping them: CR and LF stand only together, NUL nowhere, no
/// line is longer than [`LINE_MAX`].
#[derive(Debug, Default)]
pub(crate) struct LineCheck {
    length: usize,
    carriage_return: bool,
}

impl LineCheck {
    /// Takes the next octets.
    ///
    /// # Errors
    /// The first rule that they break.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) -> Result<(), Rule> {
        while let Some((&first, behind)) = chunk.split_first() {
            if std::mem::take(&mut self.carriage_return) {
                if first != b'\n' {
                    return Err(Rule::BareLineEnding);
                }
                self.length = 0;
                chunk = behind;
                continue;
            }
            let special = |octet: &u8| matches!(octet, b'\r' | b'\n' | 0);
            let text = chunk.iter().position(special).unwrap_or(chunk.len());
            self.length = self.length.saturating_add(text);
            if self.length > LINE_MAX {
                return Err(Rule::LineTooLong);
            }
            match chunk.get(text) {
                None => return Ok(()),
                Some(0) => return Err(Rule::Nul),
                Some(b'\r') => self.carriage_return = true,
                Some(_) => return Err(Rule::BareLineEnding),
            }
            chunk = chunk.get(text + 1..).unwrap_or_default();
        }
        Ok(())
    }

    /// The body is complete.
    ///
    /// # Errors
    /// It ends in a CR.
    pub(crate) fn finish(&self) -> Result<(), Rule> {
        if self.carriage_return {
            return Err(Rule::BareLineEnding);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn check(body: &[u8], piece: usize) -> Result<(), Rule> {
        let mut lines = LineCheck::default();
        for chunk in body.chunks(piece) {
            lines.push(chunk)?;
        }
        lines.finish()
    }

    #[rstest]
    #[case(b"", Ok(()))]
    #[case(b"a\r\n\r\nb", Ok(()))]
    #[case(b"\r\n\r\n", Ok(()))]
    #[case(b"a\n", Err(Rule::BareLineEnding))]
    #[case(b"a\rb\r\n", Err(Rule::BareLineEnding))]
    #[case(b"a\r\r\n", Err(Rule::BareLineEnding))]
    #[case(b"a\r", Err(Rule::BareLineEnding))]
    #[case(b"a\0\r\n", Err(Rule::Nul))]
    #[case(b"a\r\0", Err(Rule::BareLineEnding))]
    fn lines_of_a_body(#[case] body: &[u8], #[case] expected: Result<(), Rule>) {
        for piece in 1..=body.len().max(1) {
            assert_eq!(check(body, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn lines_have_a_limit() {
        let mut longest = [b'x'; 2 * (LINE_MAX + 2)];
        longest[LINE_MAX..LINE_MAX + 2].copy_from_slice(b"\r\n");
        longest[2 * LINE_MAX + 2..].copy_from_slice(b"\r\n");
        for piece in [1, 7, longest.len()] {
            assert_eq!(check(&longest, piece), Ok(()));
            let too_long = [b"x".as_slice(), &longest].concat();
            assert_eq!(check(&too_long, piece), Err(Rule::LineTooLong));
        }
    }
}
