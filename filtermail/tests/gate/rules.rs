//! What passes and what does not, rule by rule.

use corpus::message::{SECUREJOIN, armored, around, edit, edit_in, good};
use corpus::packets::*;
use filtermail::gate::Direction::{Incoming, Outgoing};
use filtermail::gate::{Class, Direction, Gate, MessageReader, Rule};
use rstest::rstest;

use crate::message::judge;

#[test]
fn the_from_header_is_judged_apart() {
    for (rule, from) in [
        (Rule::FromSyntax, "Alice"),
        (Rule::FromComment, "alice@example.org (Alice)"),
        (Rule::FromGroup, "Friends: alice@example.org;"),
        (Rule::FromSeveral, "alice@example.org, bob@example.org"),
        (Rule::FromAddress, "<alice>"),
    ] {
        let message = edit("\"Alice\" <alice@example.org>", from);
        let verdict = judge(Outgoing, &message);
        assert_eq!(
            (verdict.class, verdict.from),
            (Class::Encrypted, Err(rule)),
            "{from}"
        );
    }
    let twice = edit("From:", "From: <bob@example.org>\r\nFrom:");
    assert_eq!(judge(Outgoing, &twice).from, Err(Rule::FromRepeated));
    let none = edit("From:", "Sender:");
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
    let verdict = judge(direction, &edit(from, to));
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
    let message = edit(from, to);
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
        [&[5, 8, 2], s2k().as_slice(), &random(15 + 40)].concat(),
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
    let verdict = judge(Outgoing, &edit_in(SECUREJOIN, from, to));
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
