//! The base64 of the armor, its padding and its checksum: text between its lines, and data that two
//! decoders read differently.

use filtermail::gate::Rule;

use super::armor::data;
use crate::message::{armored_with, around, checksum_line, edit, edit_in, good, in_base64};
use crate::packets::{packet, seipd_v2, session_key};
use crate::trick::{Trick, trick};

const BEGIN: &str = "-----BEGIN PGP MESSAGE-----";
const END: &str = "-----END PGP MESSAGE-----";

pub(super) fn tricks() -> Vec<Trick> {
    [base64(), padding(), checksums()].concat()
}

/// A good message with this in front of its base64.
fn before_base64(text: &str) -> Vec<u8> {
    edit(
        "MESSAGE-----\r\n\r\n",
        &format!("MESSAGE-----\r\n\r\n{text}"),
    )
}

fn base64() -> Vec<Trick> {
    let rule = Rule::ArmorBase64;
    vec![
        trick(
            rule,
            "words-between-base64-lines",
            "Decoders skip what is not base64; people read it.",
            before_base64("We meet at noon.\r\n"),
        ),
        trick(
            rule,
            "exclamation-marks-in-the-base64",
            "Skipped by lenient decoders, an error for strict ones.",
            before_base64("!!!!\r\n"),
        ),
        trick(
            rule,
            "empty-line-in-the-base64",
            "The end of the data for some.",
            before_base64("\r\n"),
        ),
        trick(
            rule,
            "blank-before-the-base64",
            "Skipped or not.",
            before_base64(" "),
        ),
        trick(
            rule,
            "tab-in-the-base64",
            "Skipped or not.",
            before_base64("\t"),
        ),
        trick(
            rule,
            "url-alphabet-in-the-base64",
            "`-` and `_` stand for `+` and `/` in another alphabet.",
            before_base64("ab_-\r\n"),
        ),
        trick(
            rule,
            "quotation-marks-before-base64-lines",
            "Taken off by programs that know replies.",
            before_base64("> "),
        ),
        trick(
            rule,
            "armor-header-among-the-base64",
            "A header for who goes line by line.",
            in_base64("\r\nComment: We meet at noon\r\n"),
        ),
        trick(
            rule,
            "base64-behind-an-html-tag",
            "Skipped by lenient decoders, shown by programs that guess HTML.",
            before_base64("<b>noon</b>\r\n"),
        ),
        trick(
            rule,
            "dot-in-the-base64",
            "A line of one dot ends a message in SMTP if nobody doubles it.",
            before_base64(".\r\n"),
        ),
        trick(
            Rule::ArmorEnd,
            "line-of-hyphens-in-the-base64",
            "The beginning of an END line, or of a delimiter.",
            before_base64("-----\r\n"),
        ),
        trick(
            Rule::ArmorEnd,
            "begin-line-among-the-base64",
            "A second block inside the first.",
            before_base64(&format!("{BEGIN}\r\n")),
        ),
    ]
}

fn padding() -> Vec<Trick> {
    let rule = Rule::ArmorPadding;
    // The good message without a checksum line, so that nothing else can fail.
    let bare = around(&armored_with(&data(), 64, false));
    let last = |text: &str| edit_in(&bare, END, &format!("{text}\r\n{END}"));
    // Base64 that needs padding: 3n + 1 octets.
    let padded = |change: fn(&str) -> String| {
        let of_length = |length| [session_key(), packet(18, &seipd_v2(length))].concat();
        let fits = |octets: &Vec<u8>| octets.len() % 3 == 1;
        let octets = (600..603).map(of_length).find(fits).unwrap_or_default();
        let armor = armored_with(&octets, 64, false);
        around(&change(&armor))
    };
    vec![
        trick(
            rule,
            "one-base64-character-too-many",
            "Six bits more than whole octets: kept or dropped.",
            last("A"),
        ),
        trick(
            rule,
            "two-base64-characters-too-many",
            "An octet without its padding: kept or dropped.",
            last("QQ"),
        ),
        trick(
            rule,
            "missing-padding",
            "Some decoders do not need it.",
            padded(|armor| armor.replace("==\r\n", "\r\n")),
        ),
        trick(
            rule,
            "half-the-padding",
            "One `=` where two belong.",
            padded(|armor| armor.replace("==\r\n", "=\r\n")),
        ),
        trick(
            rule,
            "too-much-padding",
            "Three `=` where two belong.",
            padded(|armor| armor.replace("==\r\n", "===\r\n")),
        ),
        trick(
            rule,
            "base64-behind-the-padding",
            "The data ends at the padding, or goes on: two messages.",
            padded(|armor| armor.replace("==\r\n", "==QUJD\r\n")),
        ),
        trick(
            rule,
            "base64-line-behind-the-padding",
            "The same on the next line.",
            padded(|armor| armor.replace("==\r\n", "==\r\nQUJD\r\n")),
        ),
        trick(
            rule,
            "text-behind-the-padding",
            "Skipped by decoders that stop at the padding.",
            padded(|armor| armor.replace("==\r\n", "==We meet at noon\r\n")),
        ),
        trick(
            rule,
            "bits-in-the-padding",
            "Four bits that no octet holds: a hidden channel, and two decoders that differ.",
            padded(|armor| {
                let at = armor.find("==\r\n").unwrap_or_default();
                let (before, behind) = armor.split_at(at - 1);
                let behind = behind.split_at(1).1;
                format!("{before}B{behind}")
            }),
        ),
    ]
}

fn checksums() -> Vec<Trick> {
    let good = good();
    let line = checksum_line(&data());
    let checksum = |text: &str| edit_in(&good, &line, text);
    vec![
        trick(
            Rule::ArmorChecksumSyntax,
            "short-checksum",
            "Three characters are no CRC24.",
            checksum("=abc\r\n"),
        ),
        trick(
            Rule::ArmorChecksumSyntax,
            "long-checksum",
            "Five characters are no CRC24.",
            checksum("=abcde\r\n"),
        ),
        trick(
            Rule::ArmorChecksumSyntax,
            "empty-checksum",
            "An `=` alone.",
            checksum("=\r\n"),
        ),
        trick(
            Rule::ArmorChecksumSyntax,
            "text-as-the-checksum",
            "Programs that ignore the checksum ignore the line.",
            checksum("=We meet at noon.\r\n"),
        ),
        trick(
            Rule::ArmorChecksumSyntax,
            "text-behind-the-checksum",
            "On the same line, where nobody looks.",
            checksum(&line.replace("\r\n", " We meet at noon.\r\n")),
        ),
        trick(
            Rule::ArmorChecksumSyntax,
            "checksum-with-padding",
            "Three octets need none.",
            checksum("=QQ==\r\n"),
        ),
        trick(
            Rule::ArmorChecksum,
            "wrong-checksum",
            "RFC 9580 says to ignore it; four characters of text each message.",
            checksum("=Noon\r\n"),
        ),
        trick(
            Rule::ArmorEnd,
            "two-checksums",
            "The first or the last.",
            checksum(&format!("{line}{line}")),
        ),
        trick(
            Rule::ArmorEnd,
            "text-line-behind-the-checksum",
            "Between the checksum and the END line, where nobody looks.",
            checksum(&format!("{line}We meet at noon.\r\n")),
        ),
        trick(
            Rule::ArmorEnd,
            "base64-behind-the-checksum",
            "More data for who skips the checksum.",
            checksum(&format!("{line}QUJD\r\n")),
        ),
        trick(
            Rule::ArmorEnd,
            "empty-line-behind-the-checksum",
            "Harmless, and yet a place that two programs treat differently.",
            checksum(&format!("{line}\r\n")),
        ),
    ]
}
