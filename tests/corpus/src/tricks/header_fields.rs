//! The header section of the message: syntax, injected, repeated and missing fields.

use filtermail::gate::Rule;

use crate::message::{edit, with_fields};
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [syntax(), repeated(), transfer_encodings(), missing()].concat()
}

fn syntax() -> Vec<Trick> {
    let rule = Rule::HeaderSyntax;
    vec![
        trick(
            rule,
            "header-without-colon",
            "The header section ends here for some programs, and the body begins with this line.",
            edit("Subject: [...]", "Read this line as text"),
        ),
        trick(
            rule,
            "blank-before-the-colon",
            "`Content-Type :` is the field to some (RFC 822 allowed it), an unknown one to others.",
            with_fields("Content-Type : text/plain"),
        ),
        trick(
            rule,
            "tab-before-the-colon",
            "The same with TAB.",
            with_fields("Content-Type\t: text/plain"),
        ),
        trick(
            rule,
            "blank-inside-a-header-name",
            "Programs that split at the first blank see a field named `Content-Type`.",
            with_fields("Content-Type text: plain"),
        ),
        trick(
            rule,
            "empty-header-name",
            "A colon alone: skipped by some, the end of the headers for others.",
            edit("Subject: [...]", ": [...]"),
        ),
        trick(
            rule,
            "blank-line-that-is-no-empty-line",
            "A line of one blank ends the header section for some, continues the field for others.",
            edit("Subject: [...]\r\n", "Subject: [...]\r\n \r\n"),
        ),
        trick(
            rule,
            "tab-line-that-is-no-empty-line",
            "The same with TAB.",
            edit("Subject: [...]\r\n", "Subject: [...]\r\n\t\r\n"),
        ),
        trick(
            rule,
            "content-type-behind-a-blank-line",
            "Who ends the headers at the blank line never sees that this is multipart/encrypted.",
            edit(
                "Content-Type: multipart",
                "X-Note: a\r\n \t \r\nContent-Type: multipart",
            ),
        ),
        trick(
            rule,
            "first-line-is-a-continuation",
            "A continuation of nothing: dropped, or a header after all.",
            edit("From:", " From:"),
        ),
        trick(
            rule,
            "mbox-line-on-top",
            "A `From ` line as in mailbox files: skipped by some, the start of the body for others.",
            edit("From:", "From alice Fri Nov 20 14:00:00 2026\r\nFrom:"),
        ),
        trick(
            rule,
            "quoted-mbox-line-inside",
            "Programs that read mailbox files take off the `>`.",
            edit("Subject:", ">From bob Fri Nov 20 14:00:00 2026\r\nSubject:"),
        ),
        trick(
            rule,
            "smtp-command-as-a-header",
            "A line that a proxy could take for a command.",
            edit("Subject: [...]", "MAIL FROM:<bob@bank.example>"),
        ),
        trick(
            rule,
            "delimiter-in-the-header-section",
            "Programs that search for delimiters from the top find a part where headers are.",
            edit("Subject: [...]", "--=_b0undary\r\nSubject: [...]"),
        ),
        trick(
            rule,
            "armor-in-the-header-section",
            "Programs that search for armor from the top find another one here.",
            edit(
                "Subject: [...]",
                "-----BEGIN PGP MESSAGE-----\r\nSubject: [...]",
            ),
        ),
    ]
}

fn repeated() -> Vec<Trick> {
    vec![
        trick(
            Rule::ContentTypeRepeated,
            "second-content-type-first",
            "Programs differ on whether the first or the last one counts.",
            edit("Subject:", "Content-Type: text/plain\r\nSubject:"),
        ),
        trick(
            Rule::ContentTypeRepeated,
            "second-content-type-last",
            "The same the other way round.",
            with_fields("Content-Type: text/html; charset=utf-8"),
        ),
        trick(
            Rule::ContentTypeRepeated,
            "second-content-type-in-another-case",
            "Names are compared with and without case.",
            with_fields("CONTENT-TYPE: text/plain"),
        ),
        trick(
            Rule::ContentTypeRepeated,
            "same-content-type-with-another-boundary",
            "Both say multipart/encrypted, but the parts are others.",
            with_fields("Content-Type: multipart/encrypted; boundary=\"other\""),
        ),
        trick(
            Rule::ContentTypeRepeated,
            "same-content-type-twice",
            "Joined with a comma by programs that treat headers as HTTP does.",
            with_fields("Content-Type: multipart/encrypted; boundary=\"=_b0undary\""),
        ),
        trick(
            Rule::ContentTypeRepeated,
            "empty-second-content-type",
            "An empty field resets the type to text/plain for some.",
            with_fields("Content-Type:"),
        ),
        trick(
            Rule::MimeVersionRepeated,
            "two-mime-versions",
            "No such message exists; some programs turn MIME off.",
            edit("Subject:", "Mime-Version: 2.0\r\nSubject:"),
        ),
        trick(
            Rule::TransferEncodingRepeated,
            "two-transfer-encodings",
            "The first or the last, 7bit or base64.",
            with_fields("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64"),
        ),
        trick(
            Rule::TransferEncodingRepeated,
            "same-transfer-encoding-twice",
            "Decoded twice by some.",
            with_fields("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 7bit"),
        ),
    ]
}

fn transfer_encodings() -> Vec<Trick> {
    let rule = Rule::TransferEncoding;
    let encoding = |value: &str| with_fields(&format!("Content-Transfer-Encoding: {value}"));
    vec![
        trick(
            rule,
            "whole-message-in-base64",
            "RFC 2045 forbids it on multiparts; programs that decode see another body.",
            encoding("base64"),
        ),
        trick(
            rule,
            "whole-message-quoted-printable",
            "`=\\r\\n` joins lines, so that delimiters vanish or appear.",
            encoding("quoted-printable"),
        ),
        trick(
            rule,
            "whole-message-uuencoded",
            "Programs that know the old name decode.",
            encoding("x-uuencode"),
        ),
        trick(
            rule,
            "whole-message-gzipped",
            "An invented encoding that some software unpacks.",
            encoding("gzip"),
        ),
        trick(
            rule,
            "transfer-encoding-with-a-comment",
            "RFC 2045 allows comments; programs that keep them know no such encoding.",
            encoding("7bit (base64)"),
        ),
        trick(
            rule,
            "transfer-encoding-with-a-parameter",
            "`base64` to who cuts at the semicolon and reads backwards, 7bit to others.",
            encoding("7bit; base64"),
        ),
        trick(
            rule,
            "empty-transfer-encoding",
            "What an empty field means is nobody's rule.",
            encoding(""),
        ),
        trick(
            rule,
            "transfer-encoding-as-an-encoded-word",
            "Programs that decode words everywhere read `base64`.",
            encoding("=?utf-8?q?base64?="),
        ),
        trick(
            rule,
            "transfer-encoding-binary",
            "Lines do not end where they seem to in binary content.",
            encoding("binary"),
        ),
        trick(
            rule,
            "folded-transfer-encoding",
            "`base64` begins on the second line: unfolded by some, overlooked by others.",
            encoding("\r\n base64"),
        ),
    ]
}

fn missing() -> Vec<Trick> {
    vec![
        trick(
            Rule::ContentTypeMissing,
            "no-content-type",
            "Without a type the body is plain text, and all of it is shown.",
            edit("Content-Type: multipart/encrypted;", "X-Type: a;"),
        ),
        trick(
            Rule::ContentTypeMissing,
            "content-type-misspelt",
            "A program that repairs spelling would not need the right one.",
            edit("Content-Type: multipart", "ContentType: multipart"),
        ),
        trick(
            Rule::ContentTypeMissing,
            "content-type-in-a-continuation-line",
            "The field is part of the subject, though a sloppy search finds it.",
            edit(
                "Content-Type: multipart/enc",
                "X-Note: a\r\n Content-Type: multipart/enc",
            ),
        ),
        trick(
            Rule::ContentTypeMissing,
            "content-type-after-the-empty-line",
            "The headers end early: all that follows is a body of plain text.",
            edit("Subject: [...]\r\n", "Subject: [...]\r\n\r\n"),
        ),
        trick(
            Rule::ContentTypeMissing,
            "resent-content-type-only",
            "Fields of a resent block do not describe this body.",
            edit("Content-Type: multipart", "Resent-Content-Type: multipart"),
        ),
        trick(
            Rule::FromMissing,
            "an-empty-message",
            "Nothing at all is nothing encrypted.",
            "",
        ),
        trick(
            Rule::FromMissing,
            "a-message-of-one-empty-line",
            "Headers and body are there, and both are empty.",
            "\r\n",
        ),
        trick(
            Rule::PartMissing,
            "headers-only",
            "The headers promise an encrypted body that never comes.",
            "From: <alice@example.org>\r\nContent-Type: multipart/encrypted; boundary=b\r\n\r\n",
        ),
        trick(
            Rule::PartMissing,
            "headers-without-an-end",
            "The message ends inside its headers.",
            "From: <alice@example.org>\r\nContent-Type: multipart/encrypted; boundary=b",
        ),
        trick(
            Rule::HeaderTooLong,
            "content-type-of-three-kilobytes",
            "Programs cut long fields, each at another place: the boundary may be behind the cut.",
            edit(
                "boundary=",
                &format!("x={}x; boundary=", "x\r\n ".repeat(700)),
            ),
        ),
    ]
}
