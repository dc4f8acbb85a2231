//! Delimiters and the number of parts: what one program takes for a part and another for text.

use filtermail::gate::Rule;

use crate::message::{edit, good};
use crate::trick::{Trick, trick};

const HIDDEN_PART: &str = "Content-Type: text/plain\r\n\r\nWe meet at noon.\r\n";

pub(super) fn tricks() -> Vec<Trick> {
    [
        too_many_parts(),
        too_few_parts(),
        nested_parts(),
        delimiters(),
        control_part(),
    ]
    .concat()
}

fn too_many_parts() -> Vec<Trick> {
    let rule = Rule::PartExtra;
    let second = "\r\n--=_b0undary\r\nContent-Type: application/oct";
    vec![
        trick(
            rule,
            "third-part-with-text",
            "Shown as an attachment, or below what was decrypted.",
            edit(
                "--=_b0undary--",
                &format!("--=_b0undary\r\n{HIDDEN_PART}--=_b0undary--"),
            ),
        ),
        trick(
            rule,
            "third-part-that-is-empty",
            "Not even headers: RFC 2046 makes it text/plain.",
            edit("--=_b0undary--", "--=_b0undary\r\n\r\n\r\n--=_b0undary--"),
        ),
        trick(
            Rule::PartType,
            "text-part-in-the-middle",
            "Programs take the first part and the last one for the encrypted message.",
            edit(
                second,
                &format!("\r\n--=_b0undary\r\n{HIDDEN_PART}{second}"),
            ),
        ),
        trick(
            Rule::PartType,
            "text-part-at-the-front",
            "Programs look for the encrypted part wherever it is.",
            edit(
                "--=_b0undary\r\n",
                &format!("--=_b0undary\r\n{HIDDEN_PART}\r\n--=_b0undary\r\n"),
            ),
        ),
        trick(
            rule,
            "part-behind-the-closing-delimiter",
            "RFC 2046 ends the message at the first; some programs go on.",
            edit(
                "--=_b0undary--",
                &format!("--=_b0undary--\r\n--=_b0undary\r\n{HIDDEN_PART}--=_b0undary--"),
            ),
        ),
        trick(
            rule,
            "second-closing-delimiter",
            "The end twice: what is between them belongs to nobody.",
            edit("--=_b0undary--\r\n", "--=_b0undary--\r\n--=_b0undary--\r\n"),
        ),
        trick(rule, "second-encrypted-part", "Which one is decrypted?", {
            let good = good();
            let from = good.rfind(second).unwrap_or_default();
            let (before, part) = good.split_at(from);
            let (part, close) = part.split_at(part.len() - "\r\n--=_b0undary--\r\n".len());
            format!("{before}{part}{part}{close}")
        }),
        trick(
            rule,
            "control-part-again-at-the-end",
            "Programs that search for the control part from the end take the wrong neighbour.",
            edit(
                "--=_b0undary--",
                "--=_b0undary\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\
                 --=_b0undary--",
            ),
        ),
    ]
}

fn too_few_parts() -> Vec<Trick> {
    let second = "\r\n--=_b0undary\r\nContent-Type: application/oct";
    vec![
        trick(
            Rule::PartMissing,
            "control-part-alone",
            "The message ends before anything is encrypted; the rest is epilogue.",
            edit(second, "\r\n--=_b0undary--\r\nX"),
        ),
        trick(
            Rule::PartMissing,
            "closing-delimiter-only",
            "No part at all.",
            edit("--=_b0undary\r\n", "--=_b0undary--\r\n"),
        ),
        trick(
            Rule::PartType,
            "encrypted-part-alone",
            "Without the control part some programs decrypt all the same.",
            {
                let good = good();
                let from = good.find("--=_b0undary\r\n").unwrap_or_default();
                let to = good.rfind("--=_b0undary\r\n").unwrap_or_default();
                let (head, _) = good.split_at(from);
                format!("{head}{}", good.split_at(to).1)
            },
        ),
        trick(
            Rule::PartType,
            "parts-in-the-wrong-order",
            "Some programs do not mind.",
            edit(
                "Content-Type: application/pgp-encrypted;",
                "Content-Type: application/octet-stream;",
            ),
        ),
        trick(
            Rule::ClosingDelimiterMissing,
            "no-closing-delimiter",
            "The last part goes on: whoever appends to the message adds to it.",
            edit("--=_b0undary--\r\n", ""),
        ),
        trick(
            Rule::ArmorTrailing,
            "closing-delimiter-behind-a-blank",
            "The end for programs that trim lines, text of the last part for others.",
            edit("--=_b0undary--\r\n", " --=_b0undary--\r\n"),
        ),
        trick(
            Rule::ClosingDelimiterMissing,
            "cut-behind-the-armor",
            "The message ends where the armor does.",
            edit("\r\n--=_b0undary--\r\n", ""),
        ),
    ]
}

fn nested_parts() -> Vec<Trick> {
    let rule = Rule::PartNested;
    let second = |media: &str| edit("application/octet-stream;", media);
    vec![
        trick(
            rule,
            "multipart-as-the-second-part",
            "A tree of readable parts where the cipher text should be.",
            second("multipart/mixed; boundary=x;"),
        ),
        trick(
            rule,
            "message-as-the-second-part",
            "A readable message where the cipher text should be.",
            second("message/rfc822;"),
        ),
        trick(
            rule,
            "multipart-as-the-first-part",
            "The same in the control part.",
            edit(
                "application/pgp-encrypted; charset",
                "multipart/mixed; charset",
            ),
        ),
        trick(
            rule,
            "nested-part-with-the-same-boundary",
            "Which level a delimiter belongs to is anybody's guess.",
            second("multipart/encrypted; boundary=\"=_b0undary\";"),
        ),
        trick(
            rule,
            "nested-part-whose-boundary-is-a-prefix",
            "`--=_b0` begins the outer delimiter too.",
            second("multipart/mixed; boundary=\"=_b0\";"),
        ),
        trick(
            rule,
            "external-body-as-the-second-part",
            "The text is elsewhere; the recipient's program fetches it.",
            second("message/external-body; access-type=URL;"),
        ),
        trick(
            rule,
            "partial-message-as-the-second-part",
            "The text comes with the next message.",
            second("message/partial; number=1; id=x;"),
        ),
        trick(
            rule,
            "delivery-status-as-the-second-part",
            "Shown as text by programs that know it.",
            second("message/delivery-status;"),
        ),
    ]
}

fn delimiters() -> Vec<Trick> {
    let rule = Rule::DelimiterAmbiguous;
    vec![
        trick(
            rule,
            "delimiter-with-text-behind-it",
            "RFC 2046 leaves it open: a delimiter for who compares beginnings.",
            edit("--=_b0undary\r\n", "--=_b0undaryX\r\n"),
        ),
        trick(
            rule,
            "delimiter-with-text-behind-a-blank",
            "A delimiter for who cuts lines at blanks.",
            edit(
                "--=_b0undary\r\n",
                "--=_b0undary Content-Type: text/plain\r\n",
            ),
        ),
        trick(
            rule,
            "closing-delimiter-with-one-hyphen",
            "The end for some, a longer boundary for others.",
            edit("--=_b0undary--\r\n", "--=_b0undary-\r\n"),
        ),
        trick(
            rule,
            "closing-delimiter-with-three-hyphens",
            "The end for who compares beginnings.",
            edit("--=_b0undary--\r\n", "--=_b0undary---\r\n"),
        ),
        trick(
            rule,
            "closing-delimiter-with-text-behind-it",
            "Text on the line that nobody looks at.",
            edit("--=_b0undary--\r\n", "--=_b0undary-- We meet at noon\r\n"),
        ),
        trick(
            rule,
            "closing-delimiter-with-blanks-inside",
            "The end for who takes blanks out.",
            edit("--=_b0undary--\r\n", "--=_b0undary --\r\n"),
        ),
        trick(
            rule,
            "delimiter-with-a-no-break-space",
            "White space to Unicode's trim.",
            edit("--=_b0undary\r\n", "--=_b0undary\u{A0}\r\n"),
        ),
        trick(
            rule,
            "delimiter-with-a-form-feed",
            "White space to C's `isspace`.",
            edit("--=_b0undary\r\n", "--=_b0undary\x0C\r\n"),
        ),
        trick(
            rule,
            "delimiter-look-alike-in-the-armor",
            "The armor ends here for who compares beginnings; what follows is another part.",
            edit(
                "-----END",
                &format!("--=_b0undary2\r\n{HIDDEN_PART}-----END"),
            ),
        ),
        trick(
            rule,
            "delimiter-look-alike-in-the-epilogue",
            "A part behind the end for who compares beginnings.",
            edit(
                "--=_b0undary--\r\n",
                &format!("--=_b0undary--\r\n--=_b0undary2\r\n{HIDDEN_PART}"),
            ),
        ),
        trick(
            Rule::HeaderSyntax,
            "delimiter-inside-a-part-header",
            "The part ends before it has begun.",
            edit(
                "Content-Description: OpenPGP",
                "--=_b0undary\r\nX-Note: OpenPGP",
            ),
        ),
    ]
}

fn control_part() -> Vec<Trick> {
    let rule = Rule::VersionText;
    let version = |text: &str| edit("\r\nVersion: 1\r\n", &format!("\r\n{text}\r\n"));
    vec![
        trick(
            rule,
            "version-of-the-future",
            "Programs that do not know it show the parts.",
            version("Version: 2"),
        ),
        trick(
            rule,
            "text-behind-the-version",
            "Nobody reads the control part; as an attachment it opens all the same.",
            version("Version: 1\r\nWe meet at noon."),
        ),
        trick(
            rule,
            "text-before-the-version",
            "The same before it.",
            version("We meet at noon.\r\nVersion: 1"),
        ),
        trick(
            rule,
            "text-on-the-line-of-the-version",
            "A comparison of beginnings finds `Version: 1`.",
            version("Version: 1 We meet at noon."),
        ),
        trick(
            rule,
            "version-ten",
            "Begins like version 1.",
            version("Version: 10"),
        ),
        trick(rule, "no-version", "An empty control part.", version("")),
        trick(
            rule,
            "version-in-lower-case",
            "Almost right; exactly one form is accepted.",
            version("version: 1"),
        ),
        trick(
            rule,
            "version-twice",
            "Two lines where one is enough.",
            version("Version: 1\r\nVersion: 1"),
        ),
        trick(
            rule,
            "version-without-blank",
            "Almost right; exactly one form is accepted.",
            version("Version:1"),
        ),
        trick(
            rule,
            "armor-in-the-control-part",
            "Programs that search for armor find this one first.",
            version("Version: 1\r\n-----BEGIN PGP MESSAGE-----"),
        ),
    ]
}
