//! The encrypted data packet: text instead of cipher text, in forms that still look like octets.

use filtermail::gate::Rule;

use crate::message::{armored, with_packets};
use crate::packets::{packet, random, seipd_v2, session_key, text};
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [forms(), readable(), disguised(), diluted()].concat()
}

/// A session key and a data packet with this body.
fn data(body: &[&[u8]]) -> Vec<u8> {
    with_packets(&[session_key(), packet(18, &body.concat())])
}

/// What stands in a data packet of version 2 before its random octets.
const V2: &[u8] = &[2, 9, 2, 6];

fn forms() -> Vec<Trick> {
    vec![
        trick(
            Rule::DataVersion,
            "data-of-version-3",
            "Unknown: skipped by some, whatever is in it.",
            data(&[&[3], &random(100)]),
        ),
        trick(
            Rule::DataVersion,
            "data-of-version-0",
            "Unknown: skipped by some, whatever is in it.",
            data(&[&[0], &random(100)]),
        ),
        trick(
            Rule::DataVersion,
            "text-from-the-first-octet",
            "The version is a letter.",
            data(&[&text(100)]),
        ),
        trick(
            Rule::DataAlgorithm,
            "cipher-of-small-blocks",
            "No AEAD mode works with it.",
            data(&[&[2, 3, 2, 6], &random(100)]),
        ),
        trick(
            Rule::DataAlgorithm,
            "no-cipher",
            "Cipher 0 leaves the text as it is.",
            data(&[&[2, 0, 2, 6], &random(100)]),
        ),
        trick(
            Rule::DataAlgorithm,
            "mode-0",
            "No such mode: the nonce's size is unknown.",
            data(&[&[2, 9, 0, 6], &random(100)]),
        ),
        trick(
            Rule::DataAlgorithm,
            "mode-4",
            "No such mode.",
            data(&[&[2, 9, 4, 6], &random(100)]),
        ),
        trick(
            Rule::DataAlgorithm,
            "chunks-of-eight-megabytes",
            "Larger than RFC 9580 allows.",
            data(&[&[2, 9, 2, 17], &random(100)]),
        ),
        trick(
            Rule::DataAlgorithm,
            "chunks-beyond-all-numbers",
            "A shift by 255 bits.",
            data(&[&[2, 9, 2, 255], &random(100)]),
        ),
        trick(
            Rule::DataShort,
            "empty-data",
            "A packet of no octets.",
            data(&[]),
        ),
        trick(
            Rule::DataShort,
            "data-of-a-version-only",
            "One octet.",
            data(&[&[2]]),
        ),
        trick(
            Rule::DataShort,
            "version-1-without-a-message",
            "One octet fewer than prefix and integrity code need.",
            data(&[&[1], &random(39)]),
        ),
        trick(
            Rule::DataShort,
            "version-2-without-a-message",
            "One octet fewer than salt and tag need.",
            data(&[V2, &random(47)]),
        ),
        trick(
            Rule::DataShort,
            "few-words-in-the-data",
            "Too short for a message, and for a count of octets.",
            data(&[&[1], b"We meet at noon."]),
        ),
    ]
}

fn readable() -> Vec<Trick> {
    let rule = Rule::DataPlain;
    vec![
        trick(
            rule,
            "short-text-as-the-data",
            "Sixty octets: the program that decodes base64 shows them.",
            data(&[V2, &text(60)]),
        ),
        trick(
            rule,
            "long-text-as-the-data",
            "A whole letter.",
            data(&[&[1], &text(100_000)]),
        ),
        trick(
            rule,
            "text-behind-a-random-salt",
            "The first octets are as they should be.",
            data(&[V2, &random(32), &text(400)]),
        ),
        trick(
            rule,
            "text-before-a-random-tag",
            "The last octets are as they should be.",
            data(&[V2, &text(400), &random(16)]),
        ),
        trick(
            rule,
            "text-in-the-middle-of-much-cipher-text",
            "Two hundred octets among a hundred thousand.",
            data(&[&[1], &random(70_000), &text(200), &random(9000)]),
        ),
        trick(
            rule,
            "text-at-the-end-of-much-cipher-text",
            "Where a check of the beginning does not look.",
            data(&[&[1], &random(20_000), &text(200)]),
        ),
        trick(
            rule,
            "armor-inside-the-data",
            "A block in a block, for programs that search for BEGIN lines.",
            data(&[V2, armored(&session_key()).as_bytes()]),
        ),
        trick(
            rule,
            "cyrillic-text-as-the-data",
            "Hardly an ASCII letter in it.",
            data(&[
                V2,
                "Встречаемся в полдень, как всегда. ".repeat(12).as_bytes(),
            ]),
        ),
        trick(
            rule,
            "chinese-text-as-the-data",
            "Hardly a repeated octet in it.",
            data(&[
                V2,
                "我们中午见面，和往常一样。别告诉任何人。"
                    .repeat(20)
                    .as_bytes(),
            ]),
        ),
        trick(
            rule,
            "html-as-the-data",
            "A page for programs that guess types.",
            data(&[V2, "<p>We meet at noon.</p>".repeat(10).as_bytes()]),
        ),
        trick(
            rule,
            "base64-as-the-data",
            "base64 in base64: decoded twice by programs that mean well.",
            data(&[
                V2,
                base64_simd::STANDARD.encode_to_string(text(300)).as_bytes(),
            ]),
        ),
        trick(
            rule,
            "hexadecimal-as-the-data",
            "Digits and six letters.",
            data(&[V2, "576520".repeat(40).as_bytes()]),
        ),
    ]
}

fn disguised() -> Vec<Trick> {
    let rule = Rule::DataPlain;
    let text = text(1000);
    let changed = |change: fn(u8) -> u8| text.iter().copied().map(change).collect::<Vec<_>>();
    let little_endian: Vec<u8> = text.iter().flat_map(|&octet| [octet, 0]).collect();
    let big_endian: Vec<u8> = text.iter().flat_map(|&octet| [0, octet]).collect();
    vec![
        trick(
            rule,
            "zeros-as-the-data",
            "Nothing at all.",
            data(&[V2, &[0; 500]]),
        ),
        trick(
            rule,
            "one-octet-again-and-again",
            "No ASCII, and no cipher text.",
            data(&[V2, &[0xA5; 500]]),
        ),
        trick(
            rule,
            "utf-16-text-as-the-data",
            "Half of all octets are zero.",
            data(&[V2, &little_endian]),
        ),
        trick(
            rule,
            "utf-16-text-with-the-high-octets-first",
            "The same the other way round.",
            data(&[V2, &big_endian]),
        ),
        trick(
            rule,
            "text-with-its-eighth-bits-set",
            "No octet is ASCII; programs that mask the bit read it.",
            data(&[V2, &changed(|octet| octet | 0x80)]),
        ),
        trick(
            rule,
            "text-with-all-bits-turned",
            "No octet is ASCII.",
            data(&[V2, &changed(|octet| !octet)]),
        ),
        trick(
            rule,
            "text-shifted-by-a-number",
            "Caesar's cipher is none.",
            data(&[V2, &changed(|octet| octet.wrapping_add(77))]),
        ),
        trick(
            rule,
            "text-under-a-short-key",
            "Each octet xor one of four: readable to who guesses them.",
            {
                let key = [0x1F, 0xA7, 0x5C, 0xE2];
                let octets = text.iter().zip(key.iter().cycle());
                let octets: Vec<u8> = octets.map(|(octet, key)| octet ^ key).collect();
                data(&[V2, &octets])
            },
        ),
        trick(
            rule,
            "bits-as-letters",
            "Two different octets only.",
            data(&[V2, &[0x30, 0xF1, 0xF1, 0x30].repeat(200)]),
        ),
        trick(
            rule,
            "octets-of-a-picture",
            "A bitmap without compression: few colours.",
            data(&[V2, &[0xFF, 0xFF, 0xFF, 0x20, 0x80, 0xE0].repeat(300)]),
        ),
    ]
}

fn diluted() -> Vec<Trick> {
    let rule = Rule::DataPlain;
    let interleaved = |length: usize, every: usize| {
        let text = text(length);
        let mut octets = random(length * every);
        for (place, octet) in octets.iter_mut().step_by(every).zip(text) {
            *place = octet;
        }
        octets
    };
    vec![
        trick(
            rule,
            "text-in-every-second-octet",
            "Cipher text between the letters.",
            data(&[V2, &interleaved(2000, 2)]),
        ),
        trick(
            rule,
            "text-in-every-fourth-octet",
            "Three random octets between the letters.",
            data(&[V2, &interleaved(3000, 4)]),
        ),
        trick(
            rule,
            "text-thinly-spread-over-everything",
            "A tenth of all octets: only the sum of many windows tells.",
            data(&[V2, &interleaved(20_000, 10)]),
        ),
        trick(
            rule,
            "text-in-partial-lengths",
            "Cut into parts, each with a length between.",
            {
                let mut packets = vec![0xD2, 0xE9];
                packets.extend(seipd_v2(508));
                for _ in 0..20 {
                    packets.push(0xE4);
                    packets.extend(text(16));
                }
                packets.push(40);
                packets.extend(random(40));
                with_packets(&[session_key(), packets])
            },
        ),
    ]
}
