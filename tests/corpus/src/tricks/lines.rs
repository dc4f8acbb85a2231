//! NUL, control characters, 8-bit octets, line ends that not every program takes for one, and lines
//! that are too long.

use filtermail::gate::Rule;

use crate::message::{armored_with, around, edit, edit_octets, in_base64, with_fields};
use crate::packets::{packet, seipd_v2, session_key};
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [nul(), line_ends(), controls(), eight_bit(), long_lines()].concat()
}

fn nul() -> Vec<Trick> {
    vec![
        trick(
            Rule::Nul,
            "nul-in-a-header",
            "Programs in C end the string here and read another header than the rest.",
            edit("[...]", "[.\0.]"),
        ),
        trick(
            Rule::Nul,
            "nul-in-a-header-name",
            "`Content-Type\\0` is the decisive field to a program in C and an unknown one to others.",
            with_fields("Content-Type\0: text/plain"),
        ),
        trick(
            Rule::Nul,
            "nul-in-the-boundary",
            "The boundary is `=` to a program in C: other parts, other text.",
            edit("=_b0undary\"", "=\0_b0undary\""),
        ),
        trick(
            Rule::Nul,
            "nul-in-the-from-address",
            "The address is bob's to a program in C and alice's to others.",
            edit("<alice@", "<bob@example.org\0alice@"),
        ),
        trick(
            Rule::Nul,
            "nul-behind-the-version-number",
            "Text behind the NUL is in the part, but not in the string that a check compares.",
            edit("\r\nVersion: 1", "\r\nVersion: 1\0Read this"),
        ),
        trick(
            Rule::Nul,
            "nul-in-the-armor",
            "Lenient decoders skip what is not base64, strict ones stop.",
            edit("MESSAGE-----\r\n\r\n", "MESSAGE-----\r\n\r\n\0"),
        ),
        trick(
            Rule::Nul,
            "nul-in-the-epilogue",
            "White space to a program that strips control characters; text may follow.",
            edit("ndary--\r\n", "ndary--\r\n\0Read this\r\n"),
        ),
    ]
}

fn line_ends() -> Vec<Trick> {
    let rule = Rule::BareLineEnding;
    vec![
        trick(
            rule,
            "bare-lf-in-a-header",
            "What follows the LF is a header of its own to most programs.",
            edit("[...]", "[...]\nContent-Type: text/plain"),
        ),
        trick(
            rule,
            "bare-cr-in-a-header",
            "Old Mac line end: what follows is a header of its own to some libraries.",
            edit("[...]", "[...]\rContent-Type: text/plain"),
        ),
        trick(
            rule,
            "bare-lf-ends-the-header-section",
            "LF LF is an empty line to most programs: the body begins earlier than it should.",
            edit("Subject: [...]", "Subject: [...]\n\nRead this at once"),
        ),
        trick(
            rule,
            "bare-cr-ends-the-header-section",
            "CR CR is an empty line to a program that knows all three line ends.",
            edit("Subject: [...]", "Subject: [...]\r\rRead this at once"),
        ),
        trick(
            rule,
            "bare-lf-before-a-delimiter",
            "A delimiter for programs that take LF for a line end, text for others.",
            edit("\r\nVersion: 1\r\n", "\r\nVersion: 1\n--=_b0undary\r\n"),
        ),
        trick(
            rule,
            "bare-cr-before-a-delimiter",
            "The same with CR.",
            edit("\r\nVersion: 1\r\n", "\r\nVersion: 1\r--=_b0undary\r\n"),
        ),
        trick(
            rule,
            "bare-lf-behind-the-version",
            "The mildest form: one line of the control part ends in LF.",
            edit("\r\nVersion: 1\r\n", "\r\nVersion: 1\n"),
        ),
        trick(
            rule,
            "bare-lf-behind-the-armor-headers",
            "Whether the armor headers have ended depends on who reads.",
            edit("MESSAGE-----\r\n\r\n", "MESSAGE-----\r\n\n"),
        ),
        trick(
            rule,
            "bare-cr-in-the-armor",
            "Decoders skip it; a program that shows the part as text moves the cursor to the left.",
            in_base64("\r"),
        ),
        trick(
            rule,
            "two-crs-before-the-lf",
            "CR CR LF is one line end to some, two to others: an empty line in between.",
            edit("Subject: [...]\r\n", "Subject: [...]\r\r\n"),
        ),
        trick(
            rule,
            "two-crs-before-the-lf-of-a-part-header",
            "The part's headers end here for programs that see an empty line.",
            edit("identification\r\n", "identification\r\r\n"),
        ),
        trick(
            rule,
            "lf-before-cr",
            "LF CR: the two the wrong way round.",
            edit("\r\nVersion: 1\r\n", "\r\nVersion: 1\n\r"),
        ),
        trick(
            rule,
            "bare-lf-in-the-epilogue",
            "A line of text behind a LF, where only blanks may be.",
            edit("ndary--\r\n", "ndary--\r\n\nRead this\r\n"),
        ),
        trick(
            rule,
            "cr-at-the-very-end",
            "Half a line end: whoever appends to the message completes it.",
            edit("ndary--\r\n", "ndary--\r\n\r"),
        ),
        trick(
            rule,
            "bare-lf-at-the-end-of-the-armor",
            "The END line has no end for strict readers, so the armor goes on.",
            edit(
                "-----END PGP MESSAGE-----\r\n",
                "-----END PGP MESSAGE-----\n",
            ),
        ),
    ]
}

/// Line ends of programming languages, not of mail: Python's `splitlines` knows all of these, and
/// mail libraries have used it on header sections.
fn controls() -> Vec<Trick> {
    let rule = Rule::HeaderControl;
    vec![
        trick(
            rule,
            "vertical-tab-folds-a-header",
            "A line end to `splitlines`: a second Content-Type.",
            edit("[...]", "[...]\x0BContent-Type: text/plain"),
        ),
        trick(
            rule,
            "form-feed-folds-a-header",
            "A line end to `splitlines`, white space to C's `isspace`.",
            edit("[...]", "[...]\x0CContent-Type: text/plain"),
        ),
        trick(
            rule,
            "file-separator-folds-a-header",
            "U+001C is a line end to `splitlines`.",
            edit("[...]", "[...]\x1CContent-Type: text/plain"),
        ),
        trick(
            rule,
            "record-separator-folds-a-header",
            "U+001E is a line end to `splitlines`.",
            edit("[...]", "[...]\x1EFrom: <bob@bank.example>"),
        ),
        trick(
            rule,
            "next-line-folds-a-header",
            "U+0085 is a line end to `splitlines` and to mainframes.",
            edit("[...]", "[...]\u{85}Content-Type: text/plain"),
        ),
        trick(
            rule,
            "line-separator-folds-a-header",
            "U+2028 is a line end to `splitlines` and to JavaScript.",
            edit("[...]", "[...]\u{2028}Content-Type: text/plain"),
        ),
        trick(
            rule,
            "paragraph-separator-folds-a-header",
            "U+2029 is a line end to `splitlines` and to JavaScript.",
            edit("[...]", "[...]\u{2029}From: <bob@bank.example>"),
        ),
        trick(
            rule,
            "escape-sequence-in-a-header",
            "A terminal mail program carries it out: the screen shows what the sender wants.",
            edit("[...]", "\x1B[2JRead this"),
        ),
        trick(
            rule,
            "backspaces-in-a-header",
            "A terminal wipes out what stood there.",
            edit("Subject: [...]", "X-Note: safe\x08\x08\x08\x08evil"),
        ),
        trick(
            rule,
            "delete-in-a-header",
            "DEL is dropped by some programs, which join what it parts.",
            with_fields("X-Note: Con\x7Ftent"),
        ),
        trick(
            rule,
            "form-feed-in-a-part-header",
            "A line end to `splitlines`: a second header of the part.",
            edit(
                "version identification",
                "version\x0CContent-Type: text/plain",
            ),
        ),
        trick(
            rule,
            "vertical-tab-in-a-continuation-line",
            "Folding with VT instead of TAB: some programs see a new line, some a continuation.",
            with_fields("X-Note: a\r\n \x0BContent-Type: text/plain"),
        ),
        trick(
            Rule::PreambleText,
            "form-feed-before-a-delimiter-look-alike",
            "A page break in the preamble hides a delimiter from programs that know CRLF only.",
            edit(
                "\r\n\r\n--=_b0undary\r\n",
                "\r\n\r\nNote\x0C--=_b0undary\r\n--=_b0undary\r\n",
            ),
        ),
        trick(
            Rule::VersionText,
            "form-feed-around-the-version",
            "White space to some languages' trim, a character to others.",
            edit("\r\nVersion: 1\r\n", "\r\n\x0CVersion: 1\r\n"),
        ),
        trick(
            Rule::EpilogueText,
            "vertical-tab-in-the-epilogue",
            "White space to C's `isspace`, text to mail programs.",
            edit("ndary--\r\n", "ndary--\r\n\x0B\r\n"),
        ),
        trick(
            Rule::EpilogueText,
            "no-break-space-in-the-epilogue",
            "White space to Unicode's trim, two octets of text to mail programs.",
            edit("ndary--\r\n", "ndary--\r\n\u{A0}\r\n"),
        ),
    ]
}

fn eight_bit() -> Vec<Trick> {
    vec![
        trick(
            Rule::HeaderControl,
            "latin-1-in-a-header",
            "Octets that are not UTF-8 become whatever the reader guesses; 0x85 even a line end.",
            edit_octets("[...]", b"[...]\x85Content-Type: text/plain"),
        ),
        trick(
            Rule::HeaderControl,
            "overlong-line-feed-in-a-header",
            "A careless decoder makes LF of the two octets C0 8A.",
            edit_octets("[...]", b"[...]\xC0\x8AContent-Type: text/plain"),
        ),
        trick(
            Rule::HeaderControl,
            "utf-16-in-a-header",
            "A byte order mark makes some programs read all that follows as UTF-16.",
            edit_octets("[...]", b"\xFF\xFE[\x01.\x01]"),
        ),
        trick(
            Rule::HeaderSyntax,
            "utf-8-in-a-header-name",
            "The first letter is Cyrillic: no Content-Type to us, one to a program that normalises.",
            with_fields("\u{421}ontent-Type: text/plain"),
        ),
        trick(
            Rule::HeaderSyntax,
            "byte-order-mark-before-the-first-header",
            "Skipped by programs that read UTF-8 files, part of the name for others.",
            edit("From:", "\u{FEFF}From:"),
        ),
        trick(
            Rule::HeaderSyntax,
            "no-break-space-before-the-colon",
            "Trimmed by Unicode's rules, part of the name by those of mail.",
            with_fields("Content-Type\u{A0}: text/plain"),
        ),
        trick(
            Rule::ContentTypeSyntax,
            "accent-in-the-media-type",
            "Programs that reduce to ASCII read `multipart/encrypted`, others nothing known.",
            edit("multipart/encrypted", "multipart/encryptéd"),
        ),
        trick(
            Rule::ContentTypeSyntax,
            "full-width-letters-in-the-media-type",
            "The same letters after Unicode normalisation.",
            edit("multipart/", "\u{FF4D}ultipart/"),
        ),
        trick(
            Rule::ContentTypeSyntax,
            "eight-bit-in-the-boundary",
            "What the delimiter is depends on the charset that the reader takes.",
            edit("=_b0undary\"", "=_b0ündary\""),
        ),
        trick(
            Rule::ArmorBase64,
            "eight-bit-in-the-armor",
            "A decoder that masks the eighth bit reads another character.",
            edit_octets("MESSAGE-----\r\n\r\n", b"MESSAGE-----\r\n\r\n\xC1"),
        ),
        trick(
            Rule::VersionText,
            "eight-bit-in-the-version",
            "A full-width digit one is a `1` after normalisation.",
            edit("\r\nVersion: 1\r\n", "\r\nVersion: \u{FF11}\r\n"),
        ),
        trick(
            Rule::EpilogueText,
            "eight-bit-text-in-the-epilogue",
            "Text is text in any charset.",
            edit("ndary--\r\n", "ndary--\r\nПрочти это\r\n"),
        ),
    ]
}

fn long_lines() -> Vec<Trick> {
    let rule = Rule::LineTooLong;
    let long = |length: usize| "x".repeat(length);
    vec![
        trick(
            rule,
            "from-line-of-a-thousand-octets",
            "A relay on the way folds it, perhaps inside the address: not what was judged.",
            edit("\"Alice\"", &format!("\"{}\"", long(980))),
        ),
        trick(
            rule,
            "content-type-line-of-a-thousand-octets",
            "A relay on the way folds it, perhaps inside the boundary.",
            edit("\tboundary=", &format!("\tx={}; boundary=", long(980))),
        ),
        trick(
            rule,
            "blank-line-of-a-thousand-octets",
            "A relay on the way breaks the blanks into lines; a program may stop before the end.",
            edit("\r\nVersion: 1", &format!("\r\n{}", " ".repeat(999))),
        ),
        trick(
            rule,
            "version-line-behind-a-thousand-blanks",
            "Only a fixed buffer's worth of blanks is read by some programs.",
            edit(
                "\r\nVersion: 1",
                &format!("\r\n{}Version: 1", " ".repeat(990)),
            ),
        ),
        trick(
            rule,
            "epilogue-line-of-a-thousand-blanks",
            "Text can hide behind what a buffer holds.",
            edit(
                "ndary--\r\n",
                &format!("ndary--\r\n{}\r\n", " ".repeat(999)),
            ),
        ),
        trick(
            rule,
            "delimiter-with-a-thousand-blanks",
            "A delimiter for who trims the line, a long line for who cuts it.",
            edit(
                "\r\n--=_b0undary\r\nContent-Type: application/oct",
                &format!(
                    "\r\n--=_b0undary{}\r\nContent-Type: application/oct",
                    " ".repeat(990)
                ),
            ),
        ),
        trick(
            rule,
            "part-header-line-of-a-thousand-octets",
            "A relay on the way folds it; what is behind the fold may read as a header.",
            edit("OpenPGP encrypted", &long(990)),
        ),
        trick(
            rule,
            "armor-line-of-a-thousand-octets",
            "A relay on the way breaks it and puts a blank in: the armor that arrives is another.",
            around(&armored_with(
                &[session_key(), packet(18, &seipd_v2(1200))].concat(),
                1000,
                true,
            )),
        ),
    ]
}
