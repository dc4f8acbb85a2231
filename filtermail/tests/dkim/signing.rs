//! Our own signatures: what they cover, and that others find them valid.

use filtermail::dkim::{DkimVerdict, PrivateKey, Signer, SigningError};
use filtermail::session::Edit;
use proptest::prelude::*;

use crate::dns::Say;
use crate::fixture::{Fixture, RECORD, RSA, rsa_record};
use crate::message::{Keys, Message};
use crate::oracle::{self, MailAuth};

/// The value of the topmost signature with its folds taken out.
fn tags(message: &Message) -> String {
    let (name, value) = &message.headers[0];
    assert_eq!(name, "DKIM-Signature");
    let value = String::from_utf8(value.clone()).unwrap();
    value.replace("\n\t", "").replace(": ", ":")
}

/// The names in the topmost signature's `h=`.
fn signed_names(message: &Message) -> Vec<String> {
    let tags = tags(message);
    let (_, names) = tags.split_once("h=").unwrap();
    let (names, _) = names.split_once(';').unwrap();
    names.split(':').map(str::to_owned).collect()
}

#[tokio::test]
async fn ours_are_valid_here_and_elsewhere() {
    let fixture = Fixture::start().await;
    let record = rsa_record();
    let mail_auth = MailAuth::new(&[(RECORD, &record)]);
    let mut odd = Message::sample(100);
    odd.headers[2].1 = b"no space in front,\n\ttwo folds  ,\n   and blanks \t".to_vec();
    odd.body = b" a \r\n\r\n\r\n".to_vec();
    let empty = Message::new(&[("From", " <a@chat.example>")], "");
    let twice = Message::sample(100).with("To", " <b@x.example>");
    for message in [Message::sample(3000), odd, empty, twice] {
        let signed = message.signed(&fixture.signer);
        assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Valid);
        assert!(oracle::viadkim(&signed, &record).await);
        assert!(mail_auth.verify(&signed).await);
    }
}

#[tokio::test]
async fn the_tags_and_the_lines() {
    let fixture = Fixture::start().await;
    let signed = Message::sample(100).signed(&fixture.signer);
    let tags = tags(&signed);
    let begin = " v=1; a=rsa-sha256; c=relaxed/simple; d=chat.example; s=rsa;";
    assert!(
        tags.replace(";d=", "; d=")
            .replace(";s=", "; s=")
            .starts_with(begin),
        "{tags}"
    );
    for absent in [" l=", " i=", " x=", " z="] {
        assert!(!tags.contains(absent), "{absent}");
    }
    let value = String::from_utf8(signed.headers[0].1.clone()).unwrap();
    let mut lines = format!("DKIM-Signature:{value}");
    lines = lines.replace('\t', "        ");
    for line in lines.lines() {
        assert!(line.len() <= 78, "{line}");
    }
    assert!(!value.contains('\r'), "Postfix wants LF alone");
}

#[tokio::test]
async fn what_is_signed() {
    let fixture = Fixture::start().await;
    let message = Message::sample(100)
        .with("Received", " from here")
        .with("Return-Path", " <x@y.example>");
    let names = signed_names(&message.signed(&fixture.signer));
    let there = ["From", "To", "Subject", "Date", "Autocrypt", "Content-Type"];
    assert_eq!(names[..there.len()], there);
    let absent = &names[there.len()..];
    for name in ["From", "Reply-To", "Resent-Cc", "List-Archive", "Autocrypt"] {
        assert!(absent.contains(&name.to_owned()), "{name}");
    }
    assert_eq!(absent.len(), 21);
    for name in ["Received", "Return-Path", "DKIM-Signature", "Message-ID"] {
        assert!(!names.contains(&name.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn nothing_that_matters_can_be_added_or_changed() {
    let fixture = Fixture::start().await;
    let signed = Message::sample(100).signed(&fixture.signer);
    for name in [
        "From",
        "To",
        "Subject",
        "Date",
        "Autocrypt",
        "Reply-To",
        "Cc",
        "In-Reply-To",
    ] {
        let added = signed.clone().with(name, " <x@y.example>");
        assert_ne!(fixture.verdict(&added).await, DkimVerdict::Valid, "{name}");
        let mut below = signed.clone();
        below.headers.push((name.to_owned(), b" x".to_vec()));
        assert_ne!(fixture.verdict(&below).await, DkimVerdict::Valid, "{name}");
    }
    let received = signed.clone().with("Received", " from there");
    assert_eq!(fixture.verdict(&received).await, DkimVerdict::Valid);
}

#[tokio::test]
async fn edits_are_made_before_it_is_signed() {
    let fixture = Fixture::start().await;
    let before = Message::sample(100)
        .with("Subject", " the first of two")
        .with("Reply-To", " gone");
    let mut after = Message::sample(100);
    after.headers[2].1 = b" secret".to_vec();
    after = after.with("Subject", " [...]");
    // The second one goes, the first one changes.
    after.headers.remove(3);
    let edits = [
        Edit::Replace {
            name: "subject".to_owned(),
            occurrence: 1,
            value: "[...]".to_owned(),
        },
        Edit::Delete {
            name: "Subject".to_owned(),
            occurrence: 2,
        },
        Edit::Delete {
            name: "reply-to".to_owned(),
            occurrence: 1,
        },
    ];
    let signatures = before.signatures_after(&fixture.signer, &edits);
    let signed = after.edited(&signatures);
    assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Valid);
    let unedited = before.edited(&signatures);
    assert_ne!(fixture.verdict(&unedited).await, DkimVerdict::Valid);
}

#[tokio::test]
async fn a_second_signature_with_ed25519() {
    let fixture = Fixture::start().await;
    let ed25519 = fixture.keys.generate("ed", PrivateKey::generate_ed25519());
    let name = "ed._domainkey.chat.example";
    let ed_record = ed25519.record().unwrap();
    fixture
        .keys
        .generate("later", PrivateKey::generate_ed25519());
    let config = fixture.keys.config("ed rsa later");
    let signer = Signer::load(&config).unwrap().unwrap();
    let signed = Message::sample(3000).signed(&signer);
    let signatures = signed
        .headers
        .iter()
        .filter(|(name, _)| name == "DKIM-Signature");
    assert_eq!(signatures.count(), 2);
    let mail_auth = MailAuth::new(&[(RECORD, &rsa_record()), (name, &ed_record)]);
    assert!(mail_auth.verify(&signed).await);

    assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Valid);
    fixture.dns.set(name, Say::txt(&ed_record));
    fixture.dns.set(RECORD, Say::Code(3));
    let fresh = filtermail::dkim::KeyCache::new(&config).unwrap();
    let mut verification = filtermail::dkim::Verification::new();
    signed.to_verification(&mut verification, &fresh);
    assert_eq!(
        verification.finish().await,
        DkimVerdict::Valid,
        "by Ed25519 alone"
    );
}

#[test]
fn too_much_to_sign() {
    let keys = Keys::new("");
    keys.write("rsa", RSA.as_bytes());
    let signer = Signer::load(&keys.config("rsa")).unwrap().unwrap();
    let mut signing = signer.begin();
    signing.header(b"From", &vec![b'x'; 256 << 10]);
    assert_eq!(signing.finish(&[]), Err(SigningError::TooLarge));
    let mut signing = signer.begin();
    for _ in 0..1000 {
        signing.header(b"To", b" x");
    }
    assert_eq!(signing.finish(&[]), Err(SigningError::TooLarge));
}

#[test]
fn keys_that_are_not_there() {
    let keys = Keys::new("");
    assert!(Signer::load(&keys.config("rsa")).unwrap().is_none());
    keys.write("rsa", RSA.as_bytes());
    assert!(Signer::load(&keys.config("gone rsa")).unwrap().is_some());
    let mut literal = keys.config("rsa");
    literal.mail_domain = "[192.0.2.1]".parse().unwrap();
    assert!(Signer::load(&literal).unwrap().is_none());
}

#[test]
fn keys_that_cannot_be_used() {
    let keys = Keys::new("");
    let truncated = &RSA.as_bytes()[..400];
    let encrypted = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n\
        -----END RSA PRIVATE KEY-----\n";
    let wrong = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let broken: [&[u8]; 6] = [b"", b"\xff\xfe", b"nonsense", truncated, encrypted, wrong];
    for content in broken {
        keys.write("rsa", content);
        let error = Signer::load(&keys.config("rsa")).unwrap_err().to_string();
        assert!(
            error.contains("rsa.private") && error.contains("filtermail dkim generate"),
            "{error}"
        );
    }
    keys.write("rsa", &vec![b'x'; 100_000]);
    assert!(Signer::load(&keys.config("rsa")).is_err());
    std::fs::create_dir(keys.dir().join("folder.private")).unwrap();
    let error = Signer::load(&keys.config("folder")).unwrap_err();
    assert!(error.to_string().contains("must own it"), "{error}");
    let error = Signer::load(&keys.config("../rsa"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("dkim_selectors"), "{error}");
}

/// Header text: visible characters, blanks and folds.
fn value() -> impl Strategy<Value = String> {
    let pieces = [
        "a", "Z9;=:", " ", "\t", "\n b", "\n\tc", "\u{e4}", "\"", "<x@y>",
    ];
    let pieces = proptest::sample::select(pieces.to_vec());
    let pieces = proptest::collection::vec(pieces, 0..12);
    pieces.prop_map(|pieces| format!(" v{}v", pieces.concat()))
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let names = [
        "To",
        "subject",
        "DATE",
        "Cc",
        "X-Other",
        "Autocrypt",
        "Received",
        "Content-Type",
    ];
    let name = proptest::sample::select(names.to_vec()).prop_map(str::to_owned);
    proptest::collection::vec((name, value()), 0..10)
}

fn body() -> impl Strategy<Value = String> {
    let pieces = ["text", " ", "\t", "\r\n", "\r\n\r\n", ".", "\u{e4}"];
    let pieces = proptest::sample::select(pieces.to_vec());
    proptest::collection::vec(pieces, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What we sign, others and we find valid; with one octet changed, we do not.
    #[test]
    fn what_is_signed_is_valid_until_it_is_changed(
        headers in headers(),
        body in body(),
        at in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::start().await;
            let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let fields: Vec<_> = [("From", " <a@chat.example>")].into_iter().chain(fields).collect();
            let signed = Message::new(&fields, &body).signed(&fixture.signer);
            prop_assert_eq!(fixture.verdict(&signed).await, DkimVerdict::Valid);
            let record = rsa_record();
            prop_assert!(oracle::viadkim(&signed, &record).await);
            prop_assert!(MailAuth::new(&[(RECORD, &record)]).verify(&signed).await);

            let mut changed = signed.clone();
            // An octet of the first From or of the body; not white space, whose amount is free.
            let from = changed.headers.iter().position(|(name, _)| name == "From").unwrap();
            let body_octets = changed.body.len();
            let at = at.index(changed.headers[from].1.len() - 1 + body_octets);
            let octet = match at.checked_sub(body_octets) {
                None => &mut changed.body[at],
                Some(at) => &mut changed.headers[from].1[at + 1],
            };
            *octet = if *octet == b'x' { b'y' } else { b'x' };
            prop_assert_ne!(fixture.verdict(&changed).await, DkimVerdict::Valid);
            Ok(())
        })?;
    }
}
