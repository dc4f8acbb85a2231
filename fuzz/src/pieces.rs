//! Octets as they come from a socket: in pieces of any size.

use crate::noise::Noise;

/// Cuts `data` at places that follow from the data itself: mostly pieces of a few octets, some of
/// one, some of many.
#[must_use]
pub fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let mut noise = Noise::new(data);
    let mut pieces = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let number = noise.number() >> 16;
        let size = match number % 8 {
            0..=2 => 1,
            3..=5 => 2 + number as usize / 8 % 14,
            _ => 1 + number as usize / 8 % 2000,
        };
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}
