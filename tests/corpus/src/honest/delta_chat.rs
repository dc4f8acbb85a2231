//! Delta Chat, from its early versions to those with keys of version 6, and its securejoin.

use pgp::crypto::hash::HashAlgorithm;
use pgp::types::StringToKey;

use super::{
    Honest, Shape, armor, armor_without_checksum, classic_data, current_data, post_quantum_data,
};
use crate::message::SECUREJOIN;
use crate::openpgp::{
    CURRENT_KEY, LEGACY_KEY, P256_KEY, Recipients, seipd_v1, seipd_v2, seipd_v2_to_secret,
};
use crate::packets::{argon2, packet, random, s2k, seipd_v2 as v2_body, skesk_v6};

const CHAT: &[u8] = b"Content-Type: text/plain; charset=utf-8\r\nChat-Version: 1.0\r\n\r\nHi!\r\n";

pub(super) fn honest() -> Vec<Honest> {
    [today(), securejoin(), groups(), earlier()].concat()
}

/// The header section of today's versions.
fn hidden(more: &str) -> String {
    format!(
        "From: <alice@example.org>\r\n\
         Date: Sun, 15 Nov 2026 03:11:54 +0000\r\n\
         Message-ID: <b1d7f2a0-7c1e-4d51-8a44-2f1f6f3f0a55@localhost>\r\n\
         {more}MIME-Version: 1.0\r\n\
         To: \"hidden-recipients\": ;\r\n\
         Subject: [...]"
    )
}

fn frame(fields: &str, armor: &str) -> Shape {
    Shape::new(fields, "18b87c2f9d0be1d2c4a8ffe1a5d07c90", armor)
        .preamble("\r\n")
        .control(
            "Content-Type: application/pgp-encrypted; charset=\"utf-8\"\r\n\
             Content-Description: PGP/MIME version identification\r\n\
             Content-Transfer-Encoding: 7bit",
            "\r\n",
        )
        .encrypted(
            "Content-Type: application/octet-stream; name=\"encrypted.asc\";\r\n \
             charset=\"utf-8\"\r\n\
             Content-Description: OpenPGP encrypted message\r\n\
             Content-Disposition: inline; filename=\"encrypted.asc\";\r\n\
             Content-Transfer-Encoding: 7bit",
        )
        .ends("\r\n", "\r\n\r\n")
}

fn today() -> Vec<Honest> {
    let plain = hidden("");
    let v4 = [&*LEGACY_KEY];
    let both = [&*LEGACY_KEY, &*CURRENT_KEY];
    vec![
        frame(&plain, &seipd_v2(CHAT, &v4, true)).leaves("delta-chat-to-a-key-of-version-4"),
        frame(&plain, &seipd_v2(CHAT, &[&CURRENT_KEY], false))
            .leaves("delta-chat-to-a-key-of-version-6"),
        frame(&plain, &seipd_v2(CHAT, &both, false)).leaves("delta-chat-to-keys-of-both-versions"),
        frame(&plain, &seipd_v2(b"", &both, true)).leaves("delta-chat-with-nothing-to-say"),
        frame(&plain, &seipd_v2(&[b'a'; 150_000], &both, true)).leaves("delta-chat-with-a-picture"),
        frame(&plain, &armor(&[], 64, &current_data())).leaves("delta-chat-with-octets-by-hand"),
        frame(
            &plain,
            &armor_without_checksum(&[], 64, &post_quantum_data(1)),
        )
        .leaves("delta-chat-with-a-post-quantum-key"),
        frame(
            &plain,
            &armor_without_checksum(&[], 64, &post_quantum_data(50)),
        )
        .leaves("delta-chat-to-fifty-post-quantum-keys"),
        frame(
            &hidden("Auto-Submitted: auto-generated\r\n"),
            &seipd_v2(CHAT, &v4, false),
        )
        .leaves("delta-chat-bot"),
        frame(
            &hidden("Auto-Submitted: auto-replied\r\n"),
            &seipd_v2(b"MDN", &v4, false),
        )
        .leaves("delta-chat-read-receipt"),
        frame(
            &plain.replace("From: <", "From: \"=?utf-8?q?Alice_=F0=9F=8C=BB?=\" <"),
            &seipd_v2(b"name", &v4, false),
        )
        .leaves("delta-chat-with-an-encoded-name"),
        frame(
            &plain.replace("<alice@example.org>", "alice@example.org"),
            &seipd_v2(b"x", &v4, true),
        )
        .leaves("delta-chat-without-angle-brackets"),
    ]
}

fn securejoin() -> Vec<Honest> {
    let salted = StringToKey::IteratedAndSalted {
        hash_alg: HashAlgorithm::Sha256,
        salt: [0x1F, 0xA2, 0x93, 0xE4, 0x05, 0xD6, 0x67, 0xB8],
        count: 96,
    };
    let request = |step: &str| Honest {
        name: match step {
            "vc-request" => "delta-chat-asks-for-a-contact",
            _ => "delta-chat-asks-for-a-group",
        },
        outgoing: true,
        message: SECUREJOIN.replace("vc-request", step).into_bytes(),
    };
    let key = packet(3, &skesk_v6(&argon2([1, 4, 16]), [38, 20]));
    let to_password = [key, packet(18, &v2_body(700))].concat();
    let classic = packet(3, &skesk_v6(&s2k(), [29, 11]));
    let to_classic = [classic, packet(18, &v2_body(900))].concat();
    vec![
        request("vc-request"),
        request("vg-request"),
        frame(&hidden(""), &seipd_v2_to_secret(CHAT, salted))
            .leaves("delta-chat-securejoin-of-version-3"),
        frame(&hidden(""), &armor_without_checksum(&[], 64, &to_password))
            .leaves("delta-chat-broadcast-with-a-shared-secret"),
        frame(&hidden(""), &armor(&[], 64, &to_classic))
            .leaves("delta-chat-setup-message-to-a-passphrase"),
        frame(
            &hidden("Secure-Join: vc-request-with-auth\r\n"),
            &seipd_v2(b"auth", &[&LEGACY_KEY], true),
        )
        .leaves("delta-chat-later-step-of-securejoin"),
    ]
}

fn groups() -> Vec<Honest> {
    let references = "In-Reply-To: <7d@localhost>\r\nReferences: <5b@localhost>\r\n \
                      <6c@localhost>\r\n <7d@localhost>\r\n";
    let many: Vec<_> = [&*LEGACY_KEY, &*CURRENT_KEY].repeat(20);
    let members: Vec<_> = (0..30).map(|n| format!("<m{n}@example.org>")).collect();
    let named = hidden(references).replace("\"hidden-recipients\": ;", &members.join(",\r\n "));
    vec![
        frame(&hidden(references), &seipd_v2(b"group", &many, false))
            .leaves("delta-chat-group-of-forty"),
        frame(&named, &seipd_v2(b"members", &[&LEGACY_KEY], true))
            .leaves("delta-chat-group-with-all-members-named"),
        frame(
            &hidden("Chat-Version: 1.0\r\n"),
            &seipd_v2(b"list", &[&LEGACY_KEY], true),
        )
        .leaves("delta-chat-with-its-version-outside"),
    ]
}

fn earlier() -> Vec<Honest> {
    let key: String = base64_simd::STANDARD.encode_to_string(random(600));
    let lines: Vec<_> = key
        .as_bytes()
        .chunks(70)
        .map(String::from_utf8_lossy)
        .collect();
    let autocrypt = format!(
        "Autocrypt: addr=alice@example.org; prefer-encrypt=mutual;\r\n keydata={}\r\n",
        lines.join("\r\n ")
    );
    let with_key = hidden(&autocrypt).replace("\"hidden-recipients\": ;", "<bob@example.org>");
    let named = Recipients::Named;
    let v1 = |text: &[u8]| seipd_v1(text, &[&LEGACY_KEY], named, true);
    let old = format!(
        "Chat-Version: 1.0\r\nSubject: ...\r\nMIME-Version: 1.0\r\n\
         References: <Mr.6Dx7ITn4w38.n9j7epIcuQI@example.org>\r\n\
         Date: Wed, 06 Mar 2019 12:00:00 +0000\r\nFrom: alice@example.org\r\n\
         To: <bob@example.org>\r\n{}",
        autocrypt.trim_end()
    );
    vec![
        frame(&with_key, &v1(CHAT)).leaves("delta-chat-with-an-autocrypt-key"),
        frame(&old, &v1(b"core 1.0")).leaves("delta-chat-of-2019"),
        frame(
            &hidden(""),
            &seipd_v1(CHAT, &[&LEGACY_KEY, &P256_KEY], Recipients::Hidden, true),
        )
        .leaves("delta-chat-to-a-key-from-elsewhere"),
        frame(
            &with_key,
            &armor(&[], 64, &classic_data(&[2048, 4096], 3000)),
        )
        .leaves("delta-chat-to-an-imported-rsa-key"),
        frame(&with_key, &v1(&[b'x'; 30_000])).leaves("delta-chat-with-a-long-text"),
    ]
}
