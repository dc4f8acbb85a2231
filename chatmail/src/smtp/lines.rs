//! Lines out of octets.

/// Gathers the octets of a line until its CRLF.
///
/// A line with a fault is read to its CRLF and then reported once: a server can answer it and go on.
/// No more than the limit is held.
#[derive(Debug)]
pub struct Lines {
    line: Vec<u8>,
    limit: usize,
    carriage_return: bool,
    fault: Option<LineFault>,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// It is longer than the limit.
    #[error("line too long")]
    TooLong,
    /// It holds a CR or LF that is not part of a CRLF (RFC 5321 section 2.3.8).
    #[error("bare CR or LF")]
    BareLineEnding,
    /// It holds a NUL.
    #[error("NUL")]
    Nul,
}

impl Lines {
    /// Longest command in octets, its CRLF not counted: the 512 of RFC 5321 section 4.5.3.1.4 and
    /// what DSN (RFC 3461 section 4) and the other extensions add, rounded up.
    pub const COMMAND_MAX: usize = 2048;

    /// Lines of at most `limit` octets, their CRLF not counted.
    pub fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            limit,
            carriage_return: false,
            fault: None,
        }
    }

    /// Takes octets from the front of `input` up to the end of a line; gives the line without its
    /// CRLF, or what is wrong with it. `None`: all was taken and the line goes on.
    pub fn take(&mut self, input: &mut &[u8]) -> Option<Result<Vec<u8>, LineFault>> {
        while let Some((&octet, rest)) = input.split_first() {
            *input = rest;
            let after_carriage_return = std::mem::take(&mut self.carriage_return);
            match octet {
                b'\n' if after_carriage_return => {
                    let line = std::mem::take(&mut self.line);
                    return Some(self.fault.take().map_or(Ok(line), Err));
                }
                b'\n' => self.fail(LineFault::BareLineEnding),
                _ if after_carriage_return => self.fail(LineFault::BareLineEnding),
                _ => {}
            }
            match octet {
                b'\r' => self.carriage_return = true,
                b'\n' => {}
                0 => self.fail(LineFault::Nul),
                _ if self.line.len() == self.limit => self.fail(LineFault::TooLong),
                _ if self.fault.is_none() => self.line.push(octet),
                _ => {}
            }
        }
        None
    }

    /// Whether nothing of a line has come yet.
    pub fn at_start(&self) -> bool {
        self.line.is_empty() && !self.carriage_return && self.fault.is_none()
    }

    /// The first fault counts; the rest of the line is not kept.
    fn fail(&mut self, fault: LineFault) {
        self.fault.get_or_insert(fault);
        self.line = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(chunks: &[&[u8]]) -> Vec<Result<Vec<u8>, LineFault>> {
        let mut lines = Lines::new(8);
        let mut seen = Vec::new();
        for mut chunk in chunks.iter().copied() {
            while let Some(line) = lines.take(&mut chunk) {
                seen.push(line);
            }
            assert!(chunk.is_empty());
        }
        seen
    }

    #[test]
    fn only_crlf_ends_a_line() {
        let input =
            b"one\r\n\r\na\nb\r\nc\rd\r\ne\r\r\n\0\r\n12345678\r\n123456789\r\nlast\r\nopen";
        let line = |text: &str| Ok(text.as_bytes().to_vec());
        let expected = [
            line("one"),
            line(""),
            Err(LineFault::BareLineEnding),
            Err(LineFault::BareLineEnding),
            Err(LineFault::BareLineEnding),
            Err(LineFault::Nul),
            line("12345678"),
            Err(LineFault::TooLong),
            line("last"),
        ];
        assert_eq!(read(&[input]), expected);
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let mut lines = Lines::new(8);
        assert!(lines.at_start());
        assert_eq!(lines.take(&mut &[b'x'; 100_000][..]), None);
        assert!(!lines.at_start());
        assert!(lines.line.capacity() <= 8);
        let mut input = &b"\r\nQUIT\r\n"[..];
        assert_eq!(lines.take(&mut input), Some(Err(LineFault::TooLong)));
        assert_eq!(lines.take(&mut input), Some(Ok(b"QUIT".to_vec())));
        assert!(lines.at_start());
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_are_cut(
            text in "[ab\r\n\\x00]{0,60}",
            cuts in proptest::collection::vec(0_usize..60, 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&chunks), read(&[bytes]));
        }
    }
}
