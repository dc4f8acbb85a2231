//! Look-alikes of the securejoin request, the one cleartext message that passes: text beside it, in
//! it, and under its header.

use filtermail::gate::Rule;

use crate::message::{SECUREJOIN, edit_in};
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [steps(), texts(), parts(), around(), securejoin_fields()].concat()
}

/// A securejoin request with one change.
fn request(from: &str, to: &str) -> Vec<u8> {
    edit_in(SECUREJOIN, from, to)
}

/// A request with this where its text is.
fn text(text: &str) -> Vec<u8> {
    request(
        "\r\n\r\nSecure-Join: vc-request\r\n",
        &format!("\r\n\r\n{text}\r\n"),
    )
}

fn steps() -> Vec<Trick> {
    let rule = Rule::SecureJoinStep;
    let step = |step: &str| {
        SECUREJOIN
            .replace("Secure-Join: vc-request", &format!("Secure-Join: {step}"))
            .into_bytes()
    };
    vec![
        trick(
            rule,
            "later-step-in-clear-text",
            "It would show who verifies whom; later steps are encrypted.",
            step("vc-auth-required"),
        ),
        trick(
            rule,
            "request-with-auth-in-clear-text",
            "It would show the secret of the QR code.",
            step("vc-request-with-auth"),
        ),
        trick(
            rule,
            "third-version-of-the-request-in-clear-text",
            "Since the third version the first step is encrypted.",
            step("vc-request-pubkey"),
        ),
        trick(
            rule,
            "invented-step",
            "The name of a step as a text.",
            step("We meet at noon"),
        ),
        trick(
            rule,
            "step-in-upper-case",
            "Almost right; exactly one form is accepted.",
            step("VC-REQUEST"),
        ),
        trick(
            rule,
            "step-with-text-behind-it",
            "A comparison of beginnings finds the step.",
            step("vc-request We meet at noon"),
        ),
        trick(rule, "empty-step", "No step at all.", step("")),
        trick(
            rule,
            "step-in-a-comment",
            "Comments are for other headers.",
            step("(We meet) vc-request"),
        ),
        trick(
            rule,
            "confirmation-in-clear-text",
            "The last step of a group's protocol.",
            step("vg-member-added"),
        ),
    ]
}

fn texts() -> Vec<Trick> {
    let rule = Rule::SecureJoinText;
    vec![
        trick(
            rule,
            "request-with-another-text",
            "The header is right, the text a letter.",
            text("We meet at noon."),
        ),
        trick(
            rule,
            "request-with-a-second-line",
            "The first line is right.",
            text("Secure-Join: vc-request\r\nWe meet at noon."),
        ),
        trick(
            rule,
            "request-with-text-on-the-line",
            "The line begins right.",
            text("Secure-Join: vc-request We meet at noon."),
        ),
        trick(
            rule,
            "request-with-text-before-the-line",
            "The line ends right.",
            text("We meet at noon.\r\nSecure-Join: vc-request"),
        ),
        trick(
            rule,
            "request-whose-text-is-another-step",
            "Header and text disagree: contact or group.",
            text("Secure-Join: vg-request"),
        ),
        trick(
            rule,
            "group-request-in-the-header-only",
            "The same the other way round.",
            request("Secure-Join: vc-request", "Secure-Join: vg-request"),
        ),
        trick(
            rule,
            "request-twice-in-the-text",
            "Two lines where one is enough.",
            text("Secure-Join: vc-request\r\nSecure-Join: vc-request"),
        ),
        trick(rule, "request-without-text", "An empty part.", text("")),
        trick(
            rule,
            "request-with-a-signature-below",
            "`-- ` and a name, as mail programs add.",
            text("Secure-Join: vc-request\r\n-- \r\nAlice"),
        ),
        trick(
            rule,
            "request-with-a-long-letter-below",
            "Behind a screenful of empty lines.",
            text(&format!(
                "Secure-Join: vc-request{}Noon.",
                "\r\n".repeat(300)
            )),
        ),
        trick(
            rule,
            "request-with-letters-of-another-alphabet",
            "A Cyrillic letter among the Latin ones.",
            text("Secure-Join: v\u{441}-request"),
        ),
    ]
}

fn parts() -> Vec<Trick> {
    vec![
        trick(
            Rule::PartExtra,
            "request-with-a-second-part",
            "The first part is right, the second a letter.",
            request(
                "--inner--",
                "--inner\r\nContent-Type: text/plain\r\n\r\nWe meet at noon.\r\n--inner--",
            ),
        ),
        trick(
            Rule::PartMissing,
            "request-without-part",
            "The closing delimiter comes first.",
            request("--inner\r\n", "--inner--\r\n"),
        ),
        trick(
            Rule::PartType,
            "request-as-html",
            "The same words, and tags could be carried out.",
            request("text/plain", "text/html"),
        ),
        trick(
            Rule::PartType,
            "request-as-an-attachment-of-octets",
            "No text to show, a file to open.",
            request("text/plain", "application/octet-stream"),
        ),
        trick(
            Rule::PartNested,
            "request-in-a-nested-message",
            "A message with headers of its own.",
            request("text/plain", "message/rfc822"),
        ),
        trick(
            Rule::PartHeader,
            "request-with-a-field-in-its-part",
            "Room for any text.",
            request("Content-Transfer-Encoding: 7bit", "X-Text: We meet at noon"),
        ),
        trick(
            Rule::TransferEncoding,
            "request-in-base64",
            "The text is not the one that stands there.",
            request("7bit", "base64"),
        ),
        trick(
            Rule::HeaderTooLong,
            "request-with-a-letter-as-its-description",
            "Shown beside the text.",
            request(
                "Content-Transfer-Encoding: 7bit",
                &format!(
                    "Content-Description: {}x",
                    "We meet at noon, as always.\r\n ".repeat(20)
                ),
            ),
        ),
        trick(
            Rule::Charset,
            "request-in-utf-7",
            "`+` begins an escape.",
            request("charset=utf-8", "charset=utf-7"),
        ),
        trick(
            Rule::Charset,
            "request-in-utf-16",
            "Two octets are one character: another text.",
            request("charset=utf-8", "charset=utf-16"),
        ),
    ]
}

fn around() -> Vec<Trick> {
    vec![
        trick(
            Rule::PreambleText,
            "request-with-text-in-the-preamble",
            "Tolerated in encrypted mail by others, never here.",
            request("\r\n--inner\r\n", "\r\nWe meet at noon.\r\n--inner\r\n"),
        ),
        trick(
            Rule::EpilogueText,
            "request-with-text-in-the-epilogue",
            "Behind the closing delimiter.",
            request("--inner--\r\n", "--inner--\r\nWe meet at noon.\r\n"),
        ),
        trick(
            Rule::DelimiterAmbiguous,
            "request-with-a-delimiter-look-alike",
            "A second part for who compares beginnings.",
            request("--inner--\r\n", "--inner2\r\n\r\nNoon.\r\n--inner--\r\n"),
        ),
        trick(
            Rule::ClosingDelimiterMissing,
            "request-without-end",
            "Whoever appends to the message adds to the text.",
            request("--inner--\r\n", ""),
        ),
        trick(
            Rule::CleartextTooLarge,
            "request-of-a-megabyte",
            "Empty lines only, but far more than a request needs.",
            request(
                "--inner--\r\n",
                &("--inner--\r\n".to_owned() + &"\r\n".repeat(1 << 19)),
            ),
        ),
        trick(
            Rule::CleartextTooLarge,
            "request-with-a-megabyte-before-it",
            "The limit counts the preamble too.",
            request("\r\n--inner\r\n", &("\r\n".repeat(1 << 19) + "--inner\r\n")),
        ),
    ]
}

fn securejoin_fields() -> Vec<Trick> {
    vec![
        trick(
            Rule::NotEncrypted,
            "request-without-its-header",
            "The text alone does not make it.",
            request("Secure-Join: vc", "X-Secure-Join: vc"),
        ),
        trick(
            Rule::SecureJoinRepeated,
            "request-with-two-headers",
            "The first or the last.",
            request(
                "Secure-Join: vc-request\r\n",
                "Secure-Join: vc-request\r\nSecure-Join: vg-request\r\n",
            ),
        ),
        trick(
            Rule::SecureJoinRepeated,
            "request-with-the-same-header-twice",
            "Even equal ones.",
            request(
                "Secure-Join: vc-request\r\n",
                "Secure-Join: vc-request\r\nsecure-join: vc-request\r\n",
            ),
        ),
        trick(
            Rule::SecureJoinType,
            "request-as-an-alternative",
            "Other forms of the same text could follow.",
            request("multipart/mixed", "multipart/alternative"),
        ),
        trick(
            Rule::SecureJoinType,
            "request-as-plain-text",
            "The whole body is shown.",
            request("multipart/mixed", "text/plain"),
        ),
        trick(
            Rule::SecureJoinType,
            "letter-under-a-securejoin-header",
            "Ordinary mail with one more header.",
            crate::message::cleartext(
                "Secure-Join: vc-request\r\nContent-Type: text/plain",
                "We meet at noon.\r\n",
            ),
        ),
        trick(
            Rule::BoundaryMissing,
            "request-without-boundary",
            "Programs guess it.",
            request("; boundary=\"inner\"", ""),
        ),
        trick(
            Rule::TransferEncoding,
            "whole-request-in-base64",
            "The body is not the one that stands there.",
            request(
                "Secure-Join-Inv",
                "Content-Transfer-Encoding: base64\r\nSecure-Join-Inv",
            ),
        ),
        trick(
            Rule::ContentTypeMissing,
            "request-without-content-type",
            "The body is plain text then.",
            request("Content-Type: multipart", "X-Type: multipart"),
        ),
    ]
}
