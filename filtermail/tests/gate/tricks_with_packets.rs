//! Sequences of packets, and the one with the encrypted data.

use filtermail::gate::Rule;

use crate::data::*;
use crate::message::{armored, around};
use crate::tricks::{Trick, data_trick, incoming};

pub(crate) fn packet_tricks() -> Vec<Trick> {
    let (key, data) = (session_key(), encrypted_data());
    let partial = |first: u8, length: usize| {
        [
            &[0xD2, first],
            seipd_v2(length - 4).as_slice(),
            &[40],
            &random(40),
        ]
        .concat()
    };
    let seipd = |head: &[u8], rest: &[u8]| packet(18, &[head, rest].concat());
    let short_keys: Vec<u8> = (0..40)
        .flat_map(|_| packet(1, &pkesk_v6(25, &[&point(), &[24], &text(24)])))
        .collect();
    let cases: Vec<(Rule, Vec<Vec<u8>>)> = vec![
        (Rule::PacketHeader, vec![text(200)]),
        (Rule::PacketHeader, vec![key.clone(), text(200)]),
        (Rule::PacketIndeterminate, vec![vec![0x87], random(200)]),
        (Rule::PacketPartial, vec![vec![0xC1, 0xE9], random(600)]),
        (Rule::PacketPartial, vec![key.clone(), partial(0xE8, 256)]),
        (Rule::PacketTag, vec![packet(11, &text(100))]),
        (
            Rule::PacketTag,
            vec![key.clone(), packet(11, b"b\0\0\0\0\0Hello"), data.clone()],
        ),
        (Rule::PacketTag, vec![key.clone(), packet(9, &random(200))]),
        (Rule::PacketTag, vec![key.clone(), packet(20, &random(200))]),
        (
            Rule::PacketTag,
            vec![key.clone(), packet(21, &random(200)), data.clone()],
        ),
        (
            Rule::PacketTag,
            vec![packet(60, &text(200)), key.clone(), data.clone()],
        ),
        (
            Rule::PacketTag,
            vec![packet(10, b"PGP"), key.clone(), data.clone()],
        ),
        (Rule::PacketTag, vec![key.clone(), packet(8, &random(200))]),
        (Rule::PacketTruncated, vec![Vec::new()]),
        (Rule::PacketTruncated, vec![key.clone()]),
        (
            Rule::PacketTruncated,
            vec![key.clone(), data[..data.len() - 1].to_vec()],
        ),
        (
            Rule::PacketTruncated,
            vec![
                key.clone(),
                vec![0xD2, 255, 255, 255, 255, 255],
                seipd_v2(500),
            ],
        ),
        (
            Rule::PacketTruncated,
            vec![key.clone(), vec![0xD2, 0xE9], seipd_v2(508)],
        ),
        (
            Rule::PacketTrailing,
            vec![key.clone(), data.clone(), text(1)],
        ),
        (
            Rule::PacketTrailing,
            vec![key.clone(), data.clone(), data.clone()],
        ),
        (
            Rule::PacketTrailing,
            vec![key.clone(), data.clone(), packet(21, &random(9))],
        ),
        (
            Rule::PacketTrailing,
            vec![key.clone(), data.clone(), packet(10, b"PGP")],
        ),
        (Rule::SessionKeyMissing, vec![data.clone()]),
        (
            Rule::SessionKeyCount,
            vec![packet(3, &[4, 9, 0, 8]).repeat(2001), data.clone()],
        ),
        (
            Rule::SessionKeySize,
            vec![packet(1, &random(20_000)), data.clone()],
        ),
        (
            Rule::SessionKeySize,
            vec![vec![0xC1, 255, 255, 255, 255, 255], random(600)],
        ),
        (Rule::SessionKeyPlain, vec![short_keys, data.clone()]),
        (
            Rule::DataVersion,
            vec![key.clone(), seipd(&[3], &random(100))],
        ),
        (Rule::DataVersion, vec![key.clone(), seipd(&[], &text(100))]),
        (
            Rule::DataAlgorithm,
            vec![key.clone(), seipd(&[2, 3, 2, 6], &random(100))],
        ),
        (
            Rule::DataAlgorithm,
            vec![key.clone(), seipd(&[2, 9, 0, 6], &random(100))],
        ),
        (
            Rule::DataAlgorithm,
            vec![key.clone(), seipd(&[2, 9, 4, 6], &random(100))],
        ),
        (
            Rule::DataAlgorithm,
            vec![key.clone(), seipd(&[2, 9, 2, 17], &random(100))],
        ),
        (Rule::DataShort, vec![key.clone(), seipd(&[1], &random(39))]),
        (
            Rule::DataShort,
            vec![key.clone(), seipd(&[2, 9, 2, 6], &random(47))],
        ),
        (Rule::DataShort, vec![key.clone(), seipd(&[2], &[])]),
        (Rule::DataShort, vec![key.clone(), seipd(&[], &[])]),
        (
            Rule::DataPlain,
            vec![key.clone(), seipd(&[2, 9, 2, 6], &text(60))],
        ),
        (
            Rule::DataPlain,
            vec![key.clone(), seipd(&[1], &text(100_000))],
        ),
        (
            Rule::DataPlain,
            vec![
                key.clone(),
                seipd(&[1], &[random(70_000), text(200), random(9000)].concat()),
            ],
        ),
    ];
    let mut tricks: Vec<Trick> = cases
        .into_iter()
        .map(|(rule, packets)| data_trick(rule, &packets))
        .collect();
    let marked = |packets: &[Vec<u8>]| around(&armored(&packets.concat())).into_bytes();
    let marker = packet(10, b"PGP");
    tricks.extend([
        incoming(
            Rule::MarkerContent,
            marked(&[packet(10, b"PGQ"), key.clone(), data.clone()]),
        ),
        incoming(
            Rule::MarkerContent,
            marked(&[packet(10, b"PGP!"), key.clone(), data.clone()]),
        ),
        incoming(
            Rule::PacketTag,
            marked(&[marker.clone(), marker.clone(), key.clone()]),
        ),
        incoming(Rule::PacketTag, marked(&[key, marker, data])),
    ]);
    tricks
}
