//! A picture of any size that cannot be compressed.

use rand::RngCore as _;

/// The largest stored block of RFC 1951 section 3.2.4.
const STORED_MAX: usize = 65_535;

/// A PNG of random grey pixels that is at least `bytes` long, and at most one row of pixels and
/// some headers longer.
pub fn noise_png(bytes: usize) -> Vec<u8> {
    let width = (bytes.isqrt() + 1).min(10_000);
    let height = bytes.div_ceil(width + 1).max(1);
    let mut pixels = vec![0; height * (width + 1)];
    rand::rng().fill_bytes(&mut pixels);
    // Each row begins with its filter: none.
    pixels
        .iter_mut()
        .step_by(width + 1)
        .for_each(|filter| *filter = 0);

    let mut header = Vec::new();
    header.extend_from_slice(&length(width));
    header.extend_from_slice(&length(height));
    // Eight bits per pixel, grey, and the only compression, filtering and interlacing there is.
    header.extend_from_slice(&[8, 0, 0, 0, 0]);

    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"IDAT", &zlib_stored(&pixels));
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend_from_slice(&length(data.len()));
    let start = png.len();
    png.extend_from_slice(kind);
    png.extend_from_slice(data);
    let crc = crc32(&png[start..]);
    png.extend_from_slice(&crc.to_be_bytes());
}

/// A zlib stream (RFC 1950) that compresses nothing.
fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let blocks = data.len().div_ceil(STORED_MAX);
    for (index, block) in data.chunks(STORED_MAX).enumerate() {
        stream.push(u8::from(index + 1 == blocks));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler32(data).to_be_bytes());
    stream
}

fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1, 0), |(low, high), &byte| {
        let low = (low + u32::from(byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}

pub(super) fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_the_standard_check_input() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_picture_is_as_large_as_asked() {
        for bytes in [1, 100, 200_000] {
            let png = noise_png(bytes);
            assert!(
                (bytes..bytes + bytes.isqrt() + 200).contains(&png.len()),
                "{}",
                png.len()
            );
            assert!(png.ends_with(b"IEND\xae\x42\x60\x82"));
        }
    }
}
