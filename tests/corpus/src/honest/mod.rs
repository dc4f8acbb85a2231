//! Encrypted mail as programs write it: order and form of the header fields, boundaries, part
//! headers, armor headers, versions of packets. Only the structure is theirs.

mod delta_chat;
mod desktop;
mod mobile;
mod webmail;

use crate::from_another;
use crate::message::checksum_line;
use crate::packets::{
    curve25519, encrypted_data, legacy_packet, number, number_of, packet, pkesk_v3, pkesk_v6,
    random, session_key,
};

/// A message that passes on its way in; Delta Chat's passes on its way out too.
#[derive(Clone, Debug)]
pub struct Honest {
    /// The program and what is special, in kebab-case; no two are the same.
    pub name: &'static str,
    /// Whether it may leave as well as come in.
    pub outgoing: bool,
    message: Vec<u8>,
}

impl Honest {
    /// The message as it goes over the wire, before dots are stuffed.
    pub fn message(&self) -> Vec<u8> {
        self.message.clone()
    }

    /// The same by another author, with the address wherever [`crate::AUTHOR`] stands.
    pub fn message_from(&self, author: &str) -> Vec<u8> {
        from_another(&self.message, author)
    }
}

/// Messages that must pass, at least 60 of them.
pub fn honest() -> Vec<Honest> {
    [
        delta_chat::honest(),
        desktop::honest(),
        mobile::honest(),
        webmail::honest(),
    ]
    .concat()
}

/// The frame of one program.
#[derive(Clone, Debug)]
struct Shape {
    /// Header fields before the Content-Type, without their last line end.
    fields: String,
    boundary: String,
    /// Everything in the Content-Type, with `BOUNDARY` where it stands.
    content_type: String,
    preamble: String,
    /// The fields of the first part, without their last line end.
    control: String,
    /// What follows the control part's only line.
    behind_version: String,
    /// The fields of the second part.
    encrypted: String,
    armor: String,
    /// What stands between the armor and the closing delimiter, and behind that.
    ends: [String; 2],
}

impl Shape {
    /// The plainest frame, around this armor.
    fn new(fields: &str, boundary: &str, armor: &str) -> Self {
        Self {
            fields: fields.into(),
            boundary: boundary.into(),
            content_type: "multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n \
                           boundary=\"BOUNDARY\""
                .into(),
            preamble: String::new(),
            control: "Content-Type: application/pgp-encrypted".into(),
            behind_version: "\r\n".into(),
            encrypted: "Content-Type: application/octet-stream; name=\"encrypted.asc\"".into(),
            armor: armor.replace("\r\n", "\n").replace('\n', "\r\n"),
            ends: ["\r\n".into(), "\r\n".into()],
        }
    }

    fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = content_type.into();
        self
    }

    fn preamble(mut self, preamble: &str) -> Self {
        self.preamble = preamble.into();
        self
    }

    fn control(mut self, fields: &str, behind_version: &str) -> Self {
        self.control = fields.into();
        self.behind_version = behind_version.into();
        self
    }

    fn encrypted(mut self, fields: &str) -> Self {
        self.encrypted = fields.into();
        self
    }

    fn ends(mut self, before: &str, behind: &str) -> Self {
        self.ends = [before.into(), behind.into()];
        self
    }

    fn message(&self) -> Vec<u8> {
        let Self {
            fields,
            boundary,
            preamble,
            control,
            behind_version,
            encrypted,
            armor,
            ends: [before, behind],
            ..
        } = self;
        let content_type = self.content_type.replace("BOUNDARY", boundary);
        format!(
            "{fields}\r\nContent-Type: {content_type}\r\n\r\n{preamble}--{boundary}\r\n\
             {control}\r\n\r\nVersion: 1\r\n{behind_version}--{boundary}\r\n\
             {encrypted}\r\n\r\n{armor}{before}--{boundary}--{behind}"
        )
        .into_bytes()
    }

    /// May come in.
    fn comes_in(self, name: &'static str) -> Honest {
        Honest {
            name,
            outgoing: false,
            message: self.message(),
        }
    }

    /// May leave too.
    fn leaves(self, name: &'static str) -> Honest {
        Honest {
            name,
            outgoing: true,
            message: self.message(),
        }
    }
}

/// An armored block with these armor headers, in lines of this length.
fn armor(headers: &[&str], line: usize, data: &[u8]) -> String {
    let block = crate::message::armored_with(data, line, true);
    with_headers(&block, headers)
}

/// The same without a checksum, as RFC 9580 section 6.1 advises.
fn armor_without_checksum(headers: &[&str], line: usize, data: &[u8]) -> String {
    armor(headers, line, data).replace(&checksum_line(data), "")
}

/// An armored block with armor headers put in.
fn with_headers(block: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    block.replacen("MESSAGE-----\r\n", &format!("MESSAGE-----\r\n{headers}"), 1)
}

/// Session key packets to RSA keys and data of version 1, as GnuPG wrote for twenty years: legacy
/// packet headers, partial lengths in the data.
fn classic_data(recipients: &[u16], length: usize) -> Vec<u8> {
    let keys = recipients
        .iter()
        .map(|&bits| legacy_packet(1, &pkesk_v3(1, &[&number(bits)])));
    [keys.collect::<Vec<_>>().concat(), streamed_data(length)].concat()
}

/// Data of version 1 in parts of 8 KiB, the last one as long as it needs to be.
fn streamed_data(length: usize) -> Vec<u8> {
    const PART: usize = 8192;
    let body = [&[1], random(length).as_slice()].concat();
    let mut packet = vec![0xD2];
    let parts = body.chunks_exact(PART);
    let last = parts.remainder();
    for part in parts {
        packet.push(0xED);
        packet.extend_from_slice(part);
    }
    packet.push(255);
    packet.extend_from_slice(&(last.len() as u32).to_be_bytes());
    packet.extend_from_slice(last);
    packet
}

/// A key of Curve25519 in its older form and data of version 1: GnuPG since 2.1.
fn curve_data(length: usize) -> Vec<u8> {
    let key = pkesk_v3(18, &[&number_of(&curve25519()), &[48], &random(48)]);
    let body = [&[1], random(length).as_slice()].concat();
    [legacy_packet(1, &key), packet(18, &body)].concat()
}

/// What Delta Chat writes today: a hidden recipient, data of version 2.
fn current_data() -> Vec<u8> {
    [session_key(), session_key(), encrypted_data()].concat()
}

/// The same to keys against quantum computers (ML-KEM-768 + X25519), a kilobyte each.
fn post_quantum_data(recipients: usize) -> Vec<u8> {
    const POINT: usize = 32;
    const ENCAPSULATED: usize = 1088;
    const WRAPPED: usize = 40;
    let octets = random(recipients * (POINT + ENCAPSULATED + WRAPPED));
    let keys = octets.chunks(POINT + ENCAPSULATED + WRAPPED).map(|octets| {
        let (point, rest) = octets.split_at(POINT);
        let (encapsulated, wrapped) = rest.split_at(ENCAPSULATED);
        let mut point = point.to_vec();
        if let Some(last) = point.last_mut() {
            *last &= 0x7F;
        }
        packet(1, &pkesk_v6(35, &[&point, encapsulated, &[40], wrapped]))
    });
    [keys.collect::<Vec<_>>().concat(), encrypted_data()].concat()
}
