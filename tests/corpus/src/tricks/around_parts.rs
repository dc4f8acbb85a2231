//! Before the first part and behind the last one: text, and what some programs take for parts.

use filtermail::gate::Rule;

use crate::message::edit;
use crate::trick::{Trick, trick};

const HIDDEN_PART: &str = "Content-Type: text/plain\r\n\r\nWe meet at noon.\r\n";

pub(super) fn tricks() -> Vec<Trick> {
    [preambles(), epilogues()].concat()
}

/// A good message with this between its header section and its first delimiter.
fn preamble(text: &str) -> Vec<u8> {
    edit(
        "\r\n\r\n--=_b0undary\r\n",
        &format!("\r\n\r\n{text}\r\n--=_b0undary\r\n"),
    )
}

/// A good message with this behind its closing delimiter.
fn epilogue(text: &str) -> Vec<u8> {
    edit("--=_b0undary--\r\n", &format!("--=_b0undary--\r\n{text}"))
}

fn preambles() -> Vec<Trick> {
    let rule = Rule::PreambleText;
    vec![
        trick(
            rule,
            "text-in-the-preamble",
            "Shown by programs that know no MIME; a line of it is common in mail from others.",
            preamble("We meet at noon."),
        )
        .only_outgoing(),
        trick(
            rule,
            "more-text-in-the-preamble-than-anybody-needs",
            "A kilobyte is room enough for a note; more is a letter.",
            preamble(&"We meet at noon.\r\n".repeat(60)),
        ),
        trick(
            rule,
            "part-in-the-preamble-with-the-boundary-in-upper-case",
            "A delimiter for programs that compare without case.",
            preamble(&format!("--=_B0UNDARY\r\n{HIDDEN_PART}")),
        ),
        trick(
            rule,
            "part-in-the-preamble-with-another-boundary",
            "A delimiter for programs that guess the boundary from the body's first line.",
            preamble(&format!("--other\r\n{HIDDEN_PART}--other--")),
        ),
        trick(
            rule,
            "delimiter-behind-a-blank",
            "A delimiter for programs that trim lines.",
            preamble(&format!(" --=_b0undary\r\n{HIDDEN_PART}")),
        ),
        trick(
            rule,
            "delimiter-behind-a-tab",
            "The same with TAB.",
            preamble(&format!("\t--=_b0undary\r\n{HIDDEN_PART}")),
        ),
        trick(
            rule,
            "delimiter-behind-a-quotation-mark",
            "A delimiter for programs that take off what replies put before lines.",
            preamble(&format!("> --=_b0undary\r\n{HIDDEN_PART}")),
        )
        .only_outgoing(),
        trick(
            rule,
            "armor-in-the-preamble",
            "Programs that search for armor find this one first.",
            preamble("-----BEGIN PGP MESSAGE-----\r\n\r\nQUJD\r\n-----END PGP MESSAGE-----"),
        ),
        trick(
            rule,
            "signed-text-in-the-preamble",
            "A signature over another text than the one that is encrypted.",
            preamble("-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\nYes."),
        ),
        trick(
            rule,
            "delimiter-with-one-hyphen",
            "Almost a delimiter; the part behind it is preamble.",
            preamble(&format!("-=_b0undary\r\n{HIDDEN_PART}")),
        )
        .only_outgoing(),
        trick(
            rule,
            "eight-bit-text-in-the-preamble",
            "Text in any charset: nobody says which.",
            preamble("Прочти это"),
        ),
        trick(
            rule,
            "uuencoded-file-in-the-preamble",
            "Old programs find and unpack it.",
            preamble("begin 644 note.txt\r\n#0V%T\r\n`\r\nend"),
        )
        .only_outgoing(),
    ]
}

fn epilogues() -> Vec<Trick> {
    let rule = Rule::EpilogueText;
    vec![
        trick(
            rule,
            "text-in-the-epilogue",
            "Shown by programs that know no MIME, and by one large webmail as a part.",
            epilogue("We meet at noon.\r\n"),
        ),
        trick(
            rule,
            "one-letter-in-the-epilogue",
            "Any text is text.",
            epilogue("x"),
        ),
        trick(
            rule,
            "text-far-down-in-the-epilogue",
            "Behind many empty lines, where nobody looks.",
            epilogue(&("\r\n".repeat(2000) + "We meet at noon.\r\n")),
        ),
        trick(
            rule,
            "part-with-another-boundary-in-the-epilogue",
            "A delimiter for programs that guess boundaries.",
            epilogue(&format!("--other\r\n{HIDDEN_PART}--other--\r\n")),
        ),
        trick(
            rule,
            "armor-in-the-epilogue",
            "Programs that search for armor from the end find this one.",
            epilogue("-----BEGIN PGP MESSAGE-----\r\n\r\nQUJD\r\n"),
        ),
        trick(
            rule,
            "dot-in-the-epilogue",
            "The end of a message in SMTP, and all that follows a second message.",
            epilogue(".\r\nMAIL FROM:<bob@bank.example>\r\n"),
        ),
        trick(
            rule,
            "message-in-the-epilogue",
            "A second message for programs that read mailbox files.",
            epilogue("From bob Fri Nov 20 14:00:00 2026\r\nFrom: <bob@bank.example>\r\n"),
        ),
        trick(
            rule,
            "closing-delimiter-behind-a-blank-in-the-epilogue",
            "A second end for programs that trim lines.",
            epilogue(" --=_b0undary--\r\n"),
        ),
    ]
}
