//! What rPGP reads in the octets that the gate let pass.

use std::io::Cursor;

use pgp::composed::{Edata, Message};
use pgp::packet::{Packet, PacketParser};
use pgp::ser::Serialize as _;

use crate::packets::split;

/// rPGP must read session keys and encrypted data, each to the last octet, and nothing else.
pub fn assert_encrypted(data: &[u8]) {
    let expected = split(data).expect("packets fill the data exactly");
    let read: Vec<Packet> = PacketParser::new(Cursor::new(data))
        .collect::<Result<_, _>>()
        .expect("rPGP reads each packet");
    assert_eq!(read.len(), expected.len(), "as many packets to rPGP");
    for (at, (packet, expected)) in read.iter().zip(&expected).enumerate() {
        let last = at + 1 == read.len();
        let body = match packet {
            Packet::Marker(_) if at == 0 => continue,
            Packet::PublicKeyEncryptedSessionKey(key) if !last => key.to_bytes(),
            Packet::SymKeyEncryptedSessionKey(key) if !last => key.to_bytes(),
            Packet::SymEncryptedProtectedData(data) if last => data.to_bytes(),
            other => panic!("not in an encrypted message: {other:?}"),
        };
        let body = body.expect("rPGP writes what it has read");
        assert_eq!(body, expected.body, "rPGP keeps each octet of the packet");
    }
}

/// rPGP must read this armored block as one encrypted message.
pub fn assert_encrypted_armor(block: &[u8]) {
    let (message, _) = Message::from_armor(block).expect("rPGP reads the message");
    // Session keys of the other version than the data's are dropped by rPGP.
    let Message::Encrypted { edata, .. } = message else {
        panic!("not an encrypted message to rPGP");
    };
    assert!(
        matches!(edata, Edata::SymEncryptedProtectedData { .. }),
        "not integrity protected to rPGP"
    );
}
