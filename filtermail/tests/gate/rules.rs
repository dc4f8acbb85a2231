//! One trick after another, each with the rule that stops it.

use std::collections::BTreeSet;

use filtermail::gate::Direction::{Incoming, Outgoing};
use filtermail::gate::{Class, Direction, Gate, MessageReader, Rule};
use rstest::rstest;

use crate::data::*;
use crate::message::{SECUREJOIN, armored, around, judge};

/// A message that one change makes wrong.
struct Trick {
    message: Vec<u8>,
    direction: Direction,
    rule: Rule,
}

/// A good message.
fn good() -> String {
    around(&armored(&[session_key(), encrypted_data()].concat()))
}

/// Replaces the first `from` in a good message, or in a good securejoin request.
fn edit(of: &str, from: &str, to: &str) -> Vec<u8> {
    assert!(of.contains(from), "{from:?} is not in the message");
    of.replacen(from, to, 1).into_bytes()
}

fn header_and_mime_tricks() -> Vec<Trick> {
    let table: &[(Rule, &str, &str)] = &[
        (Rule::Nul, "[...]", "[.\0.]"),
        (Rule::Nul, "\r\nVersion: 1", "\r\nVersion:\01"),
        (Rule::BareLineEnding, "[...]", "[.\n.]"),
        (Rule::BareLineEnding, "[...]", "[.\r.]"),
        (
            Rule::BareLineEnding,
            "\r\nVersion: 1\r\n",
            "\r\nVersion: 1\n",
        ),
        (
            Rule::BareLineEnding,
            "MESSAGE-----\r\n\r\n",
            "MESSAGE-----\r\n\n",
        ),
        (Rule::HeaderSyntax, "Subject: [...]", "Subject [...]"),
        (Rule::HeaderSyntax, "Subject: [...]", "Subject : [...]"),
        (Rule::HeaderSyntax, "Subject: [...]", ": [...]"),
        (
            Rule::HeaderSyntax,
            "Subject: [...]\r\n",
            "Subject: [...]\r\n \r\n",
        ),
        (Rule::HeaderSyntax, "From:", " From:"),
        (
            Rule::HeaderSyntax,
            "Content-Description: Open",
            "--=_b0undary\r\nX: ",
        ),
        (Rule::FromMissing, "From:", "Sender:"),
        (
            Rule::FromRepeated,
            "Subject:",
            "from: <bob@example.org>\r\nSubject:",
        ),
        (
            Rule::ContentTypeMissing,
            "Content-Type: multipart/encrypted;",
            "X: ",
        ),
        (
            Rule::ContentTypeRepeated,
            "Subject:",
            "Content-type: text/plain\r\nSubject:",
        ),
        (Rule::ContentTypeSyntax, "multipart/encrypted", "multipart"),
        (
            Rule::ContentTypeSyntax,
            "multipart/encrypted",
            "multipart/encrypted/mixed",
        ),
        (Rule::ContentTypeSyntax, "\"=_b0undary\"", "\"=_b0undary"),
        (
            Rule::ContentTypeSyntax,
            "\"=_b0undary\"",
            "\"=_b0undary\" x",
        ),
        (Rule::ContentTypeSyntax, "\"=_b0undary\"", "=_b0undary"),
        (
            Rule::ContentTypeSyntax,
            "\"=_b0undary\"",
            "\"=_b0\\undary\"",
        ),
        (
            Rule::ContentTypeSyntax,
            "\"=_b0undary\"",
            "\"=_b0\r\n undary\"",
        ),
        (
            Rule::ContentTypeSyntax,
            "multipart/encrypted",
            "multipart/encryptéd",
        ),
        (
            Rule::ContentTypeComment,
            "multipart/encrypted",
            "multipart/encrypted (x)",
        ),
        (
            Rule::ContentTypeComment,
            "\"=_b0undary\"",
            "\"=_b0undary\" (x)",
        ),
        (
            Rule::ContentTypeComment,
            "\tboundary=",
            "\t(boundary=x) boundary=",
        ),
        (Rule::ContentTypeExtended, "boundary=", "boundary*="),
        (Rule::ContentTypeExtended, "boundary=", "boundary*0="),
        (
            Rule::ContentTypeParameterRepeated,
            "boundary=",
            "boundary=x; Boundary=",
        ),
        (
            Rule::MimeVersionRepeated,
            "Subject:",
            "Mime-Version: 1.0\r\nSubject:",
        ),
        (
            Rule::TransferEncodingRepeated,
            "Subject:",
            "Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 7bit\r\nSubject:",
        ),
        (
            Rule::TransferEncoding,
            "Subject:",
            "Content-Transfer-Encoding: base64\r\nSubject:",
        ),
        (
            Rule::TransferEncoding,
            "Content-Description: Open",
            "Content-Transfer-Encoding: base64\r\nContent-Description: Open",
        ),
        (
            Rule::TransferEncoding,
            "Content-Description: Open",
            "Content-Transfer-Encoding: quoted-printable\r\nContent-Description: Open",
        ),
        (Rule::NotEncrypted, "multipart/encrypted", "multipart/mixed"),
        (Rule::NotEncrypted, "multipart/encrypted", "text/plain"),
        (
            Rule::Protocol,
            "protocol=\"application/pgp-",
            "protocol=\"application/smime-",
        ),
        (Rule::BoundaryMissing, "boundary=", "bounds="),
        (
            Rule::BoundarySyntax,
            "boundary=\"=_b0undary\"",
            "boundary=\"\"",
        ),
        (
            Rule::BoundarySyntax,
            "boundary=\"=_b0undary\"",
            "boundary=\"=_b0undary \"",
        ),
        (
            Rule::BoundarySyntax,
            "boundary=\"=_b0undary\"",
            "boundary=\"b;oundary\"",
        ),
        (
            Rule::BoundarySyntax,
            "boundary=\"=_b0undary\"",
            "boundary=\"=?utf-8?q?b?=\"",
        ),
        (
            Rule::PreambleText,
            "--=_b0undary\r\n",
            "Hello\r\n--=_b0undary\r\n",
        ),
        (Rule::PreambleText, "--=_b0undary\r\n", " --=_b0undary\r\n"),
        (
            Rule::EpilogueText,
            "--=_b0undary--\r\n",
            "--=_b0undary--\r\n\r\nHello",
        ),
        (
            Rule::PartMissing,
            "\r\n--=_b0undary\r\nContent-Type: application/oct",
            "\r\n--=_b0undary--\r\nX",
        ),
        (
            Rule::PartExtra,
            "--=_b0undary--",
            "--=_b0undary\r\n\r\nHello\r\n--=_b0undary--",
        ),
        (
            Rule::PartExtra,
            "--=_b0undary--",
            "--=_b0undary--\r\n--=_b0undary",
        ),
        (
            Rule::PartNested,
            "application/octet-stream;",
            "multipart/mixed; boundary=x;",
        ),
        (
            Rule::PartNested,
            "application/octet-stream;",
            "message/rfc822;",
        ),
        (
            Rule::PartHeader,
            "Content-Description: Open",
            "Subject: Hello",
        ),
        (
            Rule::PartHeader,
            "Content-Description: PGP",
            "X-Text: Hello",
        ),
        (
            Rule::PartHeaderRepeated,
            "Content-Disposition: inline",
            "Content-Description: Hello",
        ),
        (
            Rule::PartHeaderRepeated,
            "Content-Disposition:",
            "Content-Type: text/plain\r\nX:",
        ),
        (Rule::PartType, "application/octet-stream", "text/plain"),
        (
            Rule::PartType,
            "application/pgp-encrypted; charset",
            "application/pgp; charset",
        ),
        (
            Rule::PartType,
            "Content-Type: application/octet-stream;",
            "Content-ID:",
        ),
        (
            Rule::DelimiterAmbiguous,
            "--=_b0undary\r\n",
            "--=_b0undaryX\r\n",
        ),
        (
            Rule::DelimiterAmbiguous,
            "--=_b0undary--\r\n",
            "--=_b0undary-\r\n",
        ),
        (
            Rule::DelimiterAmbiguous,
            "--=_b0undary--\r\n",
            "--=_b0undary--x\r\n",
        ),
        (Rule::ClosingDelimiterMissing, "--=_b0undary--\r\n", ""),
        (
            Rule::ArmorTrailing,
            "--=_b0undary--\r\n",
            " --=_b0undary--\r\n",
        ),
        (Rule::VersionText, "Version: 1\r\n", "Version: 2\r\n"),
        (
            Rule::VersionText,
            "Version: 1\r\n",
            "Version: 1\r\nHello\r\n",
        ),
        (Rule::VersionText, "Version: 1\r\n", "\r\n"),
        (Rule::ArmorBegin, "-----BEGIN", "Hello\r\n-----BEGIN"),
        (Rule::ArmorBegin, "-----BEGIN", "\r\n-----BEGIN"),
        (
            Rule::ArmorBegin,
            "-----BEGIN PGP MESSAGE",
            "-----BEGIN PGP SIGNED MESSAGE",
        ),
        (
            Rule::ArmorHeader,
            "MESSAGE-----\r\n",
            "MESSAGE-----\r\nVersion: GnuPG v2\r\n",
        ),
        (
            Rule::ArmorHeader,
            "MESSAGE-----\r\n",
            "MESSAGE-----\r\nHello",
        ),
        (
            Rule::ArmorBase64,
            "MESSAGE-----\r\n\r\n",
            "MESSAGE-----\r\n\r\nA b",
        ),
        (
            Rule::ArmorBase64,
            "MESSAGE-----\r\n\r\n",
            "MESSAGE-----\r\n\r\n\r\n",
        ),
        (
            Rule::ArmorBase64,
            "MESSAGE-----\r\n\r\n",
            "MESSAGE-----\r\n\r\n ",
        ),
        (Rule::ArmorPadding, "-----END", "AAAA\r\n-----END"),
        (Rule::ArmorEnd, "-----END", "Hello\r\n-----END"),
        (Rule::ArmorEnd, "-----END PGP MESSAGE-----\r\n", ""),
        (
            Rule::ArmorTrailing,
            "-----END PGP MESSAGE-----\r\n",
            "-----END PGP MESSAGE-----\r\nHello",
        ),
    ];
    let good = good();
    let mut tricks: Vec<Trick> = table
        .iter()
        .filter(|(rule, ..)| *rule != Rule::ArmorPadding && *rule != Rule::ArmorEnd)
        .map(|&(rule, from, to)| outgoing(rule, edit(&good, from, to)))
        .collect();
    // These stand behind the checksum line, which would be read first.
    let checksum = good.lines().find(|line| line.starts_with('=')).unwrap();
    let without_checksum = good.replacen(&format!("{checksum}\r\n"), "", 1);
    let of_armor = table.iter().filter(|(rule, ..)| *rule == Rule::ArmorEnd);
    tricks.extend(of_armor.map(|&(rule, from, to)| outgoing(rule, edit(&good, from, to))));
    tricks.extend([
        outgoing(
            Rule::ArmorPadding,
            edit(&without_checksum, "-----END", "A\r\n-----END"),
        ),
        outgoing(Rule::ArmorChecksumSyntax, edit(&good, checksum, "=abc")),
        outgoing(Rule::ArmorChecksumSyntax, edit(&good, checksum, "=abc!")),
        outgoing(Rule::ArmorChecksum, edit(&good, checksum, "=AAAA")),
        outgoing(
            Rule::ArmorEnd,
            edit(&good, checksum, &format!("{checksum}\r\n{checksum}")),
        ),
        outgoing(Rule::ArmorTrailing, {
            let block = armored(&[session_key(), encrypted_data()].concat());
            edit(&good, &block, &format!("{block}{block}"))
        }),
        outgoing(Rule::LineTooLong, edit(&good, "[...]", &"x".repeat(999))),
        outgoing(
            Rule::LineTooLong,
            edit(
                &good,
                "\r\nVersion: 1",
                &("\r\n".to_owned() + &" ".repeat(999)),
            ),
        ),
        outgoing(
            Rule::BoundarySyntax,
            good.replace("=_b0undary", &"b".repeat(71)).into_bytes(),
        ),
        outgoing(
            Rule::HeaderTooLong,
            edit(
                &good,
                "boundary=",
                &format!("x={}x; boundary=", "x\r\n ".repeat(700)),
            ),
        ),
        outgoing(
            Rule::HeaderTooLong,
            edit(&good, "OpenPGP enc", &format!("O{}", "x\r\n ".repeat(700))),
        ),
        incoming(
            Rule::PreambleText,
            edit(
                &good,
                "--=_b0undary\r\n",
                &("Hello\r\n".repeat(147) + "--=_b0undary\r\n"),
            ),
        ),
        incoming(
            Rule::ArmorHeader,
            edit(&good, "MESSAGE-----\r\n", "MESSAGE-----\r\nText: Hello\r\n"),
        ),
        incoming(
            Rule::ArmorHeader,
            edit(
                &good,
                "MESSAGE-----\r\n",
                &("MESSAGE-----\r\n".to_owned() + &"Comment: Hello world\r\n".repeat(60)),
            ),
        ),
    ]);
    tricks
}

fn from_and_securejoin_tricks() -> Vec<Trick> {
    let request = SECUREJOIN;
    let twice = "Secure-Join: vc-request\r\nSecure-Join: vc-request\r\n";
    vec![
        outgoing(Rule::NotEncrypted, edit(request, "Secure-Join:", "X:")),
        outgoing(
            Rule::SecureJoinRepeated,
            edit(request, "Secure-Join: vc-request\r\n", twice),
        ),
        outgoing(
            Rule::SecureJoinStep,
            edit(request, "Join: vc-request", "Join: vc-auth-required"),
        ),
        outgoing(
            Rule::SecureJoinStep,
            edit(request, "Join: vc-request", "Join: Hello"),
        ),
        outgoing(
            Rule::SecureJoinType,
            edit(request, "multipart/mixed", "multipart/alternative"),
        ),
        outgoing(
            Rule::SecureJoinType,
            edit(request, "multipart/mixed", "text/plain"),
        ),
        outgoing(
            Rule::SecureJoinText,
            edit(request, "Join: vc-request", "Join: vg-request"),
        ),
        outgoing(
            Rule::SecureJoinText,
            edit(request, "request\r\n\r\n--", "request\r\nHello\r\n--"),
        ),
        outgoing(
            Rule::SecureJoinText,
            edit(request, "request\r\n\r\n--", "request Hello\r\n--"),
        ),
        outgoing(Rule::TransferEncoding, edit(request, "7bit", "base64")),
        outgoing(Rule::PartType, edit(request, "text/plain", "text/html")),
        outgoing(
            Rule::PartHeader,
            edit(request, "Content-Transfer-Encoding: 7bit", "X: Hello"),
        ),
        outgoing(
            Rule::PartExtra,
            edit(request, "--inner--", "--inner\r\n\r\nHello\r\n--inner--"),
        ),
        outgoing(
            Rule::PartMissing,
            edit(request, "--inner\r\n", "--inner--\r\n"),
        ),
        outgoing(
            Rule::CleartextTooLarge,
            edit(
                request,
                "--inner--\r\n",
                &("--inner--\r\n".to_owned() + &"\r\n".repeat(1 << 19)),
            ),
        ),
    ]
}

/// Session keys, each alone in front of good data.
fn session_key_tricks() -> Vec<Trick> {
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

fn packet_tricks() -> Vec<Trick> {
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

/// Rules of the From header that only [`filtermail::gate::Verdict::from`] can fail.
const FROM_RULES: [(Rule, &str); 5] = [
    (Rule::FromSyntax, "Alice"),
    (Rule::FromComment, "alice@example.org (Alice)"),
    (Rule::FromGroup, "Friends: alice@example.org;"),
    (Rule::FromSeveral, "alice@example.org, bob@example.org"),
    (Rule::FromAddress, "<alice>"),
];

fn outgoing(rule: Rule, message: Vec<u8>) -> Trick {
    Trick {
        message,
        direction: Outgoing,
        rule,
    }
}

fn incoming(rule: Rule, message: Vec<u8>) -> Trick {
    Trick {
        message,
        direction: Incoming,
        rule,
    }
}

fn data_trick(rule: Rule, packets: &[Vec<u8>]) -> Trick {
    outgoing(rule, around(&armored(&packets.concat())).into_bytes())
}

fn curve25519() -> Vec<u8> {
    [&[0x40], random(32).as_slice()].concat()
}

fn argon2(parameters: [u8; 3]) -> Vec<u8> {
    [&[4], random(16).as_slice(), &parameters].concat()
}

fn all_tricks() -> Vec<Trick> {
    [
        header_and_mime_tricks(),
        from_and_securejoin_tricks(),
        session_key_tricks(),
        packet_tricks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn each_trick_fails_its_rule_in_chunks_of_any_size() {
    let mut wrong = Vec::new();
    for (
        number,
        Trick {
            message,
            direction,
            rule,
        },
    ) in all_tricks().into_iter().enumerate()
    {
        let sizes = if message.len() > 20_000 {
            vec![1000, 65_535]
        } else {
            vec![1, 61, 65_535]
        };
        for size in sizes {
            let verdict = crate::message::judge_in_chunks(direction, &message, size);
            if verdict.class != Class::Cleartext(rule) {
                wrong.push(format!(
                    "{number} in {size}: {:?}, not {rule}",
                    verdict.class
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_rule_has_a_trick() {
    let tried: BTreeSet<Rule> = all_tricks().iter().map(|trick| trick.rule).collect();
    let of_from: BTreeSet<Rule> = FROM_RULES.iter().map(|(rule, _)| *rule).collect();
    let untried: Vec<_> = Rule::ALL
        .iter()
        .filter(|r| !tried.contains(r) && !of_from.contains(r))
        .collect();
    assert!(untried.is_empty(), "{untried:?}");
}

#[test]
fn the_from_header_is_judged_apart() {
    for (rule, from) in FROM_RULES {
        let message = edit(&good(), "\"Alice\" <alice@example.org>", from);
        let verdict = judge(Outgoing, &message);
        assert_eq!(
            (verdict.class, verdict.from),
            (Class::Encrypted, Err(rule)),
            "{from}"
        );
    }
    let twice = edit(&good(), "From:", "From: <bob@example.org>\r\nFrom:");
    assert_eq!(judge(Outgoing, &twice).from, Err(Rule::FromRepeated));
    let none = edit(&good(), "From:", "Sender:");
    assert_eq!(judge(Outgoing, &none).from, Err(Rule::FromMissing));
}

#[rstest]
#[case::itself("[...]", "[...]")]
#[case::no_protocol("protocol=\"application/pgp-encrypted\";", "")]
#[case::upper_case("multipart/encrypted", "Multipart/Encrypted")]
#[case::other_parameter("boundary=", "micalg=pgp-sha256; boundary=")]
#[case::semicolon_at_the_end("\"=_b0undary\"", "\"=_b0undary\";")]
#[case::long_header_elsewhere("Subject: [...]", "Autocrypt: x\r\n y\r\n\tz")]
#[case::identity_encoding("Subject:", "Content-Transfer-Encoding: 8BIT\r\nSubject:")]
#[case::blank_preamble("--=_b0undary\r\n", " \r\n\r\n--=_b0undary\r\n")]
#[case::blank_behind_delimiter("--=_b0undary\r\n", "--=_b0undary \t\r\n")]
#[case::blank_epilogue("--=_b0undary--\r\n", "--=_b0undary-- \r\n\r\n \t\r\n")]
#[case::no_last_line_end("--=_b0undary--\r\n", "--=_b0undary--")]
#[case::blanks_around_the_version("\r\nVersion: 1", "\r\n\r\n Version: 1 ")]
#[case::secure_join_encrypted("Subject:", "Secure-Join: vc-request-with-auth\r\nSubject:")]
fn harmless_variants_pass(
    #[case] from: &str,
    #[case] to: &str,
    #[values(Outgoing, Incoming)] direction: Direction,
) {
    let verdict = judge(direction, &edit(&good(), from, to));
    assert_eq!(verdict.class, Class::Encrypted);
    assert_eq!(verdict.from.unwrap().to_string(), "alice@example.org");
}

#[rstest]
#[case::preamble(
    "--=_b0undary\r\n",
    "This is an OpenPGP/MIME message\r\n--=_b0undary\r\n"
)]
#[case::armor_headers(
    "MESSAGE-----\r\n",
    "MESSAGE-----\r\nVersion: 2\r\nComment: https://x\r\n"
)]
fn others_may_write_more(#[case] from: &str, #[case] to: &str) {
    let message = edit(&good(), from, to);
    assert_eq!(judge(Incoming, &message).class, Class::Encrypted);
    assert!(matches!(
        judge(Outgoing, &message).class,
        Class::Cleartext(_)
    ));
}

#[rstest]
fn every_kind_of_session_key_passes(#[values(Outgoing, Incoming)] direction: Direction) {
    let wrapped = random(40);
    let p521 = number_of(&[&[4, 1], random(65).as_slice(), &[1], &random(65)].concat());
    let with_recipient = |size: u8, version: u8, length: usize| {
        let head = [&[6, size, version], random(length).as_slice(), &[25]].concat();
        [head, point(), vec![40], random(40)].concat()
    };
    let hidden = [&[3], [0; 8].as_slice(), &[1], &number(3072)].concat();
    let public_key = [
        pkesk_v3(1, &[&number(2048)]),
        pkesk_v6(1, &[&number(4096)]),
        pkesk_v3(2, &[&number(1021)]),
        hidden,
        pkesk_v3(16, &[&number(2047), &number(2040)]),
        pkesk_v3(18, &[&number_of(&curve25519()), &[48], &random(48)]),
        pkesk_v6(
            18,
            &[
                &number_of(&[&[4], random(64).as_slice()].concat()),
                &[32],
                &random(32),
            ],
        ),
        pkesk_v3(
            18,
            &[
                &number_of(&[&[4], random(96).as_slice()].concat()),
                &[40],
                &random(40),
            ],
        ),
        pkesk_v3(18, &[&p521, &[48], &random(48)]),
        pkesk_v3(25, &[&point(), &[33, 8], &random(32)]),
        pkesk_v6(26, &[&random(56), &[24], &random(24)]),
        pkesk_v6(35, &[&point(), &random(1088), &[40], &wrapped]),
        pkesk_v3(35, &[&point(), &random(1088), &[41, 9], &wrapped]),
        pkesk_v6(36, &[&random(56), &random(1568), &[40], &wrapped]),
        with_recipient(21, 4, 20),
        with_recipient(33, 6, 32),
    ];
    let simple = [&[4, 9, 0, 8], random(33).as_slice()].concat();
    let salted = [&[4, 7, 1, 10], random(8 + 17).as_slice()].concat();
    let password = [
        simple,
        salted,
        [&[4, 9], s2k().as_slice()].concat(),
        [&[4, 9], argon2([3, 4, 16]).as_slice(), &random(33)].concat(),
        [&[5, 9, 2], s2k().as_slice(), &random(15 + 48)].concat(),
        skesk_v6(&s2k(), [29, 11]),
        skesk_v6(&argon2([1, 255, 11]), [38, 20]),
    ];
    let keys = public_key.iter().map(|body| packet(1, body));
    let keys: Vec<_> = keys
        .chain(password.iter().map(|body| packet(3, body)))
        .collect();
    for (number, key) in keys.iter().chain([&keys.concat()]).enumerate() {
        let message = around(&armored(&[key.as_slice(), &encrypted_data()].concat()));
        let class = judge(direction, message.as_bytes()).class;
        assert_eq!(class, Class::Encrypted, "key {number}");
    }
}

#[test]
fn packet_forms_pass() {
    let key = pkesk_v6(25, &[&point(), &[40], &random(40)]);
    let partial = |last: &[u8], rest: usize| {
        [
            &[0xD2, 0xE9],
            seipd_v2(508).as_slice(),
            &[0xE1],
            &random(2),
            last,
            &random(rest),
        ]
        .concat()
    };
    for packets in [
        [legacy_packet(1, &key), encrypted_data()],
        [[&[0xC1, 76], key.as_slice()].concat(), encrypted_data()],
        [packet(1, &key), partial(&[40], 40)],
        [packet(1, &key), partial(&[192, 8], 200)],
        [packet(1, &key), partial(&[0], 0)],
        [
            packet(1, &key),
            packet(18, &[&[1], random(40).as_slice()].concat()),
        ],
        [packet(1, &key), packet(18, &seipd_v2(48))],
        [packet(3, &[4, 9, 0, 8]).repeat(2000), encrypted_data()],
    ] {
        let message = around(&armored(&packets.concat()));
        assert_eq!(judge(Outgoing, message.as_bytes()).class, Class::Encrypted);
    }
    let marked = [legacy_packet(10, b"PGP"), packet(1, &key), encrypted_data()].concat();
    assert_eq!(
        judge(Incoming, around(&armored(&marked)).as_bytes()).class,
        Class::Encrypted
    );
}

#[rstest]
#[case::itself("7bit", "7bit")]
#[case::quoted_printable("7bit", "quoted-printable")]
#[case::lower_case("\r\n\r\nSecure-Join", "\r\n\r\n secure-join")]
fn securejoin_requests_pass(#[case] from: &str, #[case] to: &str) {
    let verdict = judge(Outgoing, &edit(SECUREJOIN, from, to));
    assert_eq!(verdict.class, Class::SecurejoinRequest);
    let group = SECUREJOIN.replace("vc-request", "vg-request");
    assert_eq!(
        judge(Incoming, group.as_bytes()).class,
        Class::SecurejoinRequest
    );
}

#[test]
fn stored_messages_may_end_lines_in_lf() {
    let stored = |message: &str, size: usize| {
        let mut reader = MessageReader::new_stored(Outgoing);
        message.as_bytes().chunks(size).for_each(|chunk| {
            reader.push(chunk);
        });
        reader.finish().class
    };
    let with_lf = good().replace("\r\n", "\n");
    for size in [1, 30, 7000] {
        assert_eq!(stored(&good(), size), Class::Encrypted);
        assert_eq!(stored(&with_lf, size), Class::Encrypted);
        let mixed = with_lf.replacen("Version: 1\n", "Version: 1\r\n", 1);
        assert_eq!(stored(&mixed, size), Class::Cleartext(Rule::BareLineEnding));
        let mixed = good().replacen("Version: 1\r\n", "Version: 1\n", 1);
        assert_eq!(stored(&mixed, size), Class::Cleartext(Rule::BareLineEnding));
    }
    assert_eq!(
        judge(Outgoing, with_lf.as_bytes()).class,
        Class::Cleartext(Rule::BareLineEnding)
    );
}

#[test]
fn a_milter_hands_fields_and_body() {
    let message = good();
    let (_, body) = message.split_once("\r\n\r\n").unwrap();
    let content_type = b" multipart/encrypted;\n\tboundary=\"=_b0undary\"";
    let judge = |name: &[u8], value: &[u8]| {
        let mut gate = Gate::new(Outgoing);
        gate.header(b"From", b"alice@example.org");
        gate.header(b"Content-Type", content_type);
        gate.header(name, value);
        gate.end_of_headers();
        gate.body(body.as_bytes());
        gate.finish().class
    };
    assert_eq!(judge(b"Subject", b" [...]"), Class::Encrypted);
    assert_eq!(judge(b"Subject", b" a\r\n b"), Class::Encrypted);
    assert_eq!(
        judge(b"Subject", b" a\nb"),
        Class::Cleartext(Rule::BareLineEnding)
    );
    assert_eq!(
        judge(b"Subject", b" a\rb"),
        Class::Cleartext(Rule::BareLineEnding)
    );
    assert_eq!(
        judge(b"Subject", b" a\n \n b"),
        Class::Cleartext(Rule::HeaderSyntax)
    );
    assert_eq!(judge(b"Subject", b" a\0b"), Class::Cleartext(Rule::Nul));
    assert_eq!(
        judge(b"Sub ject", b" a"),
        Class::Cleartext(Rule::HeaderSyntax)
    );
}

#[test]
fn a_message_without_body_is_refused() {
    for (message, rule) in [
        ("", Rule::FromMissing),
        ("\r\n", Rule::FromMissing),
        ("From: <a@x.org>", Rule::ContentTypeMissing),
        (
            "From: <a@x.org>\r\nContent-Type: multipart/encrypted; boundary=b",
            Rule::PartMissing,
        ),
    ] {
        assert_eq!(
            judge(Outgoing, message.as_bytes()).class,
            Class::Cleartext(rule)
        );
    }
}
