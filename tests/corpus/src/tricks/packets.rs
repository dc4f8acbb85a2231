//! The sequence of OpenPGP packets: packets that hold text, packets that programs skip, and lengths
//! that two programs read differently.

use filtermail::gate::Rule;

use crate::message::with_packets;
use crate::packets::{
    encrypted_data, legacy_packet, packet, pkesk_v6, point, random, seipd_v2, session_key, text,
};
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [
        readable_packets(),
        skipped_packets(),
        headers_and_lengths(),
        partial_lengths(),
        order(),
    ]
    .concat()
}

/// A literal data packet (RFC 9580 section 5.9): readable as it stands.
fn literal(text: &[u8]) -> Vec<u8> {
    packet(11, &[b"b\x04note\0\0\0\0".as_slice(), text].concat())
}

/// This packet between a session key and the encrypted data.
fn between(other: Vec<u8>) -> Vec<u8> {
    with_packets(&[session_key(), other, encrypted_data()])
}

fn readable_packets() -> Vec<Trick> {
    let rule = Rule::PacketTag;
    vec![
        trick(
            rule,
            "literal-packet-alone",
            "Text in armor: it looks encrypted, and every program shows it.",
            with_packets(&[literal(&text(100))]),
        ),
        trick(
            rule,
            "literal-packet-behind-a-session-key",
            "The session key is for nothing: what follows is readable.",
            with_packets(&[session_key(), literal(&text(100))]),
        ),
        trick(
            rule,
            "literal-packet-before-the-session-key",
            "Programs that read packet after packet show both.",
            with_packets(&[literal(&text(100)), session_key(), encrypted_data()]),
        ),
        trick(
            rule,
            "literal-packet-between-key-and-data",
            "In the middle, where a check of both ends does not look.",
            between(literal(&text(20))),
        ),
        trick(
            rule,
            "literal-packet-with-random-content",
            "Looks encrypted to a count of octets, and is not.",
            between(literal(&random(600))),
        ),
        trick(
            rule,
            "compressed-packet-alone",
            "Unpacked by every program: compressed is not encrypted.",
            with_packets(&[packet(8, &[&[1], random(200).as_slice()].concat())]),
        ),
        trick(
            rule,
            "compressed-packet-behind-a-session-key",
            "The same behind a session key.",
            with_packets(&[
                session_key(),
                packet(8, &[&[0], text(200).as_slice()].concat()),
            ]),
        ),
        trick(
            rule,
            "signed-message",
            "One-pass signature and literal packet: a readable, signed text.",
            with_packets(&[packet(4, &random(13)), literal(&text(60))]),
        ),
        trick(
            rule,
            "signature-alone",
            "Its notations hold any text.",
            with_packets(&[packet(2, &[&[4], text(80).as_slice()].concat())]),
        ),
        trick(
            rule,
            "user-id-packet",
            "A name and address, which may be any text.",
            between(packet(13, &text(60))),
        ),
        trick(
            rule,
            "user-attribute-packet",
            "A picture.",
            between(packet(17, &random(300))),
        ),
        trick(
            rule,
            "public-key-packet",
            "A key block in a message's armor: shown, perhaps imported.",
            with_packets(&[packet(6, &random(60)), packet(13, &text(40))]),
        ),
        trick(
            rule,
            "secret-key-packet",
            "Imported by programs that do not look twice.",
            between(packet(5, &random(90))),
        ),
    ]
}

fn skipped_packets() -> Vec<Trick> {
    let rule = Rule::PacketTag;
    vec![
        trick(
            rule,
            "padding-packet-with-text",
            "RFC 9580 has programs skip it, whatever is in it.",
            between(packet(21, &text(100))),
        ),
        trick(
            rule,
            "padding-packet-with-random-octets",
            "Honest padding belongs inside the encryption.",
            between(packet(21, &random(100))),
        ),
        trick(
            rule,
            "trust-packet-with-text",
            "Ignored on input, so any text fits.",
            between(packet(12, &text(100))),
        ),
        trick(
            rule,
            "private-packet-with-text",
            "Types 60 to 63 mean what anybody wants; others skip them.",
            between(packet(60, &text(200))),
        ),
        trick(
            rule,
            "private-packet-on-top",
            "The same before everything else.",
            with_packets(&[packet(63, &text(200)), session_key(), encrypted_data()]),
        ),
        trick(
            rule,
            "unassigned-packet-with-text",
            "Types above 40 are skipped when unknown (RFC 9580 section 4.3).",
            between(packet(45, &text(200))),
        ),
        trick(
            rule,
            "unassigned-critical-packet",
            "Types up to 39 are an error when unknown; not every program knows that.",
            between(packet(30, &text(200))),
        ),
        trick(
            rule,
            "packet-of-type-zero",
            "Reserved: nobody says what to do with it.",
            between(packet(0, &text(50))),
        ),
        trick(
            rule,
            "old-comment-packet",
            "Type 61 held comments once.",
            between(packet(61, b"We meet at noon.")),
        ),
        trick(
            rule,
            "modification-code-outside",
            "Belongs inside the encryption.",
            between(packet(19, &random(20))),
        ),
        trick(
            rule,
            "data-without-integrity",
            "Type 9 can be changed on its way: what EFAIL needs.",
            with_packets(&[session_key(), packet(9, &random(200))]),
        ),
        trick(
            rule,
            "aead-data-of-a-draft",
            "Type 20 is no standard.",
            with_packets(&[session_key(), packet(20, &random(200))]),
        ),
        trick(
            rule,
            "marker-packet-that-is-true",
            "Skipped by all; other people's programs may still write it.",
            with_packets(&[packet(10, b"PGP"), session_key(), encrypted_data()]),
        )
        .only_outgoing(),
        trick(
            rule,
            "marker-packet-with-text",
            "Skipped by all, though it does not hold `PGP`.",
            with_packets(&[packet(10, &text(100)), session_key(), encrypted_data()]),
        )
        .incoming(Rule::MarkerContent),
        trick(
            rule,
            "marker-packet-with-other-letters",
            "Three letters a message.",
            with_packets(&[packet(10, b"YES"), session_key(), encrypted_data()]),
        )
        .incoming(Rule::MarkerContent),
        trick(
            rule,
            "empty-marker-packet",
            "Almost nothing.",
            with_packets(&[packet(10, b""), session_key(), encrypted_data()]),
        )
        .incoming(Rule::MarkerContent),
        trick(
            rule,
            "two-marker-packets",
            "As many as one likes would be a hidden channel.",
            with_packets(&[
                packet(10, b"PGP"),
                packet(10, b"PGP"),
                session_key(),
                encrypted_data(),
            ]),
        ),
        trick(
            rule,
            "marker-packet-behind-the-session-key",
            "Allowed anywhere by the grammar; here it parts what belongs together.",
            between(packet(10, b"PGP")),
        ),
    ]
}

fn headers_and_lengths() -> Vec<Trick> {
    let data = encrypted_data();
    let without_last = data.split_last().map(|(_, rest)| rest.to_vec());
    vec![
        trick(
            Rule::PacketHeader,
            "text-in-armor",
            "base64 of a plain text.",
            with_packets(&[text(200)]),
        ),
        trick(
            Rule::PacketHeader,
            "text-behind-a-session-key",
            "base64 of a plain text, after one true packet.",
            with_packets(&[session_key(), text(200)]),
        ),
        trick(
            Rule::PacketHeader,
            "zeros-in-armor",
            "No packet has a first octet without its top bit.",
            with_packets(&[session_key(), vec![0; 300]]),
        ),
        trick(
            Rule::PacketHeader,
            "armor-in-armor",
            "base64 of another armored block: programs that unwrap twice show it.",
            with_packets(&[crate::message::armored(&session_key()).into_bytes()]),
        ),
        trick(
            Rule::PacketIndeterminate,
            "indeterminate-length",
            "The packet ends where the file does: whatever follows belongs to it.",
            with_packets(&[session_key(), vec![0x80 | 9 << 2 | 3], random(200)]),
        ),
        trick(
            Rule::PacketIndeterminate,
            "indeterminate-length-of-a-session-key",
            "The same on a session key.",
            with_packets(&[vec![0x87], random(200)]),
        ),
        trick(
            Rule::PacketTruncated,
            "no-packets",
            "Armor around nothing.",
            with_packets(&[]),
        ),
        trick(
            Rule::PacketTruncated,
            "session-key-alone",
            "A key for nothing.",
            with_packets(&[session_key()]),
        ),
        trick(
            Rule::PacketTruncated,
            "data-one-octet-short",
            "The next octet would come from elsewhere.",
            with_packets(&[session_key(), without_last.unwrap_or_default()]),
        ),
        trick(
            Rule::PacketTruncated,
            "length-of-four-gigabytes",
            "Sums of lengths overflow; buffers of this size do not exist.",
            with_packets(&[
                session_key(),
                vec![0xD2, 255, 255, 255, 255, 255],
                seipd_v2(500),
            ]),
        ),
        trick(
            Rule::PacketTruncated,
            "length-above-two-gigabytes",
            "Negative for who reads it with a sign.",
            with_packets(&[session_key(), vec![0xD2, 255, 128, 0, 0, 0], seipd_v2(500)]),
        ),
        trick(
            Rule::PacketTruncated,
            "header-without-length",
            "The data ends inside a packet header.",
            with_packets(&[session_key(), vec![0xD2]]),
        ),
        trick(
            Rule::PacketTruncated,
            "half-a-length",
            "The data ends inside a length.",
            with_packets(&[session_key(), vec![0xD2, 255, 0]]),
        ),
        trick(
            Rule::PacketTag,
            "legacy-header-with-a-type-of-today",
            "The legacy format has four bits for the type: 18 becomes 2.",
            with_packets(&[session_key(), legacy_packet(18 & 15, &seipd_v2(600))]),
        ),
    ]
}

fn partial_lengths() -> Vec<Trick> {
    let partial = |first: u8, length: usize| {
        [
            &[0xD2, first],
            seipd_v2(length - 4).as_slice(),
            &[40],
            &random(40),
        ]
        .concat()
    };
    vec![
        trick(
            Rule::PacketPartial,
            "session-key-with-partial-lengths",
            "For data only, says RFC 9580 section 4.2.1.4.",
            with_packets(&[vec![0xC1, 0xE9], random(600)]),
        ),
        trick(
            Rule::PacketPartial,
            "first-part-of-256-octets",
            "The first part must have 512 octets; a check that needs them sees fewer.",
            with_packets(&[session_key(), partial(0xE8, 256)]),
        ),
        trick(
            Rule::PacketPartial,
            "first-part-of-one-octet",
            "The version alone, then the rest.",
            with_packets(&[session_key(), vec![0xD2, 0xE0, 2, 200], random(200)]),
        ),
        trick(
            Rule::PacketTruncated,
            "no-last-part",
            "The data ends after a part that promises another.",
            with_packets(&[session_key(), vec![0xD2, 0xE9], seipd_v2(508)]),
        ),
        trick(
            Rule::PacketTruncated,
            "last-part-too-short",
            "The last part is one octet short.",
            with_packets(&[
                session_key(),
                vec![0xD2, 0xE9],
                seipd_v2(508),
                vec![41],
                random(40),
            ]),
        ),
        trick(
            Rule::PacketTruncated,
            "part-of-a-gigabyte",
            "The largest part there is: programs that allocate it first fall over.",
            with_packets(&[session_key(), vec![0xD2, 0xFE], seipd_v2(508)]),
        ),
        trick(
            Rule::PacketTrailing,
            "text-behind-the-last-part",
            "Who misses the last part's length reads on.",
            with_packets(&[session_key(), partial(0xE9, 512), text(80)]),
        ),
        trick(
            Rule::DataPlain,
            "text-between-the-parts",
            "Each part begins with cipher text and goes on with text.",
            with_packets(&[
                session_key(),
                vec![0xD2, 0xE9],
                seipd_v2(508),
                vec![0xE8],
                text(256),
                vec![40],
                random(40),
            ]),
        ),
    ]
}

fn order() -> Vec<Trick> {
    let (key, data) = (session_key(), encrypted_data());
    let rule = Rule::PacketTrailing;
    vec![
        trick(
            Rule::SessionKeyMissing,
            "data-without-session-key",
            "Nobody can decrypt it, so nobody meant it to be.",
            with_packets(std::slice::from_ref(&data)),
        ),
        trick(
            Rule::SessionKeyMissing,
            "session-key-behind-the-data",
            "The wrong way round; some programs collect keys first.",
            with_packets(&[data.clone(), key.clone()]),
        ),
        trick(
            rule,
            "one-octet-behind-the-data",
            "Any octet is one too many.",
            with_packets(&[key.clone(), data.clone(), text(1)]),
        ),
        trick(
            rule,
            "text-behind-the-data",
            "Not a packet: skipped by who stops at the data.",
            with_packets(&[key.clone(), data.clone(), text(200)]),
        ),
        trick(
            rule,
            "literal-packet-behind-the-data",
            "Programs that read packet after packet show both.",
            with_packets(&[key.clone(), data.clone(), literal(&text(60))]),
        ),
        trick(
            rule,
            "second-data-packet",
            "Which one is decrypted?",
            with_packets(&[key.clone(), data.clone(), data.clone()]),
        ),
        trick(
            rule,
            "second-message",
            "Two messages in one armor.",
            with_packets(&[key.clone(), data.clone(), key.clone(), data.clone()]),
        ),
        trick(
            rule,
            "padding-behind-the-data",
            "Skipped by all.",
            with_packets(&[key.clone(), data.clone(), packet(21, &random(9))]),
        ),
        trick(
            rule,
            "marker-behind-the-data",
            "Skipped by all.",
            with_packets(&[key.clone(), data.clone(), packet(10, b"PGP")]),
        ),
        trick(
            rule,
            "signature-behind-the-data",
            "A signature of the outside, with room for text.",
            with_packets(&[key.clone(), data.clone(), packet(2, &text(80))]),
        ),
        trick(
            Rule::SessionKeyCount,
            "two-thousand-and-one-session-keys",
            "Each costs the recipient's program a try.",
            with_packets(&[packet(3, &[4, 9, 0, 8]).repeat(2001), data.clone()]),
        ),
        trick(
            Rule::SessionKeyPlain,
            "letter-in-forty-short-session-keys",
            "Each holds too little text to tell, all together a letter.",
            {
                let keys = (0..40).map(|_| packet(1, &pkesk_v6(25, &[&point(), &[24], &text(24)])));
                with_packets(&[keys.collect::<Vec<_>>().concat(), data])
            },
        ),
    ]
}
