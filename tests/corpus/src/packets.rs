//! OpenPGP packets made by hand, octet by octet, so that each can be made wrong.

use rand::{RngCore, SeedableRng, rngs::StdRng};

/// Random octets, the same for the same length.
pub fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(length as u64).fill_bytes(&mut bytes);
    bytes
}

/// Plain text.
pub fn text(length: usize) -> Vec<u8> {
    b"We meet at noon, as always. "
        .iter()
        .copied()
        .cycle()
        .take(length)
        .collect()
}

/// A packet in the current format with a five-octet length.
pub fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&[0xC0 | tag, 255], length.as_slice(), body].concat()
}

/// A packet in the legacy format with a two-octet length.
pub fn legacy_packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&[0x81 | tag << 2], length.as_slice(), body].concat()
}

/// A multiprecision integer of `bits` bits.
pub fn number(bits: u16) -> Vec<u8> {
    let mut octets = random(usize::from(bits.div_ceil(8)));
    let top = (bits - 1) % 8;
    octets[0] = octets[0] & ((1 << top) - 1) | 1 << top;
    [bits.to_be_bytes().as_slice(), &octets].concat()
}

/// A multiprecision integer with these octets; the first is not zero.
pub fn number_of(octets: &[u8]) -> Vec<u8> {
    let bits = octets.len() as u32 * 8 - octets[0].leading_zeros();
    [(bits as u16).to_be_bytes().as_slice(), octets].concat()
}

/// An X25519 point.
pub fn point() -> Vec<u8> {
    let mut point = random(32);
    point[31] &= 0x7F;
    point
}

/// A v3 PKESK body for a key id.
pub fn pkesk_v3(algorithm: u8, fields: &[&[u8]]) -> Vec<u8> {
    [&[3], random(8).as_slice(), &[algorithm], &fields.concat()].concat()
}

/// A v6 PKESK body with a hidden recipient.
pub fn pkesk_v6(algorithm: u8, fields: &[&[u8]]) -> Vec<u8> {
    [&[6, 0, algorithm], fields.concat().as_slice()].concat()
}

/// The PKESK that Delta Chat writes: v6, X25519, hidden recipient.
pub fn session_key() -> Vec<u8> {
    packet(1, &pkesk_v6(25, &[&point(), &[40], &random(40)]))
}

/// An iterated and salted S2K.
pub fn s2k() -> Vec<u8> {
    [&[3, 8], random(8).as_slice(), &[96]].concat()
}

/// A v2 SEIPD body with `length` random octets.
pub fn seipd_v2(length: usize) -> Vec<u8> {
    [&[2, 9, 2, 6], random(length).as_slice()].concat()
}

/// A SEIPD packet.
pub fn encrypted_data() -> Vec<u8> {
    packet(18, &seipd_v2(600))
}

/// A v6 SKESK body with these parameters: cipher 9, OCB, and an S2K.
pub fn skesk_v6(s2k: &[u8], counts: [u8; 2]) -> Vec<u8> {
    let [parameters, s2k_size] = counts;
    [
        &[6, parameters, 9, 2, s2k_size],
        s2k,
        &random(15),
        &random(48),
    ]
    .concat()
}

/// A Curve25519Legacy point.
pub fn curve25519() -> Vec<u8> {
    [&[0x40], random(32).as_slice()].concat()
}

/// An Argon2 S2K with these passes, lanes and memory.
pub fn argon2(parameters: [u8; 3]) -> Vec<u8> {
    [&[4], random(16).as_slice(), &parameters].concat()
}
