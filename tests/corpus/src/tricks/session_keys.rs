//! Session-key packets: text in their fields, and fields of a wrong size that leave room for it.

use filtermail::gate::Rule;

use crate::message::with_packets;
use crate::packets::*;
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [
        versions_and_algorithms(),
        recipients(),
        lengths(),
        numbers(),
        points(),
        text_for_keys(),
    ]
    .concat()
}

/// A session key for a public key, with this body, in front of good data.
fn public(rule: Rule, name: &'static str, why: &'static str, body: Vec<u8>) -> Trick {
    trick(
        rule,
        name,
        why,
        with_packets(&[packet(1, &body), encrypted_data()]),
    )
}

fn versions_and_algorithms() -> Vec<Trick> {
    let x25519: [&[u8]; 3] = [&point(), &[40], &random(40)];
    let version = Rule::SessionKeyVersion;
    let algorithm = Rule::SessionKeyAlgorithm;
    vec![
        public(
            version,
            "session-key-of-version-2",
            "Older than any program: skipped, whatever is in it.",
            [&[2], pkesk_v3(1, &[&number(2048)]).as_slice()].concat(),
        ),
        public(
            version,
            "session-key-of-version-4",
            "There is none: skipped by all.",
            [&[4], pkesk_v6(25, &x25519).as_slice()].concat(),
        ),
        public(
            version,
            "session-key-of-version-255",
            "Skipped by all, and full of text.",
            [&[255], text(200).as_slice()].concat(),
        ),
        public(
            algorithm,
            "session-key-for-a-signature-key",
            "RSA for signatures only: no program decrypts with it.",
            pkesk_v3(3, &[&number(2048)]),
        ),
        public(
            algorithm,
            "session-key-for-ecdsa",
            "An algorithm that cannot encrypt: the fields may be anything.",
            pkesk_v6(22, &x25519),
        ),
        public(
            algorithm,
            "elgamal-in-version-6",
            "RFC 9580 forbids it.",
            pkesk_v6(16, &[&number(2048), &number(2048)]),
        ),
        public(
            algorithm,
            "session-key-of-a-private-algorithm",
            "Algorithms 100 to 110 mean what anybody wants; others skip them.",
            pkesk_v6(100, &[&text(120)]),
        ),
        public(
            algorithm,
            "session-key-for-an-unknown-cipher",
            "The cipher's number is free: one octet of text.",
            pkesk_v3(25, &[&point(), &[33, 1], &random(32)]),
        ),
    ]
}

fn recipients() -> Vec<Trick> {
    let rule = Rule::SessionKeyRecipient;
    let with_fingerprint = |size: u8, version: u8, fingerprint: &[u8]| {
        let x25519 = [point(), vec![40], random(40)].concat();
        [&[6, size, version], fingerprint, &[25], &x25519].concat()
    };
    vec![
        public(
            rule,
            "version-6-fingerprint-of-20-octets",
            "The version says 32, the size 20: two programs go on at two places.",
            with_fingerprint(21, 6, &random(20)),
        ),
        public(
            rule,
            "version-4-fingerprint-of-32-octets",
            "The version says 20, the size 32: twelve octets that nobody compares.",
            with_fingerprint(33, 4, &random(32)),
        ),
        public(
            rule,
            "fingerprint-of-a-draft-version",
            "Version 5 is no standard.",
            with_fingerprint(33, 5, &random(32)),
        ),
        public(
            rule,
            "fingerprint-without-octets",
            "A version and nothing behind it.",
            with_fingerprint(1, 4, &[]),
        ),
        public(
            rule,
            "letter-in-place-of-a-fingerprint",
            "The size has room for 254 octets.",
            with_fingerprint(255, 4, &text(254)),
        ),
    ]
}

fn lengths() -> Vec<Trick> {
    let rule = Rule::SessionKeyLength;
    let wrapped = random(40);
    vec![
        public(rule, "empty-session-key", "A header alone.", Vec::new()),
        public(
            rule,
            "session-key-of-one-octet",
            "A version alone.",
            vec![3],
        ),
        public(
            rule,
            "octet-behind-the-number",
            "Who reads the number alone never sees it.",
            pkesk_v3(1, &[&number(2048), b"x"]),
        ),
        public(
            rule,
            "text-behind-the-number",
            "Who reads the number alone never sees it.",
            pkesk_v3(1, &[&number(2048), &text(100)]),
        ),
        public(
            rule,
            "text-behind-the-wrapped-key",
            "Who goes by the size octet never sees it.",
            pkesk_v6(25, &[&point(), &[40], &wrapped, &text(60)]),
        ),
        public(
            rule,
            "wrapped-key-one-octet-long",
            "One octet more than the size says.",
            pkesk_v6(25, &[&point(), &[40], &random(41)]),
        ),
        public(
            rule,
            "wrapped-key-one-octet-short",
            "One octet fewer: read from what follows.",
            pkesk_v6(25, &[&point(), &[40], &random(39)]),
        ),
        public(
            rule,
            "wrapped-key-of-41-octets",
            "No AES key has this size.",
            pkesk_v6(25, &[&point(), &[41], &random(41)]),
        ),
        public(
            rule,
            "wrapped-key-of-255-octets",
            "Room for text behind the key.",
            pkesk_v6(25, &[&point(), &[255], &random(255)]),
        ),
        public(
            rule,
            "empty-wrapped-key",
            "A size of zero.",
            pkesk_v6(25, &[&point(), &[0]]),
        ),
        public(
            rule,
            "wrapped-key-of-another-cipher",
            "32 octets for AES-256, which needs 40.",
            pkesk_v3(25, &[&point(), &[33, 9], &random(32)]),
        ),
        public(
            rule,
            "post-quantum-cipher-text-one-octet-short",
            "All fields behind it are shifted by one.",
            pkesk_v6(35, &[&point(), &random(1087), &[40], &wrapped]),
        ),
        public(
            rule,
            "ecdh-key-of-56-octets",
            "More padding than a key needs: room for text.",
            pkesk_v3(18, &[&number_of(&curve25519()), &[56], &random(56)]),
        ),
        trick(
            Rule::SessionKeySize,
            "session-key-of-20-kilobytes",
            "Larger than any real one: room for anything that looks random.",
            with_packets(&[packet(1, &random(20_000)), encrypted_data()]),
        ),
        trick(
            Rule::SessionKeySize,
            "session-key-of-four-gigabytes",
            "Programs that allocate it first fall over.",
            with_packets(&[vec![0xC1, 255, 255, 255, 255, 255], random(600)]),
        ),
    ]
}

fn numbers() -> Vec<Trick> {
    let rule = Rule::SessionKeyNumber;
    vec![
        public(
            rule,
            "number-of-504-bits",
            "Smaller than any key in use.",
            pkesk_v3(1, &[&number(504)]),
        ),
        public(
            rule,
            "number-of-16392-bits",
            "Larger than any key in use.",
            pkesk_v3(1, &[&number(16_392)]),
        ),
        public(
            rule,
            "number-without-bits",
            "Zero is no cipher text.",
            pkesk_v3(1, &[&[0, 0]]),
        ),
        public(
            rule,
            "number-with-a-leading-zero",
            "The bit count says 2048, the octets fewer: cut or kept.",
            pkesk_v3(1, &[&[8, 0, 0], &random(255)]),
        ),
        public(
            rule,
            "number-with-too-few-bits-announced",
            "The first octet has more bits than announced: masked or kept.",
            pkesk_v3(1, &[&[7, 255, 0xFF], &random(255)]),
        ),
        public(
            rule,
            "second-elgamal-number-too-small",
            "The first number is as it should be.",
            pkesk_v3(16, &[&number(2048), &number(16)]),
        ),
    ]
}

fn points() -> Vec<Trick> {
    let rule = Rule::SessionKeyPoint;
    let ecdh = |point: &[u8]| pkesk_v3(18, &[&number_of(point), &[48], &random(48)]);
    let mut high = point();
    if let Some(last) = high.last_mut() {
        *last |= 0x80;
    }
    vec![
        public(
            rule,
            "x25519-point-with-its-top-bit",
            "Masked by all, so it is free: one bit a message.",
            pkesk_v6(25, &[&high, &[40], &random(40)]),
        ),
        public(
            rule,
            "point-of-an-unknown-form",
            "0x41 begins no point.",
            ecdh(&[&[0x41], random(32).as_slice()].concat()),
        ),
        public(
            rule,
            "curve25519-point-of-31-octets",
            "Too short.",
            ecdh(&[&[0x40], random(31).as_slice()].concat()),
        ),
        public(
            rule,
            "curve25519-point-of-33-octets",
            "Too long: an octet that nobody reads.",
            ecdh(&[&[0x40], random(33).as_slice()].concat()),
        ),
        public(
            rule,
            "point-of-no-curve",
            "Two coordinates of 33 octets: no curve has them.",
            ecdh(&[&[0x04], random(66).as_slice()].concat()),
        ),
        public(
            rule,
            "compressed-point",
            "0x02: RFC 9580 knows uncompressed ones only.",
            ecdh(&[&[0x02], random(32).as_slice()].concat()),
        ),
        public(
            rule,
            "p521-point-with-too-large-a-coordinate",
            "521 bits leave one bit in the first octet.",
            ecdh(&[&[4, 2], random(131).as_slice()].concat()),
        ),
    ]
}

fn text_for_keys() -> Vec<Trick> {
    let rule = Rule::SessionKeyPlain;
    let wrapped = random(40);
    let text_p521 = number_of(&[&[4, 1], text(65).as_slice(), &[1], &random(65)].concat());
    vec![
        public(
            rule,
            "text-in-the-wrapped-key",
            "Nobody but the recipient can tell that it is no key.",
            pkesk_v6(25, &[&point(), &[40], &text(40)]),
        ),
        public(
            rule,
            "text-in-the-rsa-number",
            "256 octets of text.",
            pkesk_v3(1, &[&number_of(&text(256))]),
        ),
        public(
            rule,
            "text-in-the-largest-rsa-number",
            "Two kilobytes of text.",
            pkesk_v3(1, &[&number_of(&text(2048))]),
        ),
        public(
            rule,
            "text-in-the-second-elgamal-number",
            "The first number is random.",
            pkesk_v3(16, &[&number(2048), &number_of(&text(256))]),
        ),
        public(
            rule,
            "text-in-the-post-quantum-cipher-text",
            "A kilobyte of text.",
            pkesk_v6(35, &[&point(), &text(1088), &[40], &wrapped]),
        ),
        public(
            rule,
            "text-in-the-largest-post-quantum-cipher-text",
            "A kilobyte and a half.",
            pkesk_v6(36, &[&random(56), &text(1568), &[40], &wrapped]),
        ),
        public(
            rule,
            "text-in-the-x448-point",
            "56 octets of text.",
            pkesk_v6(26, &[&text(56), &[40], &wrapped]),
        ),
        public(
            rule,
            "text-in-the-p521-point",
            "65 octets of text in one coordinate.",
            pkesk_v3(18, &[&text_p521, &[48], &random(48)]),
        ),
        public(
            rule,
            "text-in-the-ecdh-key",
            "48 octets of text.",
            pkesk_v3(18, &[&number_of(&curve25519()), &[48], &text(48)]),
        ),
        trick(
            rule,
            "letter-in-many-fingerprints",
            "32 octets of text in the name of each recipient.",
            {
                let x25519 = [point(), vec![40], random(40)].concat();
                let body = [&[6, 33, 6], text(32).as_slice(), &[25], &x25519].concat();
                with_packets(&[packet(1, &body).repeat(10), encrypted_data()])
            },
        ),
        trick(
            rule,
            "letter-in-many-key-ids",
            "Eight octets of text in the name of each recipient.",
            {
                let keys = (0..60).map(|_| {
                    let fields = [&[25], point().as_slice(), &[33, 8], &random(32)].concat();
                    packet(1, &[&[3], text(8).as_slice(), &fields].concat())
                });
                with_packets(&[keys.collect::<Vec<_>>().concat(), encrypted_data()])
            },
        ),
    ]
}
