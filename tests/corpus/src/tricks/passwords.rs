//! Session-key packets for passwords: unknown forms, fields of a wrong size, and text in them.

use filtermail::gate::Rule;

use crate::message::with_packets;
use crate::packets::*;
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [passwords(), text_for_passwords()].concat()
}

/// A session key for a password, with this body, in front of good data.
fn password(rule: Rule, name: &'static str, why: &'static str, body: Vec<u8>) -> Trick {
    trick(
        rule,
        name,
        why,
        with_packets(&[packet(3, &body), encrypted_data()]),
    )
}

fn passwords() -> Vec<Trick> {
    let skesk_v4 = |s2k: &[u8], key: &[u8]| [&[4, 9], s2k, key].concat();
    let s2k_rule = Rule::SessionKeyS2k;
    vec![
        password(
            Rule::SessionKeyVersion,
            "password-key-of-version-3",
            "There is none: skipped by all.",
            [&[3, 9], s2k().as_slice()].concat(),
        ),
        password(
            Rule::SessionKeyAlgorithm,
            "password-key-for-an-unknown-cipher",
            "The cipher's number is free.",
            [&[4, 5], s2k().as_slice()].concat(),
        ),
        password(
            Rule::SessionKeyAlgorithm,
            "password-key-in-an-unknown-mode",
            "The mode's number is free, and with it the nonce's size.",
            [&[5, 9, 4], s2k().as_slice(), &random(63)].concat(),
        ),
        password(
            Rule::SessionKeyAlgorithm,
            "password-key-with-a-cipher-of-small-blocks",
            "No AEAD mode works with it.",
            [&[5, 2, 2], s2k().as_slice(), &random(63)].concat(),
        ),
        password(
            s2k_rule,
            "reserved-s2k",
            "Type 2 was never defined: its length is anybody's guess.",
            skesk_v4(&[&[2, 8], random(9).as_slice()].concat(), &[]),
        ),
        password(
            s2k_rule,
            "private-s2k-with-text",
            "Types 100 to 110 mean what anybody wants.",
            skesk_v4(&[&[101], text(60).as_slice()].concat(), &[]),
        ),
        password(
            s2k_rule,
            "s2k-with-an-unknown-hash",
            "The hash's number is free.",
            skesk_v4(&[&[3, 7], random(9).as_slice()].concat(), &[]),
        ),
        password(
            s2k_rule,
            "argon2-without-passes",
            "RFC 9106 asks for at least one.",
            skesk_v4(&argon2([0, 1, 10]), &[]),
        ),
        password(
            s2k_rule,
            "argon2-without-lanes",
            "RFC 9106 asks for at least one.",
            skesk_v4(&argon2([1, 0, 10]), &[]),
        ),
        password(
            s2k_rule,
            "argon2-with-too-little-memory",
            "Less than eight blocks a lane.",
            skesk_v4(&argon2([1, 4, 4]), &[]),
        ),
        password(
            s2k_rule,
            "argon2-with-four-terabytes",
            "A program that obeys falls over.",
            skesk_v4(&argon2([1, 4, 32]), &[]),
        ),
        password(
            Rule::SessionKeyLength,
            "password-key-of-34-octets",
            "No cipher has such a key.",
            skesk_v4(&s2k(), &random(34)),
        ),
        password(
            Rule::SessionKeyLength,
            "sealed-key-one-octet-long",
            "An octet that nobody reads.",
            [&[5, 9, 2], s2k().as_slice(), &random(64)].concat(),
        ),
        password(
            Rule::SessionKeyLength,
            "sealed-key-for-another-cipher",
            "Who reads a key of the cipher's size leaves eight octets unread.",
            [&[5, 8, 2], s2k().as_slice(), &random(15 + 48)].concat(),
        ),
        password(
            Rule::SessionKeyAlgorithm,
            "sealed-key-in-eax-mode",
            "Version 5 knows OCB only; the nonce of another mode has another size.",
            [&[5, 9, 1], s2k().as_slice(), &random(16 + 48)].concat(),
        ),
        password(
            Rule::SessionKeyLength,
            "wrong-count-of-parameters",
            "Who goes by the count reads other fields.",
            skesk_v6(&s2k(), [28, 11]),
        ),
        password(
            Rule::SessionKeyLength,
            "wrong-size-of-the-s2k",
            "Who goes by the size reads other fields.",
            skesk_v6(&s2k(), [29, 10]),
        ),
    ]
}

fn text_for_passwords() -> Vec<Trick> {
    let rule = Rule::SessionKeyPlain;
    vec![
        password(
            rule,
            "text-in-the-sealed-key",
            "Nobody without the password can tell that it is no key.",
            [&[5, 9, 2], s2k().as_slice(), &random(15), &text(48)].concat(),
        ),
        password(
            rule,
            "text-in-nonce-and-sealed-key",
            "63 octets of text.",
            [&[5, 9, 2], s2k().as_slice(), &text(63)].concat(),
        ),
        trick(
            rule,
            "letter-in-many-salts",
            "Eight octets of text in each of many packets.",
            {
                let body = [&[4, 9, 3, 8], text(8).as_slice(), &[96]].concat();
                with_packets(&[packet(3, &body).repeat(60), encrypted_data()])
            },
        ),
        trick(
            rule,
            "letter-in-many-argon2-salts",
            "Sixteen octets of text in each of many packets.",
            {
                let body = [&[4, 9, 4], text(16).as_slice(), &[1, 4, 10]].concat();
                with_packets(&[packet(3, &body).repeat(30), encrypted_data()])
            },
        ),
        trick(
            rule,
            "letter-in-many-password-keys",
            "33 octets of text in each of many packets.",
            {
                let body = [&[4, 9, 0, 8], text(33).as_slice()].concat();
                with_packets(&[packet(3, &body).repeat(10), encrypted_data()])
            },
        ),
    ]
}
