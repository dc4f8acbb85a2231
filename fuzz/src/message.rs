//! Messages around what a fuzzer makes, and the gate's verdict on them.

use base64_simd::STANDARD;
use filtermail::gate::{Class, Direction, MessageReader, Verdict};

use crate::pieces::pieces;

/// Both ways a message can go.
pub const DIRECTIONS: [Direction; 2] = [Direction::Outgoing, Direction::Incoming];

/// What comes before the armored part of the smallest message that can pass.
const HEAD: &[u8] = b"From: <a@example.org>\r\n\
    Content-Type: multipart/encrypted; boundary=b\r\n\
    \r\n\
    --b\r\n\
    Content-Type: application/pgp-encrypted\r\n\
    \r\n\
    Version: 1\r\n\
    --b\r\n\
    Content-Type: application/octet-stream\r\n\
    \r\n";

const TAIL: &[u8] = b"\r\n--b--\r\n";

/// A message whose second part holds these octets.
#[must_use]
pub fn around(content: &[u8]) -> Vec<u8> {
    [HEAD, content, TAIL].concat()
}

/// How to write an armored block.
#[derive(Clone, Copy, Debug)]
pub struct ArmorStyle {
    /// Base64 characters in a line.
    pub line: usize,
    /// Whether there is a checksum line.
    pub checksum: bool,
}

impl ArmorStyle {
    /// As most programs write it.
    pub const USUAL: Self = Self {
        line: 64,
        checksum: false,
    };
    /// As few do, but may.
    pub const ODD: Self = Self {
        line: 76,
        checksum: true,
    };
}

/// An armored block around packets.
#[must_use]
pub fn armored(data: &[u8], style: ArmorStyle) -> Vec<u8> {
    let mut block = b"-----BEGIN PGP MESSAGE-----\r\n\r\n".to_vec();
    let mut text = STANDARD.encode_to_string(data).into_bytes();
    // Padding may not begin a line.
    let padding = text.iter().rev().take_while(|&&c| c == b'=').count();
    let line = if text.len() % style.line <= padding {
        style.line - 4
    } else {
        style.line
    };
    for line in text.chunks_mut(line) {
        block.extend_from_slice(line);
        block.extend_from_slice(b"\r\n");
    }
    if style.checksum {
        let [_, checksum @ ..] = crc24(data).to_be_bytes();
        let checksum = STANDARD.encode_to_string(checksum);
        block.extend_from_slice(format!("={checksum}\r\n").as_bytes());
    }
    block.extend_from_slice(b"-----END PGP MESSAGE-----\r\n");
    block
}

/// RFC 9580 section 6.1.1, bit by bit.
#[must_use]
pub fn crc24(data: &[u8]) -> u32 {
    let register = data.iter().fold(0x00B7_04CE_u32, |register, &octet| {
        (0..8).fold(register ^ u32::from(octet) << 16, |register, _| {
            let carry = register & 0x0080_0000 != 0;
            (register << 1 & 0x00FF_FFFF) ^ if carry { 0x0086_4CFB } else { 0 }
        })
    });
    register & 0x00FF_FFFF
}

/// The verdict on a message, which must not depend on the pieces that the message comes in.
#[must_use]
pub fn judge(direction: Direction, message: &[u8]) -> Verdict {
    let mut whole = MessageReader::new(direction);
    whole.push(message);
    let verdict = whole.finish();
    let mut cut = MessageReader::new(direction);
    for piece in pieces(message) {
        cut.push(piece);
    }
    assert_eq!(cut.finish(), verdict, "pieces change the verdict");
    verdict
}

/// The verdicts on a message both ways. What passes on the way out must pass on the way in.
#[must_use]
pub fn judge_both_ways(message: &[u8]) -> [Verdict; 2] {
    let verdicts = DIRECTIONS.map(|direction| judge(direction, message));
    let [outgoing, incoming] = &verdicts;
    if !matches!(outgoing.class, Class::Cleartext(_)) {
        assert_eq!(outgoing, incoming, "passes on the way out only");
    }
    verdicts
}
