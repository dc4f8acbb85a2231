//! A DKIM key record, and a message signed with it. White space, line ends and a missing `v=` change
//! nothing in what a record says; the pieces of a body do not matter; and a message that is valid is
//! not so with another body, another From, or a second one.
//!
//! The input is the record up to the first LF, then the value of a DKIM-Signature field up to an
//! empty line, then the body. The signature counts when it is by `example.org` with selector `k`.

#![no_main]

use std::cell::LazyCell;

use chatmail::Domain;
use chatmail_fuzz::pieces::pieces;
use filtermail::dkim::{DkimFailure, DkimVerdict, KeyCache, PublicKey, Verification};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

/// What the signature of a seed is made over.
const FROM: &[u8] = b" <a@example.org>";

thread_local! {
    static RUNTIME: LazyCell<Runtime> = LazyCell::new(|| {
        Builder::new_current_thread().enable_time().build().expect("a runtime")
    });
}

fuzz_target!(|input: &[u8]| {
    let (record, message) = split(input, b"\n");
    let (signature, body) = split(message, b"\n\n");
    let read = PublicKey::from_record(record);
    assert_spelling_does_not_matter(record, read.as_ref().err());
    let Ok(key) = read else { return };
    RUNTIME.with(|runtime| runtime.block_on(check_message(key, signature, body)));
});

fn split<'a>(input: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    let found = input.windows(at.len()).position(|window| window == at);
    match found {
        Some(found) => (&input[..found], &input[found + at.len()..]),
        None => (input, b""),
    }
}

/// What zone files and web forms do to a record.
fn assert_spelling_does_not_matter(record: &[u8], failure: Option<&DkimFailure>) {
    let same = |other: &[u8], what: &str| {
        let again = PublicKey::from_record(other);
        assert_eq!(
            again.as_ref().err(),
            failure,
            "{what}: {}",
            other.escape_ascii()
        );
    };
    same(&[b" ", record, b" \r\n"].concat(), "white space around it");
    // The largest record that is looked at has 16 KiB; no input is near it.
    if failure.is_none() {
        let text = String::from_utf8_lossy(record);
        if !text.trim_start().starts_with('v') {
            same(format!("v=DKIM1; {text}").as_bytes(), "with a version");
        }
        same(text.replace(';', "; ").as_bytes(), "with blanks");
        same(text.replace("; ", ";\r\n\t").as_bytes(), "with line ends");
    }
}

async fn check_message(key: PublicKey, signature: &[u8], body: &[u8]) {
    let cache = KeyCache::holding("k._domainkey.example.org", key)
        .await
        .expect("a cache");
    let verdict = verify(&cache, &[FROM], signature, &[body]).await;
    let cut = verify(&cache, &[FROM], signature, &pieces(body)).await;
    assert_eq!(cut, verdict, "a body in pieces");
    if verdict != DkimVerdict::Valid {
        return;
    }
    let forged: [(&[&[u8]], &[u8]); 4] = [
        (&[b" <b@example.org>"], body),
        (&[FROM, FROM], body),
        (&[FROM], &[body, b"\r\nmore\r\n"].concat()),
        (&[FROM], b"other\r\n"),
    ];
    for (froms, body) in forged {
        let verdict = verify(&cache, froms, signature, &[body]).await;
        assert_ne!(verdict, DkimVerdict::Valid, "{}", body.escape_ascii());
    }
}

async fn verify(
    cache: &KeyCache,
    froms: &[&[u8]],
    signature: &[u8],
    body: &[&[u8]],
) -> DkimVerdict {
    let author: Domain = "example.org".parse().expect("a domain");
    let mut verification = Verification::new();
    verification.header(b"DKIM-Signature", signature);
    for from in froms {
        verification.header(b"From", from);
    }
    verification.header(b"Subject", b" [...]");
    verification.end_of_headers(Some(&author), cache);
    for piece in body {
        verification.body(piece);
    }
    verification.finish().await
}
