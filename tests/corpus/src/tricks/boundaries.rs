//! Boundaries that two programs read differently, or that make a delimiter look like something else,
//! and charsets in which it is none.

use filtermail::gate::Rule;

use crate::message::{BOUNDARY, edit, good};
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [boundaries(), boundaries_in_disguise(), charsets()].concat()
}

/// A good message with another boundary everywhere.
fn bounded_by(boundary: &str) -> Vec<u8> {
    good().replace(BOUNDARY, boundary).into_bytes()
}

fn boundaries() -> Vec<Trick> {
    let rule = Rule::BoundarySyntax;
    vec![
        trick(
            Rule::BoundaryMissing,
            "no-boundary",
            "Programs guess it from the body's first line.",
            edit("boundary=", "bounds="),
        ),
        trick(
            rule,
            "empty-boundary",
            "Each line that begins with `--` is a delimiter.",
            bounded_by(""),
        ),
        trick(
            rule,
            "boundary-of-71-characters",
            "Over the limit: cut by some.",
            bounded_by(&"b".repeat(71)),
        ),
        trick(
            rule,
            "boundary-with-a-blank-at-the-end",
            "Trimmed from the parameter, from the delimiter, or from both.",
            bounded_by("b0undary "),
        ),
        trick(
            rule,
            "boundary-of-one-blank",
            "`-- ` begins a signature in text.",
            bounded_by(" "),
        ),
        trick(
            rule,
            "boundary-with-a-semicolon",
            "Cut there by who splits parameters first.",
            bounded_by("b0;undary"),
        ),
        trick(
            rule,
            "boundary-with-brackets",
            "Not legal; a pattern to who builds a regular expression of it.",
            bounded_by("b[0-9]*"),
        ),
        trick(
            rule,
            "boundary-with-percent-encoding",
            "Decoded by who treats it as RFC 2231.",
            bounded_by("b%30undary"),
        ),
        trick(
            rule,
            "boundary-as-an-encoded-word",
            "Decoded by who decodes words everywhere.",
            bounded_by("=?utf-8?q?b0undary?="),
        ),
        trick(
            Rule::ContentTypeSyntax,
            "boundary-with-a-quoted-pair",
            "With and without the backslash: two boundaries.",
            edit("\"=_b0undary\"", "\"=_b0\\undary\""),
        ),
        trick(
            Rule::ContentTypeSyntax,
            "boundary-with-an-escaped-quote",
            "The value ends here for who overlooks the backslash.",
            edit("\"=_b0undary\"", "\"=_b0\\\"; x=\\\"undary\""),
        ),
        trick(
            Rule::ContentTypeSyntax,
            "folded-boundary",
            "What folding leaves inside quotes is a blank, nothing, or CRLF.",
            edit("\"=_b0undary\"", "\"=_b0\r\n undary\""),
        ),
        trick(
            Rule::ContentTypeSyntax,
            "boundary-with-a-tab",
            "A blank, a TAB or nothing.",
            edit("\"=_b0undary\"", "\"=_b0\tundary\""),
        ),
    ]
}

/// Boundaries that make a delimiter look like something else.
fn boundaries_in_disguise() -> Vec<Trick> {
    vec![
        trick(
            Rule::ArmorBegin,
            "boundary-that-makes-a-begin-line",
            "The BEGIN line is a delimiter: who looks for armor finds it, who splits parts does not.",
            bounded_by("---BEGIN PGP MESSAGE-----"),
        ),
        trick(
            Rule::ArmorEnd,
            "boundary-that-makes-an-end-line",
            "The END line is a delimiter.",
            bounded_by("---END PGP MESSAGE-----"),
        ),
        trick(
            Rule::DelimiterAmbiguous,
            "boundary-that-begins-every-armor-line",
            "`---` begins the BEGIN and END lines too.",
            bounded_by("-"),
        ),
        trick(
            Rule::DelimiterAmbiguous,
            "boundary-of-two-hyphens",
            "The delimiter is the closing one of an empty boundary.",
            bounded_by("--"),
        ),
    ]
}

fn charsets() -> Vec<Trick> {
    let rule = Rule::Charset;
    let charset = |name: &str| edit("\tboundary=", &format!("\tcharset={name}; boundary="));
    vec![
        trick(
            rule,
            "message-in-utf-7",
            "ASCII letters mean other characters: `+ADw-` is `<`.",
            charset("utf-7"),
        ),
        trick(
            rule,
            "message-in-utf-16",
            "Two octets are one character: the parts are not where they seem.",
            charset("\"UTF-16LE\""),
        ),
        trick(
            rule,
            "message-in-utf-32",
            "Four octets are one character.",
            charset("utf-32"),
        ),
        trick(
            rule,
            "message-in-ebcdic",
            "No letter means what it means in ASCII.",
            charset("ibm037"),
        ),
        trick(
            rule,
            "message-in-iso-2022-jp",
            "Escape sequences turn ASCII into Kanji and back.",
            charset("iso-2022-jp"),
        ),
        trick(
            rule,
            "message-in-hz",
            "`~{` turns ASCII into Chinese.",
            charset("hz-gb-2312"),
        ),
        trick(
            rule,
            "message-in-a-charset-without-name",
            "Unknown: each program guesses.",
            charset("\"\""),
        ),
        trick(
            rule,
            "version-part-in-utf-16",
            "The control part reads as Chinese, its delimiter too.",
            edit("charset=\"utf-8\"", "charset=\"utf-16\""),
        ),
        trick(
            rule,
            "encrypted-part-in-utf-7",
            "`+` begins an escape in UTF-7, and is a base64 character.",
            edit("name=\"encrypted.asc\"", "charset=utf-7"),
        ),
    ]
}
