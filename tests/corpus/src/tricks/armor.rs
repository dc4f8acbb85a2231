//! The armored block: text in its headers, between its lines, behind its checksum, and base64 that
//! two decoders read differently.

use filtermail::gate::Rule;

use crate::message::{
    armored, armored_with, around, checksum_line, edit, edit_in, good, in_base64,
};
use crate::packets::{encrypted_data, packet, seipd_v2, session_key};
use crate::trick::{Trick, trick};

const BEGIN: &str = "-----BEGIN PGP MESSAGE-----";
const END: &str = "-----END PGP MESSAGE-----";

pub(super) fn tricks() -> Vec<Trick> {
    [
        begins(),
        armor_headers(),
        base64(),
        padding(),
        checksums(),
        ends(),
    ]
    .concat()
}

/// The packets of a good message.
fn data() -> Vec<u8> {
    [session_key(), encrypted_data()].concat()
}

/// A good message with another line in place of its BEGIN line.
fn begin(line: &str) -> Vec<u8> {
    edit(BEGIN, line)
}

/// A good message with armor headers.
fn headers(lines: &str) -> Vec<u8> {
    edit(
        "MESSAGE-----\r\n\r\n",
        &format!("MESSAGE-----\r\n{lines}\r\n\r\n"),
    )
}

/// A good message with this in front of its base64.
fn before_base64(text: &str) -> Vec<u8> {
    edit(
        "MESSAGE-----\r\n\r\n",
        &format!("MESSAGE-----\r\n\r\n{text}"),
    )
}

fn begins() -> Vec<Trick> {
    let rule = Rule::ArmorBegin;
    vec![
        trick(
            rule,
            "text-before-the-armor",
            "Programs skip what stands before the BEGIN line; people read it.",
            begin(&format!("We meet at noon.\r\n{BEGIN}")),
        ),
        trick(
            rule,
            "empty-line-before-the-armor",
            "Harmless, and yet a place that two programs treat differently.",
            begin(&format!("\r\n{BEGIN}")),
        ),
        trick(
            rule,
            "blank-before-the-begin-line",
            "Not at the line's start: armor for some.",
            begin(&format!(" {BEGIN}")),
        ),
        trick(
            rule,
            "blank-behind-the-begin-line",
            "Allowed by RFC 9580, refused by some programs.",
            begin(&format!("{BEGIN} ")),
        ),
        trick(
            rule,
            "text-behind-the-begin-line",
            "A comparison of beginnings finds a BEGIN line.",
            begin(&format!("{BEGIN} We meet at noon.")),
        ),
        trick(
            rule,
            "signed-message-instead",
            "The text of a signed message is readable.",
            begin("-----BEGIN PGP SIGNED MESSAGE-----"),
        ),
        trick(
            rule,
            "key-block-instead",
            "A key holds names in clear text.",
            begin("-----BEGIN PGP PUBLIC KEY BLOCK-----"),
        ),
        trick(
            rule,
            "message-in-several-blocks",
            "`PART 1/2`: the old form of long messages, joined by few.",
            begin("-----BEGIN PGP MESSAGE, PART 1/2-----"),
        ),
        trick(
            rule,
            "begin-line-with-four-hyphens",
            "Armor for who searches for `BEGIN PGP`.",
            begin("----BEGIN PGP MESSAGE----"),
        ),
        trick(
            rule,
            "begin-line-in-lower-case",
            "Armor for who compares without case.",
            begin("-----begin pgp message-----"),
        ),
        trick(
            rule,
            "begin-line-behind-a-quotation-mark",
            "Armor for who takes off what replies put before lines.",
            begin(&format!("> {BEGIN}")),
        ),
        trick(
            rule,
            "begin-line-with-dashes-escaped",
            "`- ` is taken off in signed messages.",
            begin(&format!("- {BEGIN}")),
        ),
        trick(
            rule,
            "no-begin-line",
            "base64 alone: guessed to be OpenPGP by some.",
            edit(&format!("{BEGIN}\r\n\r\n"), ""),
        ),
        trick(
            rule,
            "no-armor-at-all",
            "The encrypted part is a plain text.",
            around("We meet at noon.\r\n"),
        ),
        trick(
            rule,
            "html-instead-of-armor",
            "Opened by programs that guess types from the content.",
            around("<html><body>We meet at noon.</body></html>\r\n"),
        ),
        trick(
            rule,
            "empty-encrypted-part",
            "Nothing where the cipher text should be.",
            around("\r\n"),
        ),
    ]
}

fn armor_headers() -> Vec<Trick> {
    let rule = Rule::ArmorHeader;
    vec![
        trick(
            rule,
            "version-in-an-armor-header",
            "Room for a line of text; other people's programs still write it.",
            headers("Version: GnuPG v2"),
        )
        .only_outgoing(),
        trick(
            rule,
            "comment-in-an-armor-header",
            "Room for any text; other people's programs still write it.",
            headers("Comment: We meet at noon"),
        )
        .only_outgoing(),
        trick(
            rule,
            "unknown-armor-header",
            "Skipped by programs, read by people.",
            headers("Text: We meet at noon"),
        ),
        trick(
            rule,
            "line-that-is-no-armor-header",
            "Skipped by programs that search for the empty line.",
            headers("We meet at noon"),
        ),
        trick(
            rule,
            "letter-in-armor-headers",
            "Many comments are a letter.",
            headers(&["Comment: We meet at noon, as always"; 40].join("\r\n")),
        ),
        trick(
            rule,
            "armor-header-without-blank",
            "`Comment:` without its blank: RFC 9580 calls that corrupt, programs differ.",
            headers("Comment:We meet at noon"),
        ),
        trick(
            rule,
            "armor-header-in-upper-case",
            "Names are compared with and without case.",
            headers("COMMENT: We meet at noon"),
        ),
        trick(
            rule,
            "continued-armor-header",
            "There is no folding here: a new line, or a header's second.",
            headers("Comment: a\r\n We meet at noon"),
        ),
        trick(
            rule,
            "armor-header-with-a-control-character",
            "A terminal carries it out.",
            headers("Comment: \x1B[2JWe meet at noon"),
        ),
        trick(
            rule,
            "armor-header-with-a-line-separator",
            "U+2028 is a line end to some: an armor header that ends the headers.",
            headers("Comment: a\u{2028}\u{2028}QUJD"),
        ),
        trick(
            rule,
            "blank-line-behind-armor-headers",
            "A line of blanks ends the headers for some, is part of them for others.",
            edit("MESSAGE-----\r\n\r\n", "MESSAGE-----\r\n \t\r\n"),
        ),
        trick(
            rule,
            "second-begin-line",
            "The armor begins at the first or the last.",
            headers(BEGIN),
        ),
        trick(
            rule,
            "no-empty-line-before-the-base64",
            "The first line of base64 is skipped as a broken header by some.",
            edit("MESSAGE-----\r\n\r\n", "MESSAGE-----\r\n"),
        ),
        trick(
            rule,
            "mail-header-in-the-armor",
            "A Content-Type for programs that look at armor headers.",
            headers("Content-Type: text/plain"),
        ),
    ]
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

fn ends() -> Vec<Trick> {
    let end = |line: &str| edit(END, line);
    let block = armored(&data());
    vec![
        trick(
            Rule::ArmorEnd,
            "no-end-line",
            "The armor goes on to the end of the part.",
            edit(&format!("{END}\r\n"), ""),
        ),
        trick(
            Rule::ArmorEnd,
            "end-line-of-another-block",
            "The block begins as a message and ends as a signature.",
            end("-----END PGP SIGNATURE-----"),
        ),
        trick(
            Rule::ArmorEnd,
            "text-behind-the-end-line",
            "On the same line, where nobody looks.",
            end(&format!("{END} We meet at noon.")),
        ),
        trick(
            Rule::ArmorEnd,
            "end-line-with-six-hyphens",
            "An END line for who compares beginnings.",
            end(&format!("{END}-")),
        ),
        trick(
            Rule::ArmorEnd,
            "end-line-behind-a-blank",
            "An END line for who trims.",
            end(&format!(" {END}")),
        ),
        trick(
            Rule::ArmorTrailing,
            "text-behind-the-armor",
            "Programs stop at the END line; people read on.",
            end(&format!("{END}\r\nWe meet at noon.")),
        ),
        trick(
            Rule::ArmorTrailing,
            "text-far-behind-the-armor",
            "Below a page of empty lines.",
            end(&format!("{END}{}We meet at noon.", "\r\n".repeat(500))),
        ),
        trick(
            Rule::ArmorTrailing,
            "second-block-behind-the-first",
            "Two messages in one part: which is decrypted?",
            edit_in(&good(), &block, &format!("{block}{block}")),
        ),
        trick(
            Rule::ArmorTrailing,
            "second-end-line",
            "The end at the first or the last.",
            end(&format!("{END}\r\n{END}")),
        ),
        trick(
            Rule::ArmorTrailing,
            "signed-text-behind-the-armor",
            "A signature over text that was never encrypted.",
            end(&format!(
                "{END}\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\nYes."
            )),
        ),
        trick(
            Rule::ArmorTrailing,
            "no-break-space-behind-the-armor",
            "White space to Unicode's trim.",
            end(&format!("{END}\r\n\u{A0}")),
        ),
    ]
}
