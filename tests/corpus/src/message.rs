//! Messages that pass, the armor of any octets, and single changes to both.

use std::sync::LazyLock;

use crate::packets::{encrypted_data, session_key};

/// The boundary of [`good`].
pub const BOUNDARY: &str = "=_b0undary";

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
pub const SECUREJOIN: &str = concat!(
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

/// A message that passes in both directions: a session key for a hidden recipient and 600 octets of
/// cipher text, in a frame such as Delta Chat writes.
pub fn good() -> String {
    static GOOD: LazyLock<String> =
        LazyLock::new(|| around(&armored(&[session_key(), encrypted_data()].concat())));
    GOOD.clone()
}

/// The frame of [`good`] around an armored block whose lines end in LF or CRLF.
pub fn around(armor: &str) -> String {
    let armor: Vec<&str> = armor.lines().collect();
    ENVELOPE.replace("ARMOR", &(armor.join("\r\n") + "\r\n"))
}

/// The armored block of `data`, with its checksum.
pub fn armored(data: &[u8]) -> String {
    armored_with(data, 64, true)
}

/// The armored block of `data` in lines of this length, with its checksum or without.
pub fn armored_with(data: &[u8], line: usize, checksum: bool) -> String {
    let text = encode(data);
    let mut armor = String::from("-----BEGIN PGP MESSAGE-----\r\n\r\n");
    for line in text.as_bytes().chunks(line) {
        armor.extend(line.iter().copied().map(char::from));
        armor.push_str("\r\n");
    }
    if checksum {
        armor.push_str(&checksum_line(data));
    }
    armor + "-----END PGP MESSAGE-----\r\n"
}

/// The checksum line of `data`, with its line end.
pub fn checksum_line(data: &[u8]) -> String {
    let [_, checksum @ ..] = crc24(data).to_be_bytes();
    format!("={}\r\n", encode(&checksum))
}

/// [`good`] with the first `from` replaced.
///
/// # Panics
/// The message does not hold `from`: a trick that changes nothing is none.
pub fn edit(from: &str, to: &str) -> Vec<u8> {
    edit_in(&good(), from, to)
}

/// `message` with the first `from` replaced.
///
/// # Panics
/// As [`edit`].
pub fn edit_in(message: &str, from: &str, to: &str) -> Vec<u8> {
    assert!(message.contains(from), "{from:?} is not in the message");
    message.replacen(from, to, 1).into_bytes()
}

/// [`good`] with the first `from` replaced by octets that need not be UTF-8.
///
/// # Panics
/// As [`edit`].
pub fn edit_octets(from: &str, to: &[u8]) -> Vec<u8> {
    let good = good();
    let (before, behind) = good.split_once(from).expect("the message to hold it");
    [before.as_bytes(), to, behind.as_bytes()].concat()
}

/// [`good`] with this in the middle of its first line of base64.
pub fn in_base64(text: &str) -> Vec<u8> {
    let good = good();
    let (before, base64) = good
        .split_once("MESSAGE-----\r\n\r\n")
        .expect("the message to be armored");
    let (half, rest) = base64.split_at(30);
    format!("{before}MESSAGE-----\r\n\r\n{half}{text}{rest}").into_bytes()
}

/// [`good`] with more header fields at the end of its header section.
pub fn with_fields(fields: &str) -> Vec<u8> {
    edit("\r\n\r\n", &format!("\r\n{fields}\r\n\r\n"))
}

/// [`good`] with other packets in its armor.
pub fn with_packets(packets: &[Vec<u8>]) -> Vec<u8> {
    around(&armored(&packets.concat())).into_bytes()
}

/// A whole message from its header fields and body; a `From` comes first.
pub fn cleartext(fields: &str, body: &str) -> Vec<u8> {
    format!("From: <alice@example.org>\r\nMIME-Version: 1.0\r\n{fields}\r\n\r\n{body}").into_bytes()
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
