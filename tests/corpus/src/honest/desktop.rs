//! Mail programs for desktops and terminals.

use super::{Honest, Shape, armor, armor_without_checksum, classic_data, curve_data, with_headers};
use crate::openpgp::{CURRENT_KEY, LEGACY_KEY, P256_KEY, Recipients, seipd_v1, seipd_v2};
use crate::packets::{number, packet, pkesk_v3, random, s2k};

/// A sentence where Thunderbird, Enigmail and GPGMail have one of theirs.
const NOTE: &str = "What follows is a message encrypted with OpenPGP (RFC 3156).\r\n";
const SUBJECT: &str = "Subject: ...";

pub(super) fn honest() -> Vec<Honest> {
    [thunderbird(), enigmail(), apple(), terminals(), desktops()].concat()
}

fn v1(text: &[u8]) -> String {
    seipd_v1(text, &[&LEGACY_KEY], Recipients::Named, true)
}

fn thunderbird() -> Vec<Honest> {
    let fields = "Message-ID: <0b8c4f0e-61a4-4c4f-9d0a-2f7f43f9a1f7@example.org>\r\n\
                  Date: Fri, 20 Nov 2026 09:12:44 +0100\r\n\
                  MIME-Version: 1.0\r\n\
                  User-Agent: Mozilla Thunderbird\r\n\
                  To: Bob <bob@chat.example>\r\n\
                  Content-Language: en-US\r\n\
                  From: Alice <alice@example.org>\r\n\
                  Autocrypt: addr=alice@example.org; keydata=\r\n QUJDREVGR0g=\r\n\
                  Subject: ...";
    let frame = |armor: &str| {
        Shape::new(fields, "------------Ks0Yp3Xb7QmUz1LtVnAeRw5d", armor)
            .content_type(
                "multipart/encrypted;\r\n protocol=\"application/pgp-encrypted\";\r\n \
                 boundary=\"BOUNDARY\"",
            )
            .preamble(NOTE)
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
    let reply = fields.replace(
        SUBJECT,
        "Subject: Re: ...\r\nReferences: <a@chat.example>\r\n <b@chat.example>\r\n\
         In-Reply-To: <b@chat.example>",
    );
    let mut answer = frame(&v1(b"reply"));
    answer.fields = reply;
    vec![
        frame(&v1(b"Hello")).comes_in("thunderbird"),
        frame(&v1(&[b'x'; 40_000])).comes_in("thunderbird-with-an-attachment"),
        frame(&armor(&[], 64, &classic_data(&[3072, 4096], 20_000)))
            .comes_in("thunderbird-to-rsa-keys"),
        frame(&seipd_v1(
            b"p",
            &[&P256_KEY, &LEGACY_KEY],
            Recipients::Named,
            false,
        ))
        .comes_in("thunderbird-to-a-hardware-token"),
        frame(&armor_without_checksum(&[], 76, &curve_data(500)))
            .comes_in("thunderbird-with-long-armor-lines"),
        answer.comes_in("thunderbird-reply"),
        frame(&v1(b"no note"))
            .preamble("")
            .comes_in("thunderbird-without-its-note"),
        frame(&v1(b"padded"))
            .preamble(&format!("{NOTE}\r\n"))
            .comes_in("betterbird"),
    ]
}

fn enigmail() -> Vec<Honest> {
    let fields = "To: bob@chat.example\r\nFrom: Alice <alice@example.org>\r\nSubject: ...\r\n\
                  Openpgp: preference=signencrypt\r\n\
                  Message-ID: <5c0f@example.org>\r\nDate: Tue, 3 Mar 2020 18:30:00 +0100\r\n\
                  User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:68.0) Thunderbird/68.5.0\r\n\
                  MIME-Version: 1.0";
    let frame = |headers: &[&str], data: &[u8]| {
        Shape::new(
            fields,
            "b8nHh4oV2pZqLx0sWc7TgYkR5aJuEdMf3",
            &armor(headers, 64, data),
        )
        .preamble(NOTE)
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
    vec![
        frame(&[], &curve_data(400)).comes_in("enigmail"),
        frame(
            &["Version: GnuPG v1.4.11 (GNU/Linux)", "Comment: Made by us"],
            &classic_data(&[2048], 900),
        )
        .comes_in("enigmail-with-version-and-comment"),
        frame(
            &["Charset: utf-8", "Version: GnuPG v2"],
            &classic_data(&[4096], 9000),
        )
        .comes_in("enigmail-with-a-charset"),
        frame(
            &["Comment: One line", "Comment: and another one"],
            &classic_data(&[1024], 900),
        )
        .comes_in("gnupg-with-two-comments"),
        frame(
            &[],
            &[
                packet(3, &[&[4, 9], s2k().as_slice(), &random(33)].concat()),
                super::streamed_data(600),
            ]
            .concat(),
        )
        .comes_in("gnupg-to-a-passphrase"),
        frame(
            &[],
            &[
                packet(1, &pkesk_v3(16, &[&number(2047), &number(2046)])),
                super::streamed_data(20_000),
            ]
            .concat(),
        )
        .comes_in("gnupg-to-an-elgamal-key"),
        frame(
            &["MessageID: Wk3fQ8tL0pX2mB7v"],
            &classic_data(&[2048], 5000),
        )
        .comes_in("pgp-of-the-nineties"),
    ]
}

fn apple() -> Vec<Honest> {
    let fields = "From: Alice <alice@example.org>\r\n\
                  Mime-Version: 1.0 (Mac OS X Mail 16.0 \\(3774.600.62\\))\r\n\
                  Subject: Encrypted\r\n\
                  Message-Id: <6B1A7A0C-93E5-4A43-8F0E-0F2B1E6C7D55@example.org>\r\n\
                  Date: Fri, 20 Nov 2026 10:00:00 +0100\r\nTo: Bob <bob@chat.example>";
    let frame = |armor: &str| {
        Shape::new(
            fields,
            "Apple-Mail=_4E2D0C11-7A60-4C26-9B51-9F40E0B3C7D1",
            armor,
        )
        .content_type(
            "multipart/encrypted;\r\n\tboundary=\"BOUNDARY\";\r\n\
                 \tprotocol=\"application/pgp-encrypted\"",
        )
        .preamble(&format!("{NOTE}\r\n"))
        .control(
            "Content-Transfer-Encoding: 7bit\r\n\
                 Content-Type: application/pgp-encrypted\r\n\
                 Content-Description: PGP/MIME Versions Identification",
            "\r\n",
        )
        .encrypted(
            "Content-Transfer-Encoding: 7bit\r\n\
                 Content-Disposition: inline;\r\n\tfilename=encrypted.asc\r\n\
                 Content-Type: application/octet-stream;\r\n\tname=encrypted.asc\r\n\
                 Content-Description: OpenPGP encrypted message",
        )
    };
    let comment = ["Comment: GPGTools by us"];
    vec![
        frame(&with_headers(&v1(b"apple").replace('\n', "\r\n"), &[]))
            .comes_in("apple-mail-with-gpgtools"),
        frame(&armor(&comment, 64, &classic_data(&[4096, 2048], 4000)))
            .comes_in("apple-mail-with-a-comment"),
        frame(&seipd_v2(b"apple", &[&CURRENT_KEY], false))
            .comes_in("apple-mail-to-a-key-of-version-6"),
    ]
}

fn terminals() -> Vec<Honest> {
    let fields = "Date: Fri, 20 Nov 2026 08:00:00 +0000\r\nFrom: Alice <alice@example.org>\r\n\
                  To: bob@chat.example\r\nSubject: ...\r\n\
                  Message-ID: <20261120080000.GA4711@example.org>\r\nMIME-Version: 1.0";
    let mutt = |armor: &str| {
        Shape::new(fields, "vtJ2mQx8kLz0TgHc", armor)
            .content_type(
                "multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n\
                 \tboundary=\"BOUNDARY\"",
            )
            .preamble("\r\n")
            .control(
                "Content-Type: application/pgp-encrypted\r\nContent-Disposition: attachment",
                "\r\n",
            )
            .encrypted(
                "Content-Type: application/octet-stream\r\n\
                 Content-Disposition: attachment; filename=\"msg.asc\"",
            )
    };
    let mut inline = mutt(&v1(b"neomutt"));
    inline.fields = format!("{fields}\r\nContent-Disposition: inline\r\nUser-Agent: Mutt");
    let emacs = |armor: &str| {
        Shape::new(fields, "=-=-=", armor)
            .content_type("multipart/encrypted; boundary=\"BOUNDARY\";\r\n\tprotocol=\"application/pgp-encrypted\"")
            .control("Content-Type: application/pgp-encrypted", "\r\n")
            .encrypted("Content-Type: application/octet-stream")
    };
    vec![
        mutt(&v1(b"mutt")).comes_in("mutt"),
        mutt(&armor(&[], 64, &classic_data(&[4096], 12_000))).comes_in("mutt-to-an-rsa-key"),
        inline.comes_in("neomutt"),
        emacs(&v1(b"gnus")).comes_in("gnus"),
        emacs(&armor(&[], 64, &curve_data(3000))).ends("", "\r\n").comes_in("notmuch"),
        emacs(&v1(b"aerc")).ends("", "").comes_in("aerc-without-a-last-line-end"),
        mutt(&armor(&["Version: GnuPG v2"], 64, &curve_data(900)))
            .content_type("multipart/encrypted; boundary=BOUNDARY;\r\n protocol=\"application/pgp-encrypted\"")
            .comes_in("alpine-with-an-unquoted-boundary"),
    ]
}

fn desktops() -> Vec<Honest> {
    let fields = "Message-ID: <9d2f.camel@example.org>\r\nSubject: Encrypted\r\n\
                  From: \"Smith, Alice\" <alice@example.org>\r\nTo: bob@chat.example\r\n\
                  Date: Fri, 20 Nov 2026 11:00:00 +0100\r\nMIME-Version: 1.0";
    let plain = |boundary: &str, armor: &str| Shape::new(fields, boundary, armor);
    vec![
        plain("=-0sXhY3bKq7Lw2TzGdN5v", &v1(b"evolution"))
            .control(
                "Content-Type: application/pgp-encrypted\r\nContent-Transfer-Encoding: 7bit",
                "\r\n",
            )
            .encrypted(
                "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
                 Content-Description: This part is encrypted\r\n\
                 Content-Transfer-Encoding: 7bit",
            )
            .comes_in("evolution"),
        plain("=-1tYiZ4cLr8Mx3UaHeO6w", &v1(b"evolution, localised"))
            .encrypted(
                "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
                 Content-Description: =?UTF-8?Q?Dieser_Teil_ist_verschl=C3=BCsselt?=",
            )
            .comes_in("evolution-in-german"),
        plain("nextPart5812347.kQr2VnX9dZ", &v1(b"kmail"))
            .content_type(
                "multipart/encrypted; boundary=\"BOUNDARY\"; \
                 protocol=\"application/pgp-encrypted\"",
            )
            .control(
                "Content-Type: application/pgp-encrypted\r\nContent-Disposition: attachment\r\n\
                 Content-Transfer-Encoding: 7Bit",
                "",
            )
            .encrypted(
                "Content-Type: application/octet-stream\r\n\
                 Content-Disposition: inline; filename=\"msg.asc\"\r\n\
                 Content-Transfer-Encoding: 7Bit",
            )
            .comes_in("kmail"),
        plain("Sig_/pY7kQz2uNcVb0LxTsEwRmGa", &v1(b"claws"))
            .encrypted(
                "Content-Type: application/octet-stream\r\n\
                 Content-Disposition: attachment; filename=\"msg.asc\"",
            )
            .comes_in("claws-mail"),
        plain(
            "Multipart_Fri__20_Nov_2026_11_00_00_+0100_xQ2",
            &v1(b"sylpheed"),
        )
        .comes_in("sylpheed"),
        plain("----=_NextPart_000_0001_01DC5A3B.7F2E4C10", &v1(b"gpgol"))
            .control(
                "Content-Type: application/pgp-encrypted\r\nContent-Transfer-Encoding: 7bit",
                "\r\n",
            )
            .encrypted(
                "Content-Type: application/octet-stream; name=\"gpgol-mime.asc\"\r\n\
                 Content-Disposition: inline; filename=\"gpgol-mime.asc\"\r\n\
                 Content-Transfer-Encoding: 7bit",
            )
            .comes_in("outlook-with-gpgol"),
        plain(
            "PGP_Universal_0A1B2C3D_4E5F6071_8293A4B5",
            &armor(
                &["Version: Encryption Desktop 10.4", "Charset: us-ascii"],
                64,
                &classic_data(&[2048], 700),
            ),
        )
        .comes_in("a-gateway-of-a-company"),
        plain("Schleuder-7c2e91f0", &v1(b"schleuder"))
            .ends("\r\n\r\n", "\r\n\r\n")
            .comes_in("an-encrypted-mailing-list"),
    ]
}
