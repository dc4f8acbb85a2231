//! The Content-Type of the message: parameters that two programs read differently, so that they see
//! other parts.

use filtermail::gate::Rule;

use crate::message::edit;
use crate::trick::{Trick, trick};

pub(super) fn tricks() -> Vec<Trick> {
    [syntax(), comments(), extended(), repeated()].concat()
}

fn syntax() -> Vec<Trick> {
    let rule = Rule::ContentTypeSyntax;
    vec![
        trick(
            rule,
            "media-type-without-subtype",
            "Programs guess `multipart/mixed`, and show the parts.",
            edit("multipart/encrypted", "multipart"),
        ),
        trick(
            rule,
            "media-type-with-two-slashes",
            "What the subtype is depends on the direction of the search.",
            edit("multipart/encrypted", "multipart/encrypted/mixed"),
        ),
        trick(
            rule,
            "media-type-with-blanks-around-the-slash",
            "RFC 822 allowed blanks between tokens; MIME parsers differ.",
            edit("multipart/encrypted", "multipart / encrypted"),
        ),
        trick(
            rule,
            "folded-media-type",
            "The subtype is on the next line.",
            edit("multipart/encrypted", "multipart/\r\n encrypted"),
        ),
        trick(
            rule,
            "quoted-media-type",
            "Quotes are taken off by some.",
            edit("multipart/encrypted", "\"multipart/encrypted\""),
        ),
        trick(
            rule,
            "two-media-types-with-a-comma",
            "A list as in HTTP: the first or the last.",
            edit("multipart/encrypted;", "text/plain, multipart/encrypted;"),
        ),
        trick(
            rule,
            "empty-media-type",
            "Programs fall back to text/plain.",
            edit("multipart/encrypted;", ";"),
        ),
        trick(
            rule,
            "empty-parameter",
            "Two semicolons: some stop at the empty one, before the boundary.",
            edit("multipart/encrypted;", "multipart/encrypted;;"),
        ),
        trick(
            rule,
            "parameter-without-value",
            "Some stop here, before the boundary.",
            edit("\tboundary=", "\tbounded; boundary="),
        ),
        trick(
            rule,
            "parameters-without-semicolon",
            "Blanks part parameters for some.",
            edit(
                "pgp-encrypted\";\r\n\tboundary",
                "pgp-encrypted\"\r\n\tboundary",
            ),
        ),
        trick(
            rule,
            "comma-between-parameters",
            "Commas part parameters for some.",
            edit(
                "pgp-encrypted\";\r\n\tboundary",
                "pgp-encrypted\",\r\n\tboundary",
            ),
        ),
        trick(
            rule,
            "text-behind-the-boundary",
            "Part of the boundary for who ignores quotes.",
            edit("\"=_b0undary\"", "\"=_b0undary\" text"),
        ),
        trick(
            rule,
            "boundary-in-two-quoted-strings",
            "Joined as in C, or cut after the first.",
            edit("\"=_b0undary\"", "\"=_b0\"\"undary\""),
        ),
        trick(
            rule,
            "boundary-with-an-unclosed-quote",
            "The boundary ends with the line, or the quote is part of it.",
            edit("\"=_b0undary\"", "\"=_b0undary"),
        ),
        trick(
            rule,
            "unquoted-boundary-that-needs-quotes",
            "The token ends before the `=`: an empty boundary, or the whole.",
            edit("\"=_b0undary\"", "=_b0undary"),
        ),
        trick(
            rule,
            "boundary-in-single-quotes",
            "Ordinary characters in mail, quotes to programs from the web.",
            edit("boundary=\"=_b0undary\"", "boundary='=_b0undary'"),
        ),
        trick(
            rule,
            "blank-before-the-equals-sign",
            "Not allowed; some read `boundary`, some no parameter.",
            edit("boundary=", "boundary ="),
        ),
        trick(
            rule,
            "blank-behind-the-equals-sign",
            "An empty boundary for some.",
            edit("boundary=", "boundary= "),
        ),
        trick(
            rule,
            "parameter-name-with-a-quote",
            "`x\"; boundary=` is inside quotes for who counts them from the start.",
            edit("\tboundary=", "\tx\"=y; boundary="),
        ),
        trick(
            Rule::Protocol,
            "protocol-of-s-mime",
            "Programs that go by the protocol hand the parts to other code.",
            edit("application/pgp-encrypted\";", "application/pkcs7-mime\";"),
        ),
        trick(
            Rule::Protocol,
            "protocol-with-a-blank",
            "Equal after trimming, unequal before.",
            edit(
                "application/pgp-encrypted\";",
                " application/pgp-encrypted\";",
            ),
        ),
        trick(
            Rule::Protocol,
            "empty-protocol",
            "Unknown to some, good enough for others.",
            edit("application/pgp-encrypted\";", "\";"),
        ),
    ]
}

fn comments() -> Vec<Trick> {
    let rule = Rule::ContentTypeComment;
    vec![
        trick(
            rule,
            "comment-behind-the-media-type",
            "RFC 2045 allows comments; half of all programs keep them.",
            edit("multipart/encrypted", "multipart/encrypted (text/plain)"),
        ),
        trick(
            rule,
            "comment-before-the-media-type",
            "The type begins with a bracket for some.",
            edit("multipart/encrypted", "(text/plain;) multipart/encrypted"),
        ),
        trick(
            rule,
            "comment-behind-the-boundary",
            "Part of the boundary for some.",
            edit("\"=_b0undary\"", "\"=_b0undary\" (other)"),
        ),
        trick(
            rule,
            "boundary-in-a-comment",
            "A search for `boundary=` finds this one first.",
            edit("\tboundary=", "\t(boundary=other;) boundary="),
        ),
        trick(
            rule,
            "comment-inside-a-token",
            "`b0` and `undary`, joined or not.",
            edit("\"=_b0undary\"", "b0(x)undary"),
        ),
        trick(
            rule,
            "comment-inside-the-parameter-name",
            "No `boundary` for who does not know comments.",
            edit("boundary=", "boun(x)dary="),
        ),
    ]
}

fn extended() -> Vec<Trick> {
    let rule = Rule::ContentTypeExtended;
    vec![
        trick(
            rule,
            "boundary-in-the-extended-form",
            "RFC 2231: with charset and percent encoding, which not all programs know.",
            edit("boundary=\"=_b0undary\"", "boundary*=utf-8''%3D_b0undary"),
        ),
        trick(
            rule,
            "boundary-in-pieces",
            "RFC 2231 continuations: one boundary to some, none to others.",
            edit(
                "boundary=\"=_b0undary\"",
                "boundary*0=\"=_b0\"; boundary*1=\"undary\"",
            ),
        ),
        trick(
            rule,
            "boundary-in-both-forms",
            "RFC 2231 says nothing on which one wins.",
            edit("\tboundary=", "\tboundary*=utf-8''other; boundary="),
        ),
        trick(
            rule,
            "boundary-in-pieces-out-of-order",
            "Joined by number or as they stand.",
            edit(
                "boundary=\"=_b0undary\"",
                "boundary*1=\"undary\"; boundary*0=\"=_b0\"",
            ),
        ),
        trick(
            rule,
            "boundary-in-pieces-with-a-gap",
            "The pieces end at the gap, or go on behind it.",
            edit(
                "boundary=\"=_b0undary\"",
                "boundary*0=\"=_b0undary\"; boundary*2=\"x\"",
            ),
        ),
        trick(
            rule,
            "boundary-in-encoded-pieces",
            "Some pieces are percent encoded, some are not.",
            edit(
                "boundary=\"=_b0undary\"",
                "boundary*0*=utf-8''%3D_; boundary*1=b0undary",
            ),
        ),
        trick(
            rule,
            "protocol-in-the-extended-form",
            "Another protocol for who decodes it.",
            edit(
                "\tboundary=",
                "\tprotocol*=utf-8''application%2Fpgp-signature; boundary=",
            ),
        ),
        trick(
            rule,
            "extended-name-with-a-language",
            "A second quote mark in an unknown parameter: some lose count of what follows.",
            edit("\tboundary=", "\tname*=utf-8'en'a%22%3B; boundary="),
        ),
    ]
}

fn repeated() -> Vec<Trick> {
    let rule = Rule::ContentTypeParameterRepeated;
    vec![
        trick(
            rule,
            "two-boundaries",
            "The first or the last.",
            edit("\tboundary=", "\tboundary=\"other\"; boundary="),
        ),
        trick(
            rule,
            "two-boundaries-in-different-case",
            "Names are compared with and without case.",
            edit("\tboundary=", "\tBOUNDARY=other; boundary="),
        ),
        trick(
            rule,
            "same-boundary-twice",
            "Even equal ones.",
            edit("\tboundary=", "\tboundary=\"=_b0undary\"; boundary="),
        ),
        trick(
            rule,
            "two-protocols",
            "Encrypted to one program, signed to another.",
            edit(
                "\tboundary=",
                "\tprotocol=\"application/pgp-signature\"; boundary=",
            ),
        ),
        trick(
            rule,
            "boundary-inside-another-value",
            "A search for `boundary=` finds the one inside the quotes.",
            edit("\tboundary=", "\tname=\"a; boundary=other\"; boundary="),
        ),
        trick(
            rule,
            "boundary-inside-another-value-in-upper-case",
            "The same for a search without case.",
            edit("\tboundary=", "\tname=\" BOUNDARY =other\"; boundary="),
        ),
        trick(
            rule,
            "boundary-at-the-end-of-another-name",
            "`x-boundary=` holds what a search looks for.",
            edit("\tboundary=", "\tx-boundary=other; boundary="),
        ),
    ]
}
