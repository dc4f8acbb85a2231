//! Webmail: encryption in the browser, or by the provider.

use super::{Honest, Shape, armor, armor_without_checksum, classic_data, curve_data};
use crate::openpgp::{CURRENT_KEY, LEGACY_KEY, Recipients, seipd_v1, seipd_v2};

const FIELDS: &str = "Date: Fri, 20 Nov 2026 13:00:00 +0000\r\nTo: bob@chat.example\r\n\
                      From: Alice <alice@example.org>\r\nSubject: Encrypted message\r\n\
                      Message-ID: <Hq3nVx8ZkL0pTbYw2RmCdE5s@example.org>\r\nMIME-Version: 1.0";

pub(super) fn honest() -> Vec<Honest> {
    [proton(), extensions(), servers()].concat()
}

fn v1(text: &[u8]) -> String {
    seipd_v1(text, &[&LEGACY_KEY], Recipients::Named, true)
}

fn proton() -> Vec<Honest> {
    let frame = |armor: &str| {
        Shape::new(
            FIELDS,
            "---------------------8d1c0f7a62b3e95d4f0a6c1b7e2d9385",
            armor,
        )
        .content_type(
            "multipart/encrypted; protocol=\"application/pgp-encrypted\"; \
                 boundary=\"BOUNDARY\"; charset=utf-8",
        )
        .control(
            "Content-Type: application/pgp-encrypted\r\n\
                 Content-Description: PGP/MIME version identification",
            "\r\n",
        )
        .encrypted(
            "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
                 Content-Description: OpenPGP encrypted message\r\n\
                 Content-Disposition: inline; filename=\"encrypted.asc\"",
        )
    };
    let headers = ["Version: ProtonMail", "Comment: https://proton.example"];
    vec![
        frame(&armor(&headers, 60, &curve_data(1200))).comes_in("proton-with-armor-headers"),
        frame(&v1(b"proton")).comes_in("proton"),
        frame(&seipd_v2(b"proton", &[&CURRENT_KEY], false))
            .comes_in("proton-to-a-key-of-version-6"),
        frame(&armor_without_checksum(&[], 76, &curve_data(30_000)))
            .comes_in("proton-without-checksum"),
    ]
}

fn extensions() -> Vec<Honest> {
    let frame = |boundary: &str, armor: &str| {
        Shape::new(FIELDS, boundary, armor).encrypted(
            "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
             Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\
             Content-Description: OpenPGP encrypted message",
        )
    };
    vec![
        frame(
            "Mailvelope-2c41b7",
            &armor(
                &[
                    "Version: Mailvelope v4.6.1",
                    "Comment: https://mailvelope.example",
                ],
                60,
                &classic_data(&[2048], 800),
            ),
        )
        .comes_in("mailvelope"),
        frame("Mailvelope-9e05fa", &v1(b"mailvelope")).comes_in("mailvelope-without-armor-headers"),
        frame("sinikael-?=_1-17951724000000.4178236512", &v1(b"flowcrypt")).comes_in("flowcrypt"),
        frame(
            "sinikael-?=_2-17951724000000.8236512417",
            &armor(
                &[
                    "Version: FlowCrypt Email Encryption 8.5",
                    "Comment: Made by us",
                ],
                64,
                &curve_data(5000),
            ),
        )
        .comes_in("flowcrypt-with-armor-headers"),
    ]
}

fn servers() -> Vec<Honest> {
    vec![
        Shape::new(FIELDS, "=_1f7b0c93e54d28a6cb1e70f5d2438b69", &v1(b"enigma"))
            .content_type(
                "multipart/encrypted;\r\n protocol=\"application/pgp-encrypted\";\r\n \
                 boundary=\"BOUNDARY\"",
            )
            .control("Content-Type: application/pgp-encrypted", "\r\n")
            .encrypted(
                "Content-Transfer-Encoding: 7bit\r\n\
                 Content-Type: application/octet-stream;\r\n name=encrypted.asc\r\n\
                 Content-Disposition: inline;\r\n filename=encrypted.asc",
            )
            .comes_in("roundcube-with-enigma"),
        Shape::new(
            FIELDS,
            "=_Kx3QmVb8ZtLw0PyRcNhD5A1",
            &armor(&["Version: GnuPG v2"], 64, &classic_data(&[3072], 2000)),
        )
        .content_type(
            "multipart/encrypted; boundary=\"BOUNDARY\";\r\n \
                 protocol=\"application/pgp-encrypted\"",
        )
        .control(
            "Content-Type: application/pgp-encrypted\r\n\
                 Content-Description: PGP control",
            "\r\n",
        )
        .encrypted(
            "Content-Type: application/octet-stream; name=encrypted.asc\r\n\
                 Content-Disposition: inline\r\nContent-Description: Encrypted data",
        )
        .comes_in("horde"),
        Shape::new(
            FIELDS,
            "inbox-encrypted-by-the-provider",
            &armor(&[], 64, &curve_data(2500)),
        )
        .comes_in("a-provider-that-encrypts-what-arrives"),
    ]
}
