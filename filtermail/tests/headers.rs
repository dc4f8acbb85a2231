//! What Postfix is told to change in the header section.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use common::{ALICE, BOB, Ending, Filter, Mta, encrypted_body, encrypted_headers};

#[tokio::test]
async fn all_subjects_and_traces_go() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let mut headers = encrypted_headers(ALICE);
    headers.push(("received", "from home".to_owned()));
    headers.push(("SUBJECT", "another".to_owned()));
    headers.push(("X-Mailer", "x".to_owned()));
    headers.push(("User-Agent", "x".to_owned()));
    headers.push(("X-Originating-IP", "x".to_owned()));
    let (changes, ending) = mta
        .submit(ALICE, BOB, &headers, &encrypted_body(1000))
        .await;
    assert_eq!(ending, Ending::Pass);
    assert_eq!(
        changes,
        [
            "change 1 Subject: [...]",
            "change 1 received:",
            "change 1 x-mailer:",
            "change 1 user-agent:",
            "change 1 x-originating-ip:",
            "change 2 subject:",
        ]
    );
}

#[tokio::test]
async fn strict_mode_keeps_the_needed_and_drops_names() {
    let filter = Filter::start("outgoing_strict_headers = true").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let mut headers = encrypted_headers(ALICE);
    headers[0].1 = format!("\"Alice A.\" <{ALICE}>");
    headers[1].1 = format!("Bob <{BOB}>, carol@chat.example");
    headers.push(("X-Whatever", "x".to_owned()));
    let (changes, ending) = mta
        .submit(ALICE, BOB, &headers, &encrypted_body(1000))
        .await;
    assert_eq!(ending, Ending::Pass);
    assert_eq!(
        changes,
        [
            "change 1 Subject: [...]",
            "change 1 x-whatever:",
            "change 1 From: alice@chat.example",
            "change 1 To: bob@chat.example,\n\tcarol@chat.example",
        ]
    );
}

#[tokio::test]
async fn a_header_section_without_end_is_refused() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    let mut headers = encrypted_headers(ALICE);
    headers.extend((0..10_000).map(|_| ("Received", "x".to_owned())));
    let (_, ending) = mta
        .submit(ALICE, BOB, &headers, &encrypted_body(1000))
        .await;
    let Ending::Reply(reply) = ending else {
        panic!("{ending:?}")
    };
    assert!(reply.starts_with("5"), "{reply}");
}
