//! The armored block: text before, behind and in its headers, and lines that almost begin or end it.

use filtermail::gate::Rule;

use crate::message::{armored, around, edit, edit_in, good};
use crate::packets::{encrypted_data, session_key};
use crate::trick::{Trick, trick};

const BEGIN: &str = "-----BEGIN PGP MESSAGE-----";
const END: &str = "-----END PGP MESSAGE-----";

pub(super) fn tricks() -> Vec<Trick> {
    [begins(), armor_headers(), ends()].concat()
}

/// The packets of a good message.
pub(super) fn data() -> Vec<u8> {
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
