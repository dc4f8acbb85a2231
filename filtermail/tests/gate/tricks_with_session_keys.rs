//! Packets with session keys.

use filtermail::gate::Rule;

use crate::data::*;
use crate::tricks::{Trick, data_trick};

/// Session keys, each alone in front of good data.
pub(crate) fn session_key_tricks() -> Vec<Trick> {
    let wrapped = random(40);
    let x25519: [&[u8]; 3] = [&point(), &[40], &wrapped];
    let v6 = |size: u8, version: u8, length: usize| {
        let fields = [random(length), vec![25], x25519.concat()].concat();
        [&[6, size, version], fields.as_slice()].concat()
    };
    let mut high_point = point();
    high_point[31] |= 0x80;
    let p521 = |first: u8| number_of(&[&[4, first], random(131).as_slice()].concat());
    let text_p521 = number_of(&[&[4, 1], text(65).as_slice(), &[1], &random(65)].concat());
    let ecdh = |point: &[u8]| pkesk_v3(18, &[&number_of(point), &[48], &random(48)]);
    let skesk_v4 = |s2k: &[u8], key: &[u8]| [&[4, 9], s2k, key].concat();
    let public_key = [
        (
            Rule::SessionKeyVersion,
            [&[2], pkesk_v3(1, &[&number(2048)]).as_slice()].concat(),
        ),
        (
            Rule::SessionKeyVersion,
            [&[4], pkesk_v6(25, &x25519).as_slice()].concat(),
        ),
        (Rule::SessionKeyAlgorithm, pkesk_v3(3, &[&number(2048)])),
        (Rule::SessionKeyAlgorithm, pkesk_v6(22, &x25519)),
        (
            Rule::SessionKeyAlgorithm,
            pkesk_v6(16, &[&number(2048), &number(2048)]),
        ),
        (
            Rule::SessionKeyAlgorithm,
            pkesk_v3(25, &[&point(), &[33, 1], &random(32)]),
        ),
        (Rule::SessionKeyRecipient, v6(21, 6, 20)),
        (Rule::SessionKeyRecipient, v6(33, 4, 32)),
        (Rule::SessionKeyRecipient, v6(33, 5, 32)),
        (Rule::SessionKeyRecipient, v6(1, 4, 0)),
        (Rule::SessionKeyLength, Vec::new()),
        (Rule::SessionKeyLength, vec![3]),
        (Rule::SessionKeyLength, pkesk_v3(1, &[&number(2048), b"x"])),
        (
            Rule::SessionKeyLength,
            pkesk_v6(25, &[&point(), &[40], &random(41)]),
        ),
        (
            Rule::SessionKeyLength,
            pkesk_v6(25, &[&point(), &[40], &random(39)]),
        ),
        (
            Rule::SessionKeyLength,
            pkesk_v6(25, &[&point(), &[41], &random(41)]),
        ),
        (
            Rule::SessionKeyLength,
            pkesk_v3(25, &[&point(), &[33, 9], &random(32)]),
        ),
        (
            Rule::SessionKeyLength,
            pkesk_v6(35, &[&point(), &random(1087), &[40], &wrapped]),
        ),
        (
            Rule::SessionKeyLength,
            pkesk_v3(18, &[&number_of(&curve25519()), &[56], &random(56)]),
        ),
        (Rule::SessionKeyNumber, pkesk_v3(1, &[&number(504)])),
        (Rule::SessionKeyNumber, pkesk_v3(1, &[&number(16_392)])),
        (Rule::SessionKeyNumber, pkesk_v3(1, &[&[0, 0]])),
        (
            Rule::SessionKeyNumber,
            pkesk_v3(1, &[&[8, 0, 0], &random(255)]),
        ),
        (
            Rule::SessionKeyNumber,
            pkesk_v3(1, &[&[7, 255, 0xFF], &random(255)]),
        ),
        (
            Rule::SessionKeyPoint,
            pkesk_v6(25, &[&high_point, &[40], &wrapped]),
        ),
        (
            Rule::SessionKeyPoint,
            ecdh(&[&[0x41], random(32).as_slice()].concat()),
        ),
        (
            Rule::SessionKeyPoint,
            ecdh(&[&[0x40], random(31).as_slice()].concat()),
        ),
        (
            Rule::SessionKeyPoint,
            ecdh(&[&[0x04], random(66).as_slice()].concat()),
        ),
        (
            Rule::SessionKeyPoint,
            pkesk_v3(18, &[&p521(2), &[48], &random(48)]),
        ),
        (
            Rule::SessionKeyPlain,
            pkesk_v6(25, &[&point(), &[40], &text(40)]),
        ),
        (
            Rule::SessionKeyPlain,
            pkesk_v3(1, &[&number_of(&text(256))]),
        ),
        (
            Rule::SessionKeyPlain,
            pkesk_v6(35, &[&point(), &text(1088), &[40], &wrapped]),
        ),
        (
            Rule::SessionKeyPlain,
            pkesk_v3(18, &[&text_p521, &[48], &random(48)]),
        ),
        (
            Rule::SessionKeyPlain,
            pkesk_v3(18, &[&number_of(&curve25519()), &[48], &text(48)]),
        ),
    ];
    let password = [
        (
            Rule::SessionKeyVersion,
            [&[3, 9], s2k().as_slice()].concat(),
        ),
        (
            Rule::SessionKeyAlgorithm,
            [&[4, 5], s2k().as_slice()].concat(),
        ),
        (
            Rule::SessionKeyAlgorithm,
            [&[5, 9, 4], s2k().as_slice(), &random(63)].concat(),
        ),
        (
            Rule::SessionKeyAlgorithm,
            [&[5, 2, 2], s2k().as_slice(), &random(63)].concat(),
        ),
        (
            Rule::SessionKeyS2k,
            skesk_v4(&[&[2, 8], random(9).as_slice()].concat(), &[]),
        ),
        (
            Rule::SessionKeyS2k,
            skesk_v4(&[&[3, 7], random(9).as_slice()].concat(), &[]),
        ),
        (Rule::SessionKeyS2k, skesk_v4(&argon2([0, 1, 10]), &[])),
        (Rule::SessionKeyS2k, skesk_v4(&argon2([1, 0, 10]), &[])),
        (Rule::SessionKeyS2k, skesk_v4(&argon2([1, 4, 4]), &[])),
        (Rule::SessionKeyS2k, skesk_v4(&argon2([1, 4, 32]), &[])),
        (Rule::SessionKeyLength, skesk_v4(&s2k(), &random(34))),
        (
            Rule::SessionKeyLength,
            [&[5, 9, 2], s2k().as_slice(), &random(64)].concat(),
        ),
        (Rule::SessionKeyLength, skesk_v6(&s2k(), [28, 11])),
        (Rule::SessionKeyLength, skesk_v6(&s2k(), [29, 10])),
        (
            Rule::SessionKeyPlain,
            [&[5, 9, 2], s2k().as_slice(), &random(15), &text(48)].concat(),
        ),
    ];
    let tricks = public_key
        .into_iter()
        .map(|(rule, body)| (rule, packet(1, &body)));
    let tricks = tricks.chain(
        password
            .into_iter()
            .map(|(rule, body)| (rule, packet(3, &body))),
    );
    tricks
        .map(|(rule, key)| data_trick(rule, &[key, encrypted_data()]))
        .collect()
}
