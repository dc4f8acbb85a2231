//! Garbage and broken connections: the daemon goes on serving.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use common::{ALICE, BOB, Ending, Filter, Mta, encrypted_body, encrypted_headers, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn still_serves(filter: &Filter) {
    let mut mta = Mta::ready(&filter.socket()).await;
    let body = encrypted_body(1000);
    let (_, ending) = mta
        .submit(ALICE, BOB, &encrypted_headers(ALICE), &body)
        .await;
    assert_eq!(ending, Ending::Pass);
}

#[tokio::test]
async fn garbage_closes_its_own_connection_only() {
    let filter = Filter::start("").await;
    let garbage: [&[u8]; 7] = [
        b"EHLO localhost\r\n",
        b"\xff\xff\xff\xffO",
        b"\0\0\0\x01Z",
        b"\0\0\0\x01O",
        b"\0\0\0\x05O\0\0\0\x06",
        b"\0\0\0\x0dO\0\0\0\x01\0\0\0\0\0\0\0\0",
        &[0xA5; 100_000],
    ];
    for bytes in garbage {
        let mut mta = Mta::connect(&filter.socket()).await;
        let _ = mta.stream.write_all(bytes).await;
        let _ = mta.stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = soon(mta.stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "{bytes:?} was answered");
    }
    still_serves(&filter).await;
}

#[tokio::test]
async fn garbage_in_the_middle_of_a_message_closes_the_connection() {
    let filter = Filter::start("").await;
    for (kind, payload) in [
        (b'L', &b"no end"[..]),
        (b'L', b""),
        (b'R', b"no end"),
        (b'?', b""),
    ] {
        let mut mta = Mta::ready(&filter.socket()).await;
        mta.mail(ALICE, Some(ALICE)).await;
        assert_eq!(mta.recipient(BOB).await, Ending::Pass);
        mta.send(kind, payload).await;
        assert_eq!(mta.receive().await, None, "{kind} {payload:?}");
    }
    still_serves(&filter).await;
}

#[tokio::test]
async fn an_mta_that_offers_too_little_is_turned_away() {
    let filter = Filter::start("").await;
    let mut mta = Mta::connect(&filter.socket()).await;
    mta.send(b'O', &[0, 0, 0, 2, 0, 0, 0, 0x3F, 0, 0, 0, 0x7F])
        .await;
    assert_eq!(mta.receive().await, None);
    still_serves(&filter).await;
}

#[tokio::test]
async fn steps_out_of_order_get_no_mail_through() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    // Without MAIL and RCPT the end of a message means nothing.
    mta.headers(&encrypted_headers(ALICE)).await;
    mta.send(b'E', b"x").await;
    let (_, ending) = mta
        .submit(ALICE, BOB, &encrypted_headers(ALICE), b"Hello\r\n")
        .await;
    assert!(matches!(ending, Ending::Reply(_)), "{ending:?}");
    still_serves(&filter).await;
}

#[tokio::test]
async fn a_connection_may_drop_at_any_stage() {
    let filter = Filter::start("").await;
    for stage in 0..6 {
        let mut mta = Mta::connect(&filter.socket()).await;
        if stage > 0 {
            mta.negotiate().await;
        }
        if stage > 1 {
            mta.mail(ALICE, Some(ALICE)).await;
        }
        if stage > 2 {
            assert_eq!(mta.recipient(BOB).await, Ending::Pass);
        }
        if stage > 3 {
            mta.headers(&encrypted_headers(ALICE)).await;
        }
        if stage > 4 {
            // A chunk that is announced and does not come whole.
            mta.stream.write_all(b"\0\0\xff\xffB--xyz").await.unwrap();
        }
        drop(mta);
    }
    still_serves(&filter).await;
}

#[tokio::test]
async fn a_half_closed_connection_gets_its_answer() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    mta.mail(ALICE, Some(ALICE)).await;
    assert_eq!(mta.recipient(BOB).await, Ending::Pass);
    mta.headers(&[("From", ALICE)]).await;
    mta.send(b'E', b"Hello\r\n").await;
    mta.stream.shutdown().await.unwrap();
    let (kind, reply) = mta.receive().await.unwrap();
    assert_eq!(kind, b'y');
    assert!(reply.starts_with(b"523 5.7.1 "));
    assert_eq!(mta.receive().await, None);
    still_serves(&filter).await;
}
