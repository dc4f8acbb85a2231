//! What passes, what does not, and with which reply; the connection stays usable.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use common::{ALICE, BOB, Ending, Filter, Mta, encrypted_body, encrypted_headers};

fn cleartext(from: &str) -> Vec<(&'static str, String)> {
    vec![
        ("From", from.to_owned()),
        ("To", BOB.to_owned()),
        ("Content-Type", "text/plain".into()),
    ]
}

fn refused(ending: &Ending, start: &str) {
    let Ending::Reply(reply) = ending else {
        panic!("{ending:?}")
    };
    assert!(reply.starts_with(start), "{reply}");
}

#[tokio::test]
async fn encrypted_mail_passes_and_cleartext_does_not_on_one_connection() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    for _ in 0..3 {
        let body = encrypted_body(1000);
        let (changes, ending) = mta
            .submit(ALICE, BOB, &encrypted_headers(ALICE), &body)
            .await;
        assert_eq!(ending, Ending::Pass);
        assert_eq!(changes, ["change 1 Subject: [...]"]);
        let (changes, ending) = mta
            .submit(ALICE, BOB, &cleartext(ALICE), b"Hello\r\n")
            .await;
        refused(
            &ending,
            "523 5.7.1 Encryption Needed: Invalid Unencrypted Mail (",
        );
        assert!(changes.is_empty());
    }
}

#[tokio::test]
async fn a_long_message_passes_in_chunks_and_one_octet_makes_it_cleartext() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let mut body = encrypted_body(1_000_000);
    let (_, ending) = mta
        .submit(ALICE, BOB, &encrypted_headers(ALICE), &body)
        .await;
    assert_eq!(ending, Ending::Pass);
    let middle = body.len() / 2;
    body[middle] = b'!';
    let (_, ending) = mta
        .submit(ALICE, BOB, &encrypted_headers(ALICE), &body)
        .await;
    refused(&ending, "523 5.7.1 ");
}

#[tokio::test]
async fn securejoin_requests_pass() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let headers = [
        ("From", ALICE),
        ("Subject", "Secure-Join: vc-request"),
        ("Secure-Join", "vc-request"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "multipart/mixed; boundary=b"),
    ];
    let body =
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSecure-Join: vc-request\r\n--b--\r\n";
    let (_, ending) = mta.submit(ALICE, BOB, &headers, body).await;
    assert_eq!(ending, Ending::Pass);
}

#[tokio::test]
async fn from_must_be_the_login() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let body = encrypted_body(1000);
    let (_, ending) = mta
        .submit(ALICE, BOB, &encrypted_headers("Alice@Chat.Example"), &body)
        .await;
    assert_eq!(ending, Ending::Pass);
    let (_, ending) = mta.submit(ALICE, BOB, &encrypted_headers(BOB), &body).await;
    let reply = "500 5.7.1 Invalid FROM <bob@chat.example> for <alice@chat.example>";
    assert_eq!(ending, Ending::Reply(reply.to_owned()));
    let (_, ending) = mta
        .submit(ALICE, BOB, &encrypted_headers("two>, <one@x.org"), &body)
        .await;
    refused(
        &ending,
        "500 5.7.1 Invalid FROM <> for <alice@chat.example> (",
    );
}

#[tokio::test]
async fn the_envelope_sender_must_be_the_login() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    for sender in [BOB, "", "x\"%s%n", "alice@chat.example@evil.example"] {
        mta.mail(sender, Some(ALICE)).await;
        assert_eq!(mta.recipient(BOB).await, Ending::Pass);
        mta.headers(&encrypted_headers(ALICE)).await;
        let (_, ending) = mta.body(&encrypted_body(1000)).await;
        // Postfix halves the percent signs.
        let shown = sender.replace('%', "%%");
        let reply = format!("500 5.7.1 Invalid FROM <{shown}> for <{ALICE}>");
        assert_eq!(ending, Ending::Reply(reply));
    }
}

#[tokio::test]
async fn without_a_login_there_is_no_mail() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    for login in [None, Some(""), Some("alice")] {
        mta.mail(ALICE, login).await;
        refused(&mta.recipient(BOB).await, "554 5.7.1 ");
        mta.headers(&encrypted_headers(ALICE)).await;
        let (_, ending) = mta.body(&encrypted_body(1000)).await;
        refused(&ending, "554 5.7.1 ");
    }
}

#[tokio::test]
async fn operators_can_let_cleartext_pass() {
    let keys = "passthrough_senders = alice@chat.example\n\
                passthrough_recipients = echo@chat.example @open.example";
    let filter = Filter::start(keys).await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let (_, ending) = mta
        .submit(ALICE, BOB, &cleartext(ALICE), b"Hello\r\n")
        .await;
    assert_eq!(ending, Ending::Pass);
    for (recipients, passes) in [
        (vec!["echo@chat.example"], true),
        (vec!["Echo@chat.example", "any@open.example"], true),
        (vec!["echo@chat.example", ALICE], false),
        (vec![ALICE, "echo@chat.example"], false),
    ] {
        mta.mail(BOB, Some(BOB)).await;
        for recipient in recipients {
            assert_eq!(mta.recipient(recipient).await, Ending::Pass);
        }
        mta.headers(&cleartext(BOB)).await;
        let (_, ending) = mta.body(b"Hello\r\n").await;
        assert_eq!(ending == Ending::Pass, passes, "{ending:?}");
    }
}

#[tokio::test]
async fn a_login_holds_for_its_own_message_only() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let (headers, body) = (encrypted_headers(ALICE), encrypted_body(1000));
    let (_, ending) = mta.submit(ALICE, BOB, &headers, &body).await;
    assert_eq!(ending, Ending::Pass);
    // Postfix names the login at each MAIL, as long as there is one.
    mta.mail(ALICE, None).await;
    let refused = mta.recipient(BOB).await;
    assert!(
        matches!(&refused, Ending::Reply(reply) if reply.starts_with("554 5.7.1 ")),
        "{refused:?}"
    );
}
