//! For fuzz targets: what is private otherwise.

use super::codec::Malformed;
use super::line_buffer::LineBuffer;

/// The lines of a stream that comes in these pieces, without their newlines.
///
/// # Errors
/// [`Malformed::TooLong`].
pub fn lines(pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut buffer = LineBuffer::default();
    let mut lines = Vec::new();
    for piece in pieces {
        buffer.space().extend_from_slice(piece);
        while let Some(line) = buffer.next_line()? {
            lines.push(line.to_vec());
        }
    }
    Ok(lines)
}
