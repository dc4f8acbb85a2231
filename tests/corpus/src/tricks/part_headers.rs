//! The header sections of the two parts: readable fields, and fields that change what is shown.

use filtermail::gate::Rule;

use crate::message::edit;
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [foreign_fields(), types(), encodings(), syntax(), text()].concat()
}

/// A good message with one more field in the second part's header section.
fn second(field: &str) -> Vec<u8> {
    edit(
        "Content-Description: OpenPGP",
        &format!("{field}\r\nContent-Description: OpenPGP"),
    )
}

/// The same in the first part's.
fn first(field: &str) -> Vec<u8> {
    edit(
        "Content-Description: PGP",
        &format!("{field}\r\nContent-Description: PGP"),
    )
}

fn foreign_fields() -> Vec<Trick> {
    let rule = Rule::PartHeader;
    vec![
        trick(
            rule,
            "subject-of-a-part",
            "Some programs show it as the subject of the message.",
            second("Subject: We meet at noon"),
        ),
        trick(
            rule,
            "from-of-a-part",
            "Some programs show it as the author of what was decrypted.",
            second("From: <bob@bank.example>"),
        ),
        trick(
            rule,
            "invented-field-in-the-control-part",
            "Room for any text.",
            first("X-Text: We meet at noon"),
        ),
        trick(
            rule,
            "invented-field-in-the-encrypted-part",
            "Room for any text.",
            second("X-Text: We meet at noon"),
        ),
        trick(
            rule,
            "invented-mime-field",
            "RFC 2045 lets anybody invent `Content-` fields: room for any text.",
            second("Content-Text: We meet at noon"),
        ),
        trick(
            rule,
            "location-of-a-part",
            "Content-Location makes a part the source of an image elsewhere in the message.",
            second("Content-Location: https://bank.example/"),
        ),
        trick(
            rule,
            "base-of-a-part",
            "Content-Base makes relative links lead to the attacker.",
            second("Content-Base: \"https://bank.example/\""),
        ),
        trick(
            rule,
            "mime-version-of-a-part",
            "Means nothing in a part, says RFC 2045: so it does not belong there.",
            second("MIME-Version: 1.0"),
        ),
        trick(
            rule,
            "securejoin-field-in-a-part",
            "A step of the protocol for programs that look into parts.",
            second("Secure-Join: vc-request"),
        ),
        trick(
            rule,
            "autocrypt-field-in-a-part",
            "A key for programs that look into parts.",
            second("Autocrypt: addr=bob@bank.example; keydata=QUJD"),
        ),
        trick(
            rule,
            "language-of-a-part",
            "A list of languages is room for words.",
            second("Content-Language: we, meet, at, noon"),
        ),
    ]
}

fn types() -> Vec<Trick> {
    let octets = "application/octet-stream;";
    vec![
        trick(
            Rule::PartHeaderRepeated,
            "second-content-type-of-a-part",
            "The first or the last: octets or text.",
            second("Content-Type: text/plain"),
        ),
        trick(
            Rule::PartHeaderRepeated,
            "second-transfer-encoding-of-a-part",
            "The first or the last: plain or base64.",
            second("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64"),
        ),
        trick(
            Rule::PartHeaderRepeated,
            "second-disposition-of-a-part",
            "Inline for one program, an attachment for another.",
            second("Content-Disposition: attachment"),
        ),
        trick(
            Rule::PartHeaderRepeated,
            "second-description-of-a-part",
            "Room for text.",
            second("Content-Description: We meet at noon"),
        ),
        trick(
            Rule::PartType,
            "encrypted-part-as-text",
            "Shown as it stands by programs without OpenPGP.",
            edit(octets, "text/plain;"),
        ),
        trick(
            Rule::PartType,
            "encrypted-part-as-html",
            "Tags in it would be carried out.",
            edit(octets, "text/html;"),
        ),
        trick(
            Rule::PartType,
            "encrypted-part-as-an-image",
            "Opened by another program than the one meant.",
            edit(octets, "image/png;"),
        ),
        trick(
            Rule::PartType,
            "encrypted-part-as-pgp-keys",
            "Imported as keys.",
            edit(octets, "application/pgp-keys;"),
        ),
        trick(
            Rule::PartType,
            "control-part-with-another-type",
            "Who goes by the control part sees no encryption.",
            edit(
                "application/pgp-encrypted; charset",
                "application/pgp; charset",
            ),
        ),
        trick(
            Rule::PartType,
            "control-part-without-type",
            "RFC 2046 makes it text/plain.",
            edit(
                "Content-Type: application/pgp-encrypted; charset=\"utf-8\"\r\n",
                "",
            ),
        ),
        trick(
            Rule::PartType,
            "encrypted-part-without-type",
            "RFC 2046 makes it text/plain.",
            edit(
                "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n",
                "",
            ),
        ),
        trick(
            Rule::PartType,
            "parts-without-headers",
            "Two parts of text, by RFC 2046.",
            "From: <alice@example.org>\r\nContent-Type: multipart/encrypted; boundary=b\r\n\r\n\
             --b\r\n\r\nVersion: 1\r\n--b\r\n\r\nWe meet at noon.\r\n--b--\r\n",
        ),
        trick(
            Rule::ContentTypeComment,
            "comment-in-the-type-of-a-part",
            "Comments are skipped or kept.",
            edit(octets, "application/octet-stream (text/plain);"),
        ),
        trick(
            Rule::ContentTypeExtended,
            "extended-name-of-a-part",
            "RFC 2231: the file's name is another to who decodes it.",
            edit("name=\"encrypted.asc\"", "name*=utf-8''note.html"),
        ),
        trick(
            Rule::ContentTypeParameterRepeated,
            "two-names-of-a-part",
            "`.asc` for who checks, `.html` for who opens.",
            edit(
                "name=\"encrypted.asc\"",
                "name=\"a.html\"; name=\"encrypted.asc\"",
            ),
        ),
        trick(
            Rule::ContentTypeSyntax,
            "folded-name-of-a-part",
            "What folding leaves inside quotes differs.",
            edit("name=\"encrypted.asc\"", "name=\"encrypted\r\n .html\""),
        ),
    ]
}

fn encodings() -> Vec<Trick> {
    let rule = Rule::TransferEncoding;
    vec![
        trick(
            rule,
            "encrypted-part-in-base64",
            "The armor is not what stands there, but what comes out of it.",
            second("Content-Transfer-Encoding: base64"),
        ),
        trick(
            rule,
            "encrypted-part-quoted-printable",
            "`=` at a line's end joins lines: another armor for who decodes.",
            second("Content-Transfer-Encoding: quoted-printable"),
        ),
        trick(
            rule,
            "encrypted-part-binary",
            "Line ends mean nothing in binary content.",
            second("Content-Transfer-Encoding: binary"),
        ),
        trick(
            rule,
            "encrypted-part-uuencoded",
            "Decoded by old programs.",
            second("Content-Transfer-Encoding: x-uuencode"),
        ),
        trick(
            rule,
            "control-part-in-base64",
            "`Version: 1` decodes to octets that nobody expects.",
            first("Content-Transfer-Encoding: base64"),
        ),
        trick(
            rule,
            "control-part-quoted-printable",
            "Two readings of the control part.",
            first("Content-Transfer-Encoding: quoted-printable"),
        ),
        trick(
            rule,
            "transfer-encoding-of-a-part-with-a-comment",
            "The comment's word counts for who does not know comments.",
            second("Content-Transfer-Encoding: 7bit (base64)"),
        ),
        trick(
            rule,
            "transfer-encoding-of-a-part-in-quotes",
            "Taken off by some.",
            second("Content-Transfer-Encoding: \"base64\""),
        ),
    ]
}

fn syntax() -> Vec<Trick> {
    let rule = Rule::HeaderSyntax;
    vec![
        trick(
            rule,
            "text-line-among-part-headers",
            "The part's content begins here for some.",
            second("We meet at noon"),
        ),
        trick(
            rule,
            "blank-line-among-part-headers",
            "A line of blanks: the end of the headers for who trims.",
            second("Content-ID: <a@b>\r\n \t"),
        ),
        trick(
            rule,
            "blank-before-the-colon-of-a-part",
            "`Content-Type :` counts for some.",
            second("Content-Type : text/plain"),
        ),
        trick(
            rule,
            "part-begins-with-a-continuation",
            "A continuation of nothing: dropped, or a header after all.",
            edit(
                "Content-Type: application/octet-stream",
                " x\r\nContent-Type: application/octet-stream",
            ),
        ),
        trick(
            rule,
            "armor-among-part-headers",
            "No empty line before the armor: the part has no content for strict readers.",
            second("-----BEGIN PGP MESSAGE-----"),
        ),
    ]
}

fn text() -> Vec<Trick> {
    let rule = Rule::HeaderTooLong;
    let letter = "We meet at noon, as always. Bring the papers and tell nobody.\r\n ".repeat(8);
    vec![
        trick(
            rule,
            "letter-in-the-description",
            "Shown beside the attachment.",
            edit("OpenPGP encrypted message", &format!("{letter}x")),
        ),
        trick(
            rule,
            "letter-in-the-file-name",
            "Shown as the name of the attachment.",
            edit(
                "filename=\"encrypted.asc\"",
                &format!("filename=\"{letter}x\""),
            ),
        ),
        trick(
            rule,
            "letter-in-the-content-id",
            "Nobody checks identifiers.",
            second(&format!("Content-ID: <{letter}@b>")),
        ),
        trick(
            rule,
            "letter-in-a-type-parameter",
            "An unknown parameter is ignored, not removed.",
            edit(
                "name=\"encrypted.asc\"",
                &format!("x-note=y;\r\n {}z=1", {
                    (0..40)
                        .map(|n| format!("word{n}=noon;\r\n "))
                        .collect::<String>()
                }),
            ),
        ),
        trick(
            rule,
            "letter-in-the-description-of-the-control-part",
            "The same in the other part.",
            edit("PGP/MIME version", &format!("{letter}x")),
        ),
        trick(
            rule,
            "letter-spread-over-all-fields",
            "Each field is of a usual length, all together are a letter.",
            edit(
                "Content-Description: OpenPGP",
                &format!(
                    "Content-ID: <{0}>\r\nContent-Description: {0} {0}",
                    "meet-at-noon-".repeat(14)
                ),
            ),
        ),
    ]
}
