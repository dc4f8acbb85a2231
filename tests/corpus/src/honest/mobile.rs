//! Mail programs for telephones.

use super::{Honest, Shape, armor, classic_data, curve_data};
use crate::openpgp::{CURRENT_KEY, LEGACY_KEY, Recipients, seipd_v1, seipd_v2};

const FIELDS: &str = "Date: Fri, 20 Nov 2026 12:00:00 +0100\r\n\
                      From: =?UTF-8?Q?Alice_M=C3=BCller?= <alice@example.org>\r\n\
                      To: bob@chat.example\r\nSubject: ...\r\n\
                      Message-ID: <8A3C5E70-1B2D-4F6A-9C8E-7D6F5E4C3B2A@example.org>\r\n\
                      MIME-Version: 1.0";

pub(super) fn honest() -> Vec<Honest> {
    [k9(), fairemail(), others()].concat()
}

fn v1(text: &[u8]) -> String {
    seipd_v1(text, &[&LEGACY_KEY], Recipients::Named, true)
}

fn k9() -> Vec<Honest> {
    let frame = |armor: &str| {
        Shape::new(FIELDS, "----QX7ZPLM2KD9WVT4RHB8YNCSF1GJE60", armor)
            .content_type(
                "multipart/encrypted; boundary=\"BOUNDARY\";\r\n \
                 protocol=\"application/pgp-encrypted\"",
            )
            .preamble("\r\n")
            .encrypted(
                "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
                 Content-Transfer-Encoding: 7bit\r\n\
                 Content-Disposition: inline; filename=\"encrypted.asc\"",
            )
    };
    vec![
        frame(&v1(b"k9")).comes_in("k-9-mail"),
        frame(&v1(&[b'k'; 70_000])).comes_in("k-9-mail-with-a-photograph"),
        frame(&armor(&[], 64, &classic_data(&[4096, 4096], 2000))).comes_in("k-9-mail-to-rsa-keys"),
        frame(&seipd_v2(b"k9", &[&CURRENT_KEY], false)).comes_in("k-9-mail-to-a-key-of-version-6"),
    ]
}

fn fairemail() -> Vec<Honest> {
    let frame = |armor: &str| {
        Shape::new(FIELDS, "----=_Part_17_204837561.1795172400000", armor)
            .content_type(
                "multipart/encrypted; protocol=\"application/pgp-encrypted\"; \r\n\
                 \tboundary=\"BOUNDARY\"",
            )
            .control(
                "Content-Type: application/pgp-encrypted; charset=us-ascii\r\n\
                 Content-Transfer-Encoding: 7bit\r\n\
                 Content-Disposition: inline",
                "",
            )
            .encrypted(
                "Content-Type: application/octet-stream; name=encrypted.asc\r\n\
                 Content-Transfer-Encoding: 7bit\r\n\
                 Content-Disposition: inline; filename=encrypted.asc",
            )
    };
    vec![
        frame(&v1(b"fair")).comes_in("fairemail"),
        frame(&armor(&[], 64, &curve_data(8000))).comes_in("fairemail-with-a-long-text"),
    ]
}

fn others() -> Vec<Honest> {
    vec![
        Shape::new(FIELDS, "MIME-Boundary-4c1f8a22b6d05e73", &v1(b"r2"))
            .encrypted("Content-Type: application/octet-stream")
            .comes_in("r2mail2"),
        Shape::new(FIELDS, "canary_5f3e0b7c91d24a68", &v1(b"canary"))
            .preamble("\r\n\r\n")
            .comes_in("canary-mail"),
        Shape::new(FIELDS, "------=OpenKeychain_0192837465", &v1(b"squeaky"))
            .control(
                "Content-Type: application/pgp-encrypted; name=\"version.asc\"",
                "\r\n",
            )
            .comes_in("a-program-that-names-the-control-part"),
    ]
}
