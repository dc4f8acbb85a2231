//! Encrypted messages: as recipes, as packets, in armor and in MIME.

use chatmail_fuzz::message::{ArmorStyle, armored, around};
use chatmail_fuzz::recipe::{Recipe, Style, cook};

use crate::Seed;

/// Packet types.
const PUBLIC_KEY: u8 = 1;
const PASSWORD: u8 = 3;
const MARKER: u8 = 10;
const DATA: u8 = 18;

/// Largest seed in octets.
const SIZE_MAX: usize = 4096;

pub(crate) fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    for (name, recipe) in recipes() {
        // A zero writes nothing, and tells a recipe from a message.
        let recipe = [&[0], recipe.into_bytes().as_slice()].concat();
        let packets = cook(&recipe);
        let armor = armored(&packets, ArmorStyle::USUAL);
        let mut add = |target, content: &[u8]| {
            if content.len() <= SIZE_MAX {
                seeds.push((target, name.to_owned(), content.to_vec()));
            }
        };
        add("differential", &recipe);
        add("packets", &packets);
        if name.ends_with("-seipd") {
            add("armor", &armor);
            add("mime_walk", &around(&armor));
        }
    }
    seeds
}

/// One of each kind that the gate lets pass, and some that it does not.
fn recipes() -> Vec<(&'static str, Recipe)> {
    let mut all: Vec<(&'static str, Recipe)> = session_keys()
        .into_iter()
        .map(|(name, tag, content)| (name, message(tag, Style::Short, content, seipd_v2(70))))
        .collect();
    let key = |style| message(PUBLIC_KEY, style, x25519_v6(), seipd_v2(70));
    all.extend([
        ("legacy-one", key(Style::LegacyOne)),
        ("legacy-two", key(Style::LegacyTwo)),
        ("legacy-four", key(Style::LegacyFour)),
        ("wrong-length", key(Style::Wrong)),
        ("v1-seipd", data(Style::Long, 0, seipd_v1(64))),
        ("v2-seipd", data(Style::Long, 0, seipd_v2(600))),
        ("partial-seipd", data(Style::Partial, 9, seipd_v2(1600))),
        (
            "partial-once-seipd",
            data(Style::PartialOnce, 9, seipd_v1(530)),
        ),
        (
            "partial-short-seipd",
            data(Style::Partial, 8, seipd_v1(530)),
        ),
        ("text-seipd", data(Style::Short, 0, text())),
        (
            "marker-seipd",
            marker().then(data(Style::Short, 0, seipd_v1(99))),
        ),
        (
            "trailing",
            data(Style::Short, 0, seipd_v1(64)).octets(b"\xCB\x05b\0\0\0\0"),
        ),
        (
            "two-keys",
            many_keys(2).then(data(Style::Short, 0, seipd_v1(64))),
        ),
        (
            "twenty-keys",
            many_keys(20).then(data(Style::Short, 0, seipd_v1(64))),
        ),
        (
            "no-key",
            Recipe::default().packet(DATA, Style::Short, 0, seipd_v1(64)),
        ),
    ]);
    all
}

/// A session key in this style, then encrypted data.
fn message(tag: u8, style: Style, key: Recipe, data: Recipe) -> Recipe {
    Recipe::default()
        .packet(tag, style, 17, key)
        .packet(DATA, Style::Short, 0, data)
}

/// A session key, then encrypted data in this style.
fn data(style: Style, number: u8, data: Recipe) -> Recipe {
    Recipe::default()
        .packet(PUBLIC_KEY, Style::Short, 0, x25519_v6())
        .packet(DATA, style, number, data)
}

fn many_keys(count: usize) -> Recipe {
    (0..count).fold(Recipe::default(), |keys, _| {
        keys.packet(PUBLIC_KEY, Style::Short, 0, x25519_v6())
    })
}

fn marker() -> Recipe {
    octets().packet(MARKER, Style::Short, 0, octets().octets(b"PGP"))
}

fn text() -> Recipe {
    octets().octets(b"\x01We meet at noon, as always, and nobody will ever know about it.")
}

fn octets() -> Recipe {
    Recipe::default()
}

/// Version 1 (RFC 9580 section 5.13.1).
fn seipd_v1(count: u16) -> Recipe {
    octets().octets(&[1]).noise(count)
}

/// Version 2: AES-256, OCB, chunks of 8 KiB (section 5.13.2).
fn seipd_v2(count: u16) -> Recipe {
    octets().octets(&[2, 9, 2, 7]).noise(count)
}

/// The top bit of the last octet is clear.
fn x25519_point() -> Recipe {
    octets().noise(31).octets(&[0x42])
}

/// As Delta Chat writes it: version 6, hidden recipient.
fn x25519_v6() -> Recipe {
    octets()
        .octets(&[6, 0, 25])
        .then(x25519_point())
        .counted(0, octets().noise(40))
}

fn iterated_s2k() -> Recipe {
    octets().octets(&[3, 8]).noise(8).octets(&[96])
}

/// Name, packet type and content of session keys of each algorithm (sections 5.1 and 5.3).
fn session_keys() -> Vec<(&'static str, u8, Recipe)> {
    let v3 = |algorithm| octets().octets(&[3]).noise(8).octets(&[algorithm]);
    let v6 = |version, fingerprint| {
        octets()
            .octets(&[6])
            .counted(0, octets().octets(&[version]).noise(fingerprint))
    };
    let wrapped_v3 = || octets().counted(0, octets().octets(&[9]).noise(40));
    let wrapped = || octets().counted(0, octets().noise(40));
    let ecdh = |prefix: &[u8], point| octets().octets(prefix).noise(point);
    vec![
        ("v6-hidden", PUBLIC_KEY, x25519_v6()),
        (
            "v6-to-v6",
            PUBLIC_KEY,
            v6(6, 32).octets(&[25]).then(x25519_point()).then(wrapped()),
        ),
        (
            "v6-to-v4",
            PUBLIC_KEY,
            v6(4, 20).octets(&[25]).then(x25519_point()).then(wrapped()),
        ),
        (
            "v3-x25519",
            PUBLIC_KEY,
            v3(25).then(x25519_point()).then(wrapped_v3()),
        ),
        ("v3-x448", PUBLIC_KEY, v3(26).noise(56).then(wrapped_v3())),
        ("v3-rsa", PUBLIC_KEY, v3(1).number(2047)),
        ("v3-rsa-512", PUBLIC_KEY, v3(2).number(512)),
        ("v3-elgamal", PUBLIC_KEY, v3(16).number(1024).number(1021)),
        (
            "v3-curve25519",
            PUBLIC_KEY,
            v3(18).then(ecdh(&[1, 7, 0x40], 32)).then(wrapped()),
        ),
        (
            "v3-p256",
            PUBLIC_KEY,
            v3(18).then(ecdh(&[2, 3, 4], 64)).then(wrapped()),
        ),
        (
            "v3-p384",
            PUBLIC_KEY,
            v3(18).then(ecdh(&[3, 3, 4], 96)).then(wrapped()),
        ),
        (
            "v3-p521",
            PUBLIC_KEY,
            v3(18)
                .octets(&[4, 0x23, 4, 1])
                .noise(65)
                .octets(&[0])
                .noise(65)
                .then(wrapped()),
        ),
        (
            "v3-anonymous",
            PUBLIC_KEY,
            octets()
                .octets(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 1])
                .number(2048),
        ),
        (
            "v6-ml-kem-768",
            PUBLIC_KEY,
            octets()
                .octets(&[6, 0, 35])
                .then(x25519_point())
                .noise(1088)
                .then(wrapped()),
        ),
        (
            "v6-ml-kem-1024",
            PUBLIC_KEY,
            octets()
                .octets(&[6, 0, 36])
                .noise(56)
                .noise(1568)
                .then(wrapped()),
        ),
        (
            "password-v4",
            PASSWORD,
            octets().octets(&[4, 9]).then(iterated_s2k()),
        ),
        (
            "password-v4-key",
            PASSWORD,
            octets().octets(&[4, 7]).then(iterated_s2k()).noise(33),
        ),
        (
            "password-v4-simple",
            PASSWORD,
            octets().octets(&[4, 9, 0, 8]),
        ),
        (
            "password-v4-salted",
            PASSWORD,
            octets().octets(&[4, 9, 1, 8]).noise(8),
        ),
        (
            "password-v5",
            PASSWORD,
            octets()
                .octets(&[5, 9, 2])
                .then(iterated_s2k())
                .noise(15)
                .noise(48),
        ),
        (
            "password-v5-other-cipher",
            PASSWORD,
            octets()
                .octets(&[5, 8, 2])
                .then(iterated_s2k())
                .noise(15)
                .noise(48),
        ),
        (
            "password-v5-other-mode",
            PASSWORD,
            octets()
                .octets(&[5, 9, 1])
                .then(iterated_s2k())
                .noise(16)
                .noise(48),
        ),
        (
            "password-v6",
            PASSWORD,
            octets()
                .octets(&[6])
                .counted(
                    0,
                    octets()
                        .octets(&[9, 2])
                        .counted(0, iterated_s2k())
                        .noise(15),
                )
                .noise(48),
        ),
        (
            "password-v6-argon2",
            PASSWORD,
            octets()
                .octets(&[6])
                .counted(
                    0,
                    octets()
                        .octets(&[9, 3])
                        .counted(0, octets().octets(&[4]).noise(16).octets(&[1, 4, 21]))
                        .noise(12),
                )
                .noise(48),
        ),
    ]
}
