//! ASCII armor (RFC 9580 section 6) with CRLF line ends.

/// Base64 characters per line, as OpenPGP programs write them.
const LINE: usize = 64;
const BEGIN: &str = "-----BEGIN PGP MESSAGE-----\r\n\r\n";
const END: &str = "-----END PGP MESSAGE-----\r\n";

/// Armors OpenPGP packets as a message, with the optional checksum or without.
pub(super) fn armor(packets: &[u8], checksum: bool) -> String {
    let base64 = base64_simd::STANDARD.encode_to_string(packets);
    let mut armored = String::with_capacity(armored_length(packets.len(), checksum));
    armored.push_str(BEGIN);
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        armored.push_str(line);
        armored.push_str("\r\n");
        rest = after;
    }
    if checksum {
        let [_, crc @ ..] = crc24(packets).to_be_bytes();
        armored.push('=');
        armored.push_str(&base64_simd::STANDARD.encode_to_string(crc));
        armored.push_str("\r\n");
    }
    armored.push_str(END);
    armored
}

/// How long the armor of this many bytes is.
pub(super) fn armored_length(packets: usize, checksum: bool) -> usize {
    let base64 = packets.div_ceil(3) * 4;
    let crc_line = if checksum { "=AAAA\r\n".len() } else { 0 };
    BEGIN.len() + base64 + 2 * base64.div_ceil(LINE) + crc_line + END.len()
}

/// RFC 9580 section 6.1.1.
fn crc24(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc24_table();
    bytes.iter().fold(0x00b7_04ce, |crc, byte| {
        let index = usize::from(byte ^ crc.to_be_bytes()[1]);
        (crc << 8 & 0x00ff_ffff) ^ TABLE[index]
    })
}

const fn crc24_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = (index as u32) << 16;
        let mut bit = 0;
        while bit < 8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn crc24_of_the_standard_check_input() {
        assert_eq!(crc24(b"123456789"), 0x0021_cf02);
        assert_eq!(crc24(b""), 0x00b7_04ce);
    }

    #[rstest]
    fn the_length_is_known_beforehand(
        #[values(1, 2, 3, 47, 48, 49, 96, 1000)] length: usize,
        #[values(true, false)] checksum: bool,
    ) {
        let armored = armor(&vec![0x55; length], checksum);
        assert_eq!(armored.len(), armored_length(length, checksum));
        assert!(armored.lines().all(|line| line.len() <= LINE));
    }
}
