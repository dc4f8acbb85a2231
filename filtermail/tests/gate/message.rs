//! Whole messages around armored data.

use filtermail::gate::{Direction, MessageReader, Verdict};

/// The message that Delta Chat writes around `ARMOR`.
const ENVELOPE: &str = concat!(
    "From: \"Alice\" <alice@example.org>\r\n",
    "To: \"hidden-recipients\": ;\r\n",
    "Subject: [...]\r\n",
    "Date: Fri, 20 Nov 2026 14:00:00 +0000\r\n",
    "MIME-Version: 1.0\r\n",
    "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n",
    "\tboundary=\"=_b0undary\"\r\n",
    "\r\n",
    "--=_b0undary\r\n",
    "Content-Type: application/pgp-encrypted; charset=\"utf-8\"\r\n",
    "Content-Description: PGP/MIME version identification\r\n",
    "\r\n",
    "Version: 1\r\n",
    "\r\n",
    "--=_b0undary\r\n",
    "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n",
    "Content-Description: OpenPGP encrypted message\r\n",
    "Content-Disposition: inline; filename=\"encrypted.asc\";\r\n",
    "\r\n",
    "ARMOR",
    "\r\n",
    "--=_b0undary--\r\n",
);

/// A securejoin request as older Delta Chat clients write it.
pub(crate) const SECUREJOIN: &str = concat!(
    "From: <alice@example.org>\r\n",
    "Secure-Join: vc-request\r\n",
    "Secure-Join-Invitenumber: 6TVi8sM5e\r\n",
    "Content-Type: multipart/mixed; boundary=\"inner\"\r\n",
    "\r\n",
    "\r\n",
    "--inner\r\n",
    "Content-Type: text/plain; charset=utf-8\r\n",
    "Content-Transfer-Encoding: 7bit\r\n",
    "\r\n",
    "Secure-Join: vc-request\r\n",
    "\r\n",
    "--inner--\r\n",
);

/// A message around an armored block whose lines end in LF or CRLF.
pub(crate) fn around(armor: &str) -> String {
    let armor: Vec<&str> = armor.lines().collect();
    ENVELOPE.replace("ARMOR", &(armor.join("\r\n") + "\r\n"))
}

/// The armored block of `data`, with its checksum.
pub(crate) fn armored(data: &[u8]) -> String {
    let checksum = crc24(data).to_be_bytes();
    let text = encode(data);
    let mut armor = String::from("-----BEGIN PGP MESSAGE-----\r\n\r\n");
    for line in text.as_bytes().chunks(64) {
        armor.extend(line.iter().copied().map(char::from));
        armor.push_str("\r\n");
    }
    armor + "=" + &encode(&checksum[1..]) + "\r\n-----END PGP MESSAGE-----\r\n"
}

/// The verdict on a message.
pub(crate) fn judge(direction: Direction, message: &[u8]) -> Verdict {
    judge_in_chunks(direction, message, message.len().max(1))
}

/// The verdict on a message that comes in chunks.
pub(crate) fn judge_in_chunks(direction: Direction, message: &[u8], size: usize) -> Verdict {
    let mut reader = MessageReader::new(direction);
    for chunk in message.chunks(size) {
        reader.push(chunk);
    }
    reader.finish()
}

fn encode(data: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(data)
}

/// As RFC 9580 section 6.1.1 describes it.
fn crc24(data: &[u8]) -> u32 {
    let register = data.iter().fold(0x00B7_04CE_u32, |register, octet| {
        (0..8).fold(register ^ u32::from(*octet) << 16, |register, _| {
            let shifted = register << 1;
            if shifted & 0x0100_0000 == 0 {
                shifted
            } else {
                shifted ^ 0x0186_4CFB
            }
        })
    });
    register & 0x00FF_FFFF
}
