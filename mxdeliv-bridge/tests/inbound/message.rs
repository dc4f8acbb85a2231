//! Messages, made by code.

use std::path::Path;
use std::sync::LazyLock;

use chatmail::Config;
use filtermail::dkim::{PrivateKey, Signer};
use filtermail::session::Edit;

/// The key of peers that sign, and where its record is.
pub static KEY: LazyLock<String> = LazyLock::new(|| {
    let key = PrivateKey::generate_ed25519().unwrap();
    key.to_pem().unwrap()
});
pub const RECORD: &str = "peer._domainkey.peer.example";

/// An encrypted message from somebody with about this many octets of cipher text.
pub fn encrypted(from: &str, size: usize) -> String {
    format!("{}\r\n{}", encrypted_head(from), encrypted_body(size))
}

/// Its header section, without the empty line.
pub fn encrypted_head(from: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: \"hidden-recipients\": ;\r\nSubject: [...]\r\n\
         Date: Sat, 01 Jan 2000 00:00:00 +0000\r\nMessage-ID: <1@localhost>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n\
         \tboundary=\"xyz\"\r\n"
    )
}

/// A cleartext message.
pub fn cleartext(from: &str) -> String {
    format!(
        "From: <{from}>\r\nSubject: hi\r\nMessage-ID: <2@localhost>\r\n\
         Content-Type: text/plain\r\n\r\nhello\r\n"
    )
}

/// The message with the signature of `peer.example`.
pub fn signed(message: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("peer.private"), KEY.as_str()).unwrap();
    let text = format!(
        "[params]\nmail_domain = peer.example\ndkim_selectors = peer\ndkim_keys_dir = {}\n",
        dir.path().display()
    );
    let (config, _) = Config::parse(&text, Path::new("chatmail.ini")).unwrap();
    let mut signing = Signer::load(&config).unwrap().unwrap().begin();
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let unbroken = head.replace("\r\n\t", "\n\t").replace("\r\n ", "\n ");
    for field in unbroken.split("\r\n") {
        let (name, value) = field.split_once(':').unwrap();
        signing.header(name.as_bytes(), value.as_bytes());
    }
    signing.body(body.as_bytes());
    let mut signed = message.to_owned();
    for edit in signing.finish(&[]).unwrap() {
        let Edit::Insert { name, value } = edit else {
            panic!("{edit:?}")
        };
        signed.insert_str(0, &format!("{name}: {}\r\n", value.replace('\n', "\r\n")));
    }
    signed
}

/// A session-key packet for a password and a packet of noise in place of cipher text (RFC 9580 sections
/// 5.3.1 and 5.13.1), in armor.
fn encrypted_body(size: usize) -> String {
    let mut packets = vec![0xC3, 13, 4, 9, 3, 8];
    packets.extend(noise(8));
    packets.push(0x60);
    let cipher_text = noise(size.max(64));
    packets.extend([0xD2, 0xFF]);
    packets.extend(u32::try_from(cipher_text.len() + 1).unwrap().to_be_bytes());
    packets.push(1);
    packets.extend(cipher_text);
    let mut body = String::from(
        "--xyz\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\
         --xyz\r\nContent-Type: application/octet-stream\r\n\r\n\
         -----BEGIN PGP MESSAGE-----\r\n\r\n",
    );
    for line in base64_simd::STANDARD
        .encode_to_string(packets)
        .as_bytes()
        .chunks(64)
    {
        body.push_str(str::from_utf8(line).unwrap());
        body.push_str("\r\n");
    }
    body.push_str("-----END PGP MESSAGE-----\r\n--xyz--\r\n");
    body
}

fn noise(octets: usize) -> Vec<u8> {
    let mut noise = vec![0; octets];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    noise
}
