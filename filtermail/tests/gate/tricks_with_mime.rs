//! Headers, parts and armor.

use filtermail::gate::Rule;

use crate::data::{encrypted_data, session_key};
use crate::message::{SECUREJOIN, armored};
use crate::tricks::{Trick, edit, good, incoming, outgoing};

pub(crate) fn header_and_mime_tricks() -> Vec<Trick> {
    let table: &[(Rule, &str, &str)] = &[
        (Rule::Nul, "[...]", "[.\0.]"),
        (Rule::Nul, "\r\nVersion: 1", "\r\nVersion:\x001"),
        (Rule::BareLineEnding, "[...]", "[.\n.]"),
        (Rule::BareLineEnding, "[...]", "[.\r.]"),
        (
            Rule::BareLineEnding,
            "\r\nVersion: 1\r\n",
            "\r\nVersion: 1\n",
        ),
        (
            Rule::BareLineEnding,
            "MESSAGE-----\r\n\r\n",
            "MESSAGE-----\r\n\n",
        ),
        (Rule::HeaderSyntax, "Subject: [...]", "Subject [...]"),
        (Rule::HeaderSyntax, "Subject: [...]", "Subject : [...]"),
        (Rule::HeaderSyntax, "Subject: [...]", ": [...]"),
        (
            Rule::HeaderSyntax,
            "Subject: [...]\r\n",
            "Subject: [...]\r\n \r\n",
        ),
        (Rule::HeaderSyntax, "From:", " From:"),
        (
            Rule::HeaderSyntax,
            "Content-Description: Open",
            "--=_b0undary\r\nX: ",
        ),
        (Rule::FromMissing, "From:", "Sender:"),
        (
            Rule::FromRepeated,
            "Subject:",
            "from: <bob@example.org>\r\nSubject:",
        ),
        (
            Rule::ContentTypeMissing,
            "Content-Type: multipart/encrypted;",
            "X: ",
        ),
        (
            Rule::ContentTypeRepeated,
            "Subject:",
            "Content-type: text/plain\r\nSubject:",
        ),
        (Rule::ContentTypeSyntax, "multipart/encrypted", "multipart"),
        (
            Rule::ContentTypeSyntax,
            "multipart/encrypted",
            "multipart/encrypted/mixed",
        ),
        (Rule::ContentTypeSyntax, "\"=_b0undary\"", "\"=_b0undary"),
        (
            Rule::ContentTypeSyntax,
            "\"=_b0undary\"",
            "\"=_b0undary\" x",
        ),
        (Rule::ContentTypeSyntax, "\"=_b0undary\"", "=_b0undary"),
        (
            Rule::ContentTypeSyntax,
            "\"=_b0undary\"",
            "\"=_b0\\undary\"",
        ),
        (
            Rule::ContentTypeSyntax,
            "\"=_b0undary\"",
            "\"=_b0\r\n undary\"",
        ),
        (
            Rule::ContentTypeSyntax,
            "multipart/encrypted",
            "multipart/encryptéd",
        ),
        (
            Rule::ContentTypeComment,
            "multipart/encrypted",
            "multipart/encrypted (x)",
        ),
        (
            Rule::ContentTypeComment,
            "\"=_b0undary\"",
            "\"=_b0undary\" (x)",
        ),
        (
            Rule::ContentTypeComment,
            "\tboundary=",
            "\t(boundary=x) boundary=",
        ),
        (Rule::ContentTypeExtended, "boundary=", "boundary*="),
        (Rule::ContentTypeExtended, "boundary=", "boundary*0="),
        (
            Rule::ContentTypeParameterRepeated,
            "boundary=",
            "boundary=x; Boundary=",
        ),
        (
            Rule::MimeVersionRepeated,
            "Subject:",
            "Mime-Version: 1.0\r\nSubject:",
        ),
        (
            Rule::TransferEncodingRepeated,
            "Subject:",
            "Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 7bit\r\nSubject:",
        ),
        (
            Rule::TransferEncoding,
            "Subject:",
            "Content-Transfer-Encoding: base64\r\nSubject:",
        ),
        (
            Rule::TransferEncoding,
            "Content-Description: Open",
            "Content-Transfer-Encoding: base64\r\nContent-Description: Open",
        ),
        (
            Rule::TransferEncoding,
            "Content-Description: Open",
            "Content-Transfer-Encoding: quoted-printable\r\nContent-Description: Open",
        ),
        (Rule::NotEncrypted, "multipart/encrypted", "multipart/mixed"),
        (Rule::NotEncrypted, "multipart/encrypted", "text/plain"),
        (
            Rule::Protocol,
            "protocol=\"application/pgp-",
            "protocol=\"application/smime-",
        ),
        (Rule::BoundaryMissing, "boundary=", "bounds="),
        (
            Rule::BoundarySyntax,
            "boundary=\"=_b0undary\"",
            "boundary=\"\"",
        ),
        (
            Rule::BoundarySyntax,
            "boundary=\"=_b0undary\"",
            "boundary=\"=_b0undary \"",
        ),
        (
            Rule::BoundarySyntax,
            "boundary=\"=_b0undary\"",
            "boundary=\"b;oundary\"",
        ),
        (
            Rule::BoundarySyntax,
            "boundary=\"=_b0undary\"",
            "boundary=\"=?utf-8?q?b?=\"",
        ),
        (
            Rule::PreambleText,
            "--=_b0undary\r\n",
            "Hello\r\n--=_b0undary\r\n",
        ),
        (Rule::PreambleText, "--=_b0undary\r\n", " --=_b0undary\r\n"),
        (
            Rule::EpilogueText,
            "--=_b0undary--\r\n",
            "--=_b0undary--\r\n\r\nHello",
        ),
        (
            Rule::PartMissing,
            "\r\n--=_b0undary\r\nContent-Type: application/oct",
            "\r\n--=_b0undary--\r\nX",
        ),
        (
            Rule::PartExtra,
            "--=_b0undary--",
            "--=_b0undary\r\n\r\nHello\r\n--=_b0undary--",
        ),
        (
            Rule::PartExtra,
            "--=_b0undary--",
            "--=_b0undary--\r\n--=_b0undary",
        ),
        (
            Rule::PartNested,
            "application/octet-stream;",
            "multipart/mixed; boundary=x;",
        ),
        (
            Rule::PartNested,
            "application/octet-stream;",
            "message/rfc822;",
        ),
        (
            Rule::PartHeader,
            "Content-Description: Open",
            "Subject: Hello",
        ),
        (
            Rule::PartHeader,
            "Content-Description: PGP",
            "X-Text: Hello",
        ),
        (
            Rule::PartHeaderRepeated,
            "Content-Disposition: inline",
            "Content-Description: Hello",
        ),
        (
            Rule::PartHeaderRepeated,
            "Content-Disposition:",
            "Content-Type: text/plain\r\nX:",
        ),
        (Rule::PartType, "application/octet-stream", "text/plain"),
        (
            Rule::PartType,
            "application/pgp-encrypted; charset",
            "application/pgp; charset",
        ),
        (
            Rule::PartType,
            "Content-Type: application/octet-stream;",
            "Content-ID:",
        ),
        (
            Rule::DelimiterAmbiguous,
            "--=_b0undary\r\n",
            "--=_b0undaryX\r\n",
        ),
        (
            Rule::DelimiterAmbiguous,
            "--=_b0undary--\r\n",
            "--=_b0undary-\r\n",
        ),
        (
            Rule::DelimiterAmbiguous,
            "--=_b0undary--\r\n",
            "--=_b0undary--x\r\n",
        ),
        (Rule::ClosingDelimiterMissing, "--=_b0undary--\r\n", ""),
        (
            Rule::ArmorTrailing,
            "--=_b0undary--\r\n",
            " --=_b0undary--\r\n",
        ),
        (Rule::VersionText, "Version: 1\r\n", "Version: 2\r\n"),
        (
            Rule::VersionText,
            "Version: 1\r\n",
            "Version: 1\r\nHello\r\n",
        ),
        (Rule::VersionText, "Version: 1\r\n", "\r\n"),
        (Rule::ArmorBegin, "-----BEGIN", "Hello\r\n-----BEGIN"),
        (Rule::ArmorBegin, "-----BEGIN", "\r\n-----BEGIN"),
        (
            Rule::ArmorBegin,
            "-----BEGIN PGP MESSAGE",
            "-----BEGIN PGP SIGNED MESSAGE",
        ),
        (
            Rule::ArmorHeader,
            "MESSAGE-----\r\n",
            "MESSAGE-----\r\nVersion: GnuPG v2\r\n",
        ),
        (
            Rule::ArmorHeader,
            "MESSAGE-----\r\n",
            "MESSAGE-----\r\nHello",
        ),
        (
            Rule::ArmorBase64,
            "MESSAGE-----\r\n\r\n",
            "MESSAGE-----\r\n\r\nA b",
        ),
        (
            Rule::ArmorBase64,
            "MESSAGE-----\r\n\r\n",
            "MESSAGE-----\r\n\r\n\r\n",
        ),
        (
            Rule::ArmorBase64,
            "MESSAGE-----\r\n\r\n",
            "MESSAGE-----\r\n\r\n ",
        ),
        (Rule::ArmorPadding, "-----END", "AAAA\r\n-----END"),
        (Rule::ArmorEnd, "-----END", "Hello\r\n-----END"),
        (Rule::ArmorEnd, "-----END PGP MESSAGE-----\r\n", ""),
        (
            Rule::ArmorTrailing,
            "-----END PGP MESSAGE-----\r\n",
            "-----END PGP MESSAGE-----\r\nHello",
        ),
    ];
    let good = good();
    let mut tricks: Vec<Trick> = table
        .iter()
        .filter(|(rule, ..)| *rule != Rule::ArmorPadding && *rule != Rule::ArmorEnd)
        .map(|&(rule, from, to)| outgoing(rule, edit(&good, from, to)))
        .collect();
    // These stand behind the checksum line, which would be read first.
    let checksum = good.lines().find(|line| line.starts_with('=')).unwrap();
    let without_checksum = good.replacen(&format!("{checksum}\r\n"), "", 1);
    let of_armor = table.iter().filter(|(rule, ..)| *rule == Rule::ArmorEnd);
    tricks.extend(of_armor.map(|&(rule, from, to)| outgoing(rule, edit(&good, from, to))));
    tricks.extend([
        outgoing(
            Rule::ArmorPadding,
            edit(&without_checksum, "-----END", "A\r\n-----END"),
        ),
        outgoing(Rule::ArmorChecksumSyntax, edit(&good, checksum, "=abc")),
        outgoing(Rule::ArmorChecksumSyntax, edit(&good, checksum, "=abc!")),
        outgoing(Rule::ArmorChecksum, edit(&good, checksum, "=AAAA")),
        outgoing(
            Rule::ArmorEnd,
            edit(&good, checksum, &format!("{checksum}\r\n{checksum}")),
        ),
        outgoing(Rule::ArmorTrailing, {
            let block = armored(&[session_key(), encrypted_data()].concat());
            edit(&good, &block, &format!("{block}{block}"))
        }),
        outgoing(Rule::LineTooLong, edit(&good, "[...]", &"x".repeat(999))),
        outgoing(
            Rule::LineTooLong,
            edit(
                &good,
                "\r\nVersion: 1",
                &("\r\n".to_owned() + &" ".repeat(999)),
            ),
        ),
        outgoing(
            Rule::BoundarySyntax,
            good.replace("=_b0undary", &"b".repeat(71)).into_bytes(),
        ),
        outgoing(
            Rule::HeaderTooLong,
            edit(
                &good,
                "boundary=",
                &format!("x={}x; boundary=", "x\r\n ".repeat(700)),
            ),
        ),
        outgoing(
            Rule::HeaderTooLong,
            edit(&good, "OpenPGP enc", &format!("O{}", "x\r\n ".repeat(700))),
        ),
        incoming(
            Rule::PreambleText,
            edit(
                &good,
                "--=_b0undary\r\n",
                &("Hello\r\n".repeat(147) + "--=_b0undary\r\n"),
            ),
        ),
        incoming(
            Rule::ArmorHeader,
            edit(&good, "MESSAGE-----\r\n", "MESSAGE-----\r\nText: Hello\r\n"),
        ),
        incoming(
            Rule::ArmorHeader,
            edit(
                &good,
                "MESSAGE-----\r\n",
                &("MESSAGE-----\r\n".to_owned() + &"Comment: Hello world\r\n".repeat(60)),
            ),
        ),
    ]);
    tricks
}

pub(crate) fn from_and_securejoin_tricks() -> Vec<Trick> {
    let request = SECUREJOIN;
    let twice = "Secure-Join: vc-request\r\nSecure-Join: vc-request\r\n";
    vec![
        outgoing(Rule::NotEncrypted, edit(request, "Secure-Join:", "X:")),
        outgoing(
            Rule::SecureJoinRepeated,
            edit(request, "Secure-Join: vc-request\r\n", twice),
        ),
        outgoing(
            Rule::SecureJoinStep,
            edit(request, "Join: vc-request", "Join: vc-auth-required"),
        ),
        outgoing(
            Rule::SecureJoinStep,
            edit(request, "Join: vc-request", "Join: Hello"),
        ),
        outgoing(
            Rule::SecureJoinType,
            edit(request, "multipart/mixed", "multipart/alternative"),
        ),
        outgoing(
            Rule::SecureJoinType,
            edit(request, "multipart/mixed", "text/plain"),
        ),
        outgoing(
            Rule::SecureJoinText,
            edit(request, "Join: vc-request", "Join: vg-request"),
        ),
        outgoing(
            Rule::SecureJoinText,
            edit(request, "request\r\n\r\n--", "request\r\nHello\r\n--"),
        ),
        outgoing(
            Rule::SecureJoinText,
            edit(request, "request\r\n\r\n--", "request Hello\r\n--"),
        ),
        outgoing(Rule::TransferEncoding, edit(request, "7bit", "base64")),
        outgoing(Rule::PartType, edit(request, "text/plain", "text/html")),
        outgoing(
            Rule::PartHeader,
            edit(request, "Content-Transfer-Encoding: 7bit", "X: Hello"),
        ),
        outgoing(
            Rule::PartExtra,
            edit(request, "--inner--", "--inner\r\n\r\nHello\r\n--inner--"),
        ),
        outgoing(
            Rule::PartMissing,
            edit(request, "--inner\r\n", "--inner--\r\n"),
        ),
        outgoing(
            Rule::CleartextTooLarge,
            edit(
                request,
                "--inner--\r\n",
                &("--inner--\r\n".to_owned() + &"\r\n".repeat(1 << 19)),
            ),
        ),
    ]
}
