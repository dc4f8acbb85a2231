//! A whole message. The verdict does not depend on the pieces it comes in, nor on how it is stored;
//! and where it passes, another MIME parser finds the parts that the gate saw, and no other text.

#![no_main]

use chatmail_fuzz::message::judge_both_ways;
use filtermail::gate::{Class, Direction, MessageReader};
use libfuzzer_sys::fuzz_target;
use mailparse::{ParsedMail, parse_mail};

fuzz_target!(|message: &[u8]| {
    let [_, incoming] = judge_both_ways(message);
    let stored = judge_stored(message);
    match incoming.class {
        Class::Cleartext(_) => return,
        Class::Encrypted => assert_encrypted(&parse_mail(message).expect("mailparse reads it")),
        Class::SecurejoinRequest => {
            assert_securejoin(&parse_mail(message).expect("mailparse reads it"));
        }
    }
    assert_eq!(stored, incoming.class, "the verdict on it as stored");
    // Each CR of a message that passes is part of a CRLF.
    let with_lf: Vec<u8> = message.iter().copied().filter(|&o| o != b'\r').collect();
    assert_eq!(judge_stored(&with_lf), incoming.class, "with LF");
});

fn judge_stored(message: &[u8]) -> Class {
    let mut reader = MessageReader::new_stored(Direction::Incoming);
    reader.push(message);
    reader.finish().class
}

fn assert_encrypted(mail: &ParsedMail<'_>) {
    assert_eq!(mail.ctype.mimetype, "multipart/encrypted");
    let [control, data] = mail.subparts.as_slice() else {
        panic!("{} parts", mail.subparts.len());
    };
    assert_eq!(control.ctype.mimetype, "application/pgp-encrypted");
    assert_eq!(
        control.get_body_raw().expect("plain").trim_ascii(),
        b"Version: 1"
    );
    assert_eq!(data.ctype.mimetype, "application/octet-stream");
    let body = data.get_body_raw().expect("plain");
    let body = body.trim_ascii();
    assert!(body.starts_with(b"-----BEGIN PGP MESSAGE-----\r\n"));
    assert!(body.ends_with(b"\r\n-----END PGP MESSAGE-----"));
    assert!(control.subparts.is_empty() && data.subparts.is_empty());
}

fn assert_securejoin(mail: &ParsedMail<'_>) {
    assert_eq!(mail.ctype.mimetype, "multipart/mixed");
    let [part] = mail.subparts.as_slice() else {
        panic!("{} parts", mail.subparts.len());
    };
    assert_eq!(part.ctype.mimetype, "text/plain");
    assert!(part.subparts.is_empty());
    let body = part.get_body_raw().expect("plain").to_ascii_lowercase();
    assert!(matches!(
        body.trim_ascii(),
        b"secure-join: vc-request" | b"secure-join: vg-request"
    ));
}
