//! What Postfix itself sends is never refused, signed or not. (That signatures are right is shown in
//! `dkim_milters.rs`.)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use std::sync::LazyLock;

use common::{Ending, Filter, Mta};
use filtermail::dkim::PrivateKey;

static KEY: LazyLock<String> =
    LazyLock::new(|| PrivateKey::generate_rsa().unwrap().to_pem().unwrap());

const BODY: &[u8] = b"--b\r\n\r\nNo such user\r\n--b--\r\n";

type Headers = Vec<(&'static str, String)>;

/// As Postfix 3.7 writes it.
fn report(from: &str) -> Headers {
    let content_type = "multipart/report; report-type=delivery-status;\n\tboundary=\"b\"";
    vec![
        ("Date", "Sat, 01 Jan 2000 00:00:00 +0000 (UTC)".to_owned()),
        ("From", from.to_owned()),
        ("Subject", "Undelivered Mail Returned to Sender".to_owned()),
        ("To", "alice@peer.example".to_owned()),
        ("Auto-Submitted", "auto-replied".to_owned()),
        ("MIME-Version", "1.0".to_owned()),
        ("Content-Type", content_type.to_owned()),
    ]
}

async fn send(filter: &Filter, headers: &Headers) -> (Vec<String>, Ending) {
    let mut mta = Mta::of(&filter.bounce(), "127.0.0.1").await;
    mta.mail("", None).await;
    assert_eq!(mta.recipient("alice@peer.example").await, Ending::Pass);
    mta.headers(headers).await;
    mta.body(BODY).await
}

#[tokio::test]
async fn what_cannot_be_signed_leaves_all_the_same() {
    let untouched = (Vec::new(), Ending::Pass);
    let ours = report("MAILER-DAEMON@chat.example");
    let without_key = Filter::start("").await;
    assert_eq!(send(&without_key, &ours).await, untouched);

    let filter = Filter::with_dkim_key(&KEY, "").await;
    let mut two_authors = ours.clone();
    two_authors.push(("from", "root@chat.example".to_owned()));
    let mut endless = ours.clone();
    endless.extend((0..10_000).map(|_| ("X-Filler", "x".repeat(100))));
    for headers in [
        report("MAILER-DAEMON@other.example"),
        report("nobody"),
        two_authors,
        endless,
        Vec::new(),
    ] {
        assert_eq!(send(&filter, &headers).await, untouched);
    }
    let (changes, ending) = send(&filter, &ours).await;
    assert_eq!((changes.len(), ending), (1, Ending::Pass));
}
