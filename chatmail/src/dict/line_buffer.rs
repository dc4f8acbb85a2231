//! Lines out of the bytes of a socket.

use super::LINE_MAX;
use super::codec::Malformed;

/// Bytes as they come from a socket, taken out line by line.
///
/// Holds little while idle, and never much more than [`LINE_MAX`].
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no newline: no byte is searched twice.
    searched: usize,
}

impl LineBuffer {
    /// Room that is kept while nothing is buffered.
    const IDLE_CAPACITY: usize = 1024;

    /// Where to append what the socket has. Call it when [`LineBuffer::next_line`] has no more.
    pub(super) fn space(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(Self::IDLE_CAPACITY);
        }
        if self.bytes.len() == self.bytes.capacity() {
            // Doubles: a client that pipelines soon has large reads.
            self.bytes
                .reserve(self.bytes.len().max(Self::IDLE_CAPACITY));
        }
        &mut self.bytes
    }

    /// The next whole line without its newline.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] when the line is longer than [`LINE_MAX`], whole or not.
    pub(super) fn next_line(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(length) = unsearched.iter().position(|&byte| byte == b'\n') else {
            self.searched = self.bytes.len();
            let too_long = self.searched - self.start > LINE_MAX;
            return if too_long {
                Err(Malformed::TooLong)
            } else {
                Ok(None)
            };
        };
        let (start, end) = (self.start, self.searched + length);
        self.start = end + 1;
        self.searched = self.start;
        if end - start > LINE_MAX {
            return Err(Malformed::TooLong);
        }
        Ok(self.bytes.get(start..end))
    }

    /// Whether all that came has been taken out, with no part of a line left.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines_of(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, Malformed> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            buffer.space().extend_from_slice(chunk);
            while let Some(line) = buffer.next_line()? {
                lines.push(line.to_vec());
            }
        }
        Ok(lines)
    }

    #[test]
    fn a_line_may_have_64_kib_and_no_more() {
        let mut line = vec![b'x'; LINE_MAX];
        assert_eq!(lines_of(&[&line]), Ok(vec![]));
        assert_eq!(lines_of(&[&line, b"\n"]), Ok(vec![line.clone()]));
        line.push(b'x');
        assert_eq!(lines_of(&[&line]), Err(Malformed::TooLong));
        line.push(b'\n');
        assert_eq!(lines_of(&[&line]), Err(Malformed::TooLong));
    }

    #[test]
    fn an_idle_buffer_gives_its_memory_back() {
        let mut buffer = LineBuffer::default();
        buffer.space().extend_from_slice(&vec![b'\n'; LINE_MAX]);
        while buffer.next_line().unwrap().is_some() {}
        assert!(buffer.is_empty());
        assert!(buffer.space().capacity() <= 2 * LineBuffer::IDLE_CAPACITY);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_are_cut(
            text in "[ab\n]{0,200}",
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let mut expected: Vec<_> =
                bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            expected.pop();
            prop_assert_eq!(lines_of(&chunks), Ok(expected));
        }
    }
}
