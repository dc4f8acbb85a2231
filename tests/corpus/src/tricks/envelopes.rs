//! Messages of another type around, beside or instead of the encrypted one: what a program shows
//! is then not only what was decrypted.
//!
//! Some are the known attacks on mail programs: cipher text between two parts of HTML that send it
//! away ("EFAIL"), and text of the attacker's beside text that is signed or encrypted ("Johnny, you
//! are fired").

use filtermail::gate::Rule;

use crate::message::{armored, cleartext, edit, good};
use crate::packets::{encrypted_data, session_key};
use crate::trick::{Trick, trick};

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n\r\nWe meet at noon.\r\n";

pub(super) fn tricks() -> Vec<Trick> {
    [plain(), around_encrypted(), other_protocols(), inline()].concat()
}

fn armor() -> String {
    armored(&[session_key(), encrypted_data()].concat())
}

/// The two parts of a good message with its Content-Type, as a part of another multipart.
fn encrypted_part() -> String {
    let good = good();
    let (_, part) = good
        .split_once("MIME-Version: 1.0\r\n")
        .expect("the message to hold it");
    part.to_owned()
}

/// A message of this multipart type from its parts.
fn multipart(media: &str, parts: &[&str]) -> Vec<u8> {
    let parts: String = parts
        .iter()
        .map(|part| format!("--outer\r\n{part}\r\n"))
        .collect();
    cleartext(
        &format!("Content-Type: {media}; boundary=\"outer\""),
        &format!("{parts}--outer--\r\n"),
    )
}

fn single(media: &str, body: &str) -> Vec<u8> {
    cleartext(&format!("Content-Type: {media}"), body)
}

fn plain() -> Vec<Trick> {
    let rule = Rule::NotEncrypted;
    vec![
        trick(
            rule,
            "plain-text",
            "The plainest of all: nobody tried to hide anything.",
            single("text/plain; charset=utf-8", "We meet at noon.\r\n"),
        ),
        trick(
            rule,
            "html",
            "Text with tags.",
            single("text/html", "<p>We meet at noon.</p>\r\n"),
        ),
        trick(
            rule,
            "text-in-base64",
            "Reads as garbage to people, not to programs.",
            cleartext(
                "Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit",
                "V2UgbWVldCBhdCBub29uLg==\r\n",
            ),
        ),
        trick(
            rule,
            "multipart-mixed-with-text",
            "Ordinary mail with an attachment.",
            multipart("multipart/mixed", &[TEXT, TEXT]),
        ),
        trick(
            rule,
            "multipart-alternative-with-text",
            "Ordinary mail in two forms.",
            multipart("multipart/alternative", &[TEXT, TEXT]),
        ),
        trick(
            rule,
            "calendar-invitation",
            "Text in an event's description.",
            single("text/calendar; method=REQUEST", "BEGIN:VCALENDAR\r\n"),
        ),
        trick(
            rule,
            "message-in-a-message",
            "The outer headers are ours, the inner ones are shown.",
            single(
                "message/rfc822",
                &format!("From: <bob@bank.example>\r\n{TEXT}"),
            ),
        ),
        trick(
            rule,
            "message-in-pieces",
            "message/partial: the recipient's program puts the pieces together.",
            single(
                "message/partial; id=\"a@b\"; number=1; total=2",
                "We meet\r\n",
            ),
        ),
        trick(
            rule,
            "message-that-is-elsewhere",
            "message/external-body: the recipient's program fetches the text.",
            single(
                "message/external-body; access-type=URL; URL=\"https://bank.example/text\"",
                TEXT,
            ),
        ),
        trick(
            rule,
            "replacing-parts",
            "multipart/x-mixed-replace: each part takes the place of the one before.",
            multipart("multipart/x-mixed-replace", &[TEXT, TEXT]),
        ),
    ]
}

fn around_encrypted() -> Vec<Trick> {
    let rule = Rule::NotEncrypted;
    let encrypted = encrypted_part();
    let image = "Content-Type: text/html\r\n\r\n<img src=\"https://bank.example/";
    vec![
        trick(
            rule,
            "cipher-text-between-html",
            "EFAIL: the decrypted text becomes part of an image's address.",
            multipart(
                "multipart/mixed",
                &[image, &encrypted, "Content-Type: text/html\r\n\r\n\">"],
            ),
        ),
        trick(
            rule,
            "text-before-the-encrypted-part",
            "Shown in one window with what was decrypted, as if it were encrypted too.",
            multipart("multipart/mixed", &[TEXT, &encrypted]),
        ),
        trick(
            rule,
            "text-behind-the-encrypted-part",
            "The same behind it, as mailing lists add it.",
            multipart("multipart/mixed", &[&encrypted, TEXT]),
        ),
        trick(
            rule,
            "encrypted-part-as-an-alternative",
            "Programs without OpenPGP show the other form: the text.",
            multipart("multipart/alternative", &[TEXT, &encrypted]),
        ),
        trick(
            rule,
            "encrypted-part-with-related-parts",
            "The text is an image of the encrypted part.",
            multipart("multipart/related", &[&encrypted, TEXT]),
        ),
        trick(
            rule,
            "encrypted-part-alone-in-a-multipart",
            "Only encrypted, but the outer type is another: who looks at that sees no encryption.",
            multipart("multipart/mixed", &[&encrypted]),
        ),
        trick(
            rule,
            "encrypted-part-in-a-digest",
            "Parts of a digest are messages, with headers of their own.",
            multipart("multipart/digest", &[&encrypted]),
        ),
        trick(
            rule,
            "encrypted-message-forwarded",
            "An encrypted message as an attachment of a plain one.",
            multipart(
                "multipart/mixed",
                &[
                    TEXT,
                    &format!("Content-Type: message/rfc822\r\n\r\n{}", good()),
                ],
            ),
        ),
        trick(
            rule,
            "signed-text-that-calls-itself-encrypted",
            "multipart/signed with the protocol of encryption: the text is readable.",
            multipart(
                "multipart/signed; protocol=\"application/pgp-encrypted\"",
                &[TEXT, &encrypted],
            ),
        ),
        trick(
            rule,
            "signed-cipher-text",
            "What is signed is encrypted, but the frame has room for more.",
            multipart(
                "multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256",
                &[
                    &encrypted,
                    "Content-Type: application/pgp-signature\r\n\r\nx",
                ],
            ),
        ),
        trick(
            rule,
            "list-that-added-a-footer",
            "multipart/mixed by a mailing list: honest, but text all the same.",
            multipart(
                "multipart/mixed",
                &[
                    &encrypted,
                    "Content-Type: text/plain\r\n\r\n-- \r\nThe list",
                ],
            ),
        ),
    ]
}

fn other_protocols() -> Vec<Trick> {
    let rule = Rule::NotEncrypted;
    let named = |media: &str| edit("multipart/encrypted", media);
    vec![
        trick(
            rule,
            "s-mime",
            "Encrypted, perhaps, but nothing here can check it.",
            single(
                "application/pkcs7-mime; smime-type=enveloped-data",
                "MIAGCSqGSIb3DQEHA6CAMIACAQAxggE=\r\n",
            ),
        ),
        trick(
            rule,
            "s-mime-that-is-only-signed",
            "The same type holds readable text.",
            single(
                "application/pkcs7-mime; smime-type=signed-data",
                "V2UgbWVldCBhdCBub29u\r\n",
            ),
        ),
        trick(
            rule,
            "attachment-of-winmail",
            "application/ms-tnef: text in a format that one program unpacks.",
            single("application/ms-tnef; name=winmail.dat", "eJ8+IgAA\r\n"),
        ),
        trick(
            rule,
            "almost-the-media-type",
            "A comparison of beginnings takes it for multipart/encrypted.",
            named("multipart/encrypted-not"),
        ),
        trick(
            rule,
            "media-type-with-a-prefix",
            "A search inside the type finds `encrypted`.",
            named("multipart/x-encrypted"),
        ),
        trick(
            rule,
            "media-type-in-the-wrong-order",
            "Nobody's type; a guess gives multipart/mixed.",
            named("encrypted/multipart"),
        ),
        trick(
            rule,
            "encrypted-as-application",
            "The subtype alone does not make it.",
            named("application/encrypted"),
        ),
        trick(
            rule,
            "good-body-under-plain-text",
            "Everything is as it should be below, but the message is text.",
            named("text/plain"),
        ),
        trick(
            rule,
            "good-body-under-mixed",
            "The parts are shown as attachments, and more may follow.",
            named("multipart/mixed"),
        ),
        trick(
            rule,
            "good-body-under-signed",
            "The control part is taken for signed text.",
            named("multipart/signed"),
        ),
        trick(
            rule,
            "control-type-on-top",
            "The type of the first part as that of the message.",
            named("application/pgp-encrypted"),
        ),
    ]
}

fn inline() -> Vec<Trick> {
    let rule = Rule::NotEncrypted;
    let armor = armor();
    vec![
        trick(
            rule,
            "armor-in-plain-text",
            "Inline PGP: nothing says that there is no text around it.",
            single("text/plain", &armor),
        ),
        trick(
            rule,
            "armor-with-text-around",
            "Inline PGP with text before and behind.",
            single(
                "text/plain",
                &format!("Read this first.\r\n{armor}And this.\r\n"),
            ),
        ),
        trick(
            rule,
            "armor-in-html",
            "The block is encrypted, the page around it is not.",
            single("text/html", &format!("<b>Hello</b><pre>{armor}</pre>")),
        ),
        trick(
            rule,
            "armor-as-application-pgp",
            "The type of before RFC 3156.",
            single("application/pgp; x-action=encrypt", &armor),
        ),
        trick(
            rule,
            "armor-as-an-attachment",
            "An encrypted file beside a readable text.",
            multipart(
                "multipart/mixed",
                &[
                    TEXT,
                    &format!("Content-Type: application/octet-stream\r\n\r\n{armor}"),
                ],
            ),
        ),
        trick(
            rule,
            "signed-text-in-armor-lines",
            "A signed message: the text is readable between its lines.",
            single(
                "text/plain",
                "-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nWe meet at noon.\r\n",
            ),
        ),
        trick(
            Rule::ContentTypeMissing,
            "armor-without-any-type",
            "Nothing says what the body is.",
            format!("From: <alice@example.org>\r\n\r\n{armor}"),
        ),
    ]
}
