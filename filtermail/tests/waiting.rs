//! While an answer is being waited for: connections that drop, packets that come too early, the drain,
//! and everybody else's mail. doveauth is a stand-in (`common/doveauth.rs`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use std::io::ErrorKind;

use common::doveauth::{SLOW, SLOW_SENDER};
use common::{BOB, CAROL, Ending, Filter, Mta, PEER, encrypted_body, encrypted_headers, relay};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

/// A message of Carol's up to the end of its body, which is not answered yet.
async fn send_rest(mta: &mut Mta, author: &str, body: &[u8]) {
    mta.headers(&encrypted_headers(author)).await;
    mta.send(b'E', body).await;
}

async fn still_serves(filter: &Filter) {
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(CAROL, None).await;
    assert_eq!(mta.recipient(BOB).await, Ending::Pass);
    mta.headers(&encrypted_headers(CAROL)).await;
    assert_eq!(mta.body(&encrypted_body(1000)).await.1, Ending::Pass);
}

#[tokio::test]
async fn a_connection_may_drop_at_any_stage() {
    let (filter, _doveauth) = relay().await;
    for stage in 0..6 {
        let mut mta = Mta::ready(&filter.incoming()).await;
        if stage > 0 {
            mta.client(PEER).await;
        }
        if stage > 1 {
            mta.mail(CAROL, None).await;
        }
        if stage > 2 {
            assert_eq!(mta.recipient(BOB).await, Ending::Pass);
        }
        if stage > 3 {
            mta.headers(&encrypted_headers(CAROL)).await;
        }
        if stage > 4 {
            // A chunk that is announced and does not come whole.
            mta.stream.write_all(b"\0\0\xff\xffB--xyz").await.unwrap();
        }
        filter.connections(1).await;
        drop(mta);
        filter.connections(0).await;
    }
    still_serves(&filter).await;
}

#[tokio::test]
async fn a_connection_may_drop_while_its_recipient_is_looked_up() {
    let (filter, doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(CAROL, None).await;
    mta.send(b'R', format!("<{SLOW}>\0").as_bytes()).await;
    doveauth.asked(1).await;
    filter.connections(1).await;
    drop(mta);
    filter.connections(0).await;
    still_serves(&filter).await;
}

#[tokio::test]
async fn a_connection_may_drop_while_its_message_is_judged() {
    let (filter, doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(CAROL, None).await;
    assert_eq!(mta.recipient(BOB).await, Ending::Pass);
    send_rest(&mut mta, SLOW_SENDER, &encrypted_body(1000)).await;
    doveauth.asked(1).await;
    filter.connections(1).await;
    drop(mta);
    filter.connections(0).await;
    still_serves(&filter).await;
}

#[tokio::test]
async fn an_mta_that_will_send_no_more_is_not_waited_for() {
    let (filter, doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(CAROL, None).await;
    mta.send(b'R', format!("<{SLOW}>\0").as_bytes()).await;
    doveauth.asked(1).await;
    mta.stream.shutdown().await.unwrap();
    assert_eq!(mta.receive().await, None);
    filter.connections(0).await;
}

#[tokio::test]
async fn what_comes_behind_a_question_is_answered_after_it() {
    let (filter, doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(CAROL, None).await;
    for recipient in [SLOW, "nobody@chat.example", BOB] {
        mta.send(b'R', format!("<{recipient}>\0").as_bytes()).await;
    }
    send_rest(&mut mta, CAROL, &encrypted_body(1000)).await;
    // The next message, refused for its want of recipients.
    mta.mail(CAROL, None).await;
    send_rest(&mut mta, CAROL, b"").await;
    doveauth.asked(1).await;
    doveauth.release();
    for expected in ["", "550 5.1.1 ", "", "", "554 5.5.1 "] {
        let (letter, payload) = mta.receive().await.unwrap();
        let text = String::from_utf8(payload).unwrap();
        assert_eq!(letter, if expected.is_empty() { b'c' } else { b'y' });
        assert!(text.starts_with(expected), "{text}");
    }
}

#[tokio::test]
async fn a_message_of_any_length_may_come_behind_a_question() {
    let (filter, doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(CAROL, None).await;
    mta.send(b'R', format!("<{SLOW}>\0").as_bytes()).await;
    doveauth.asked(1).await;
    let body = encrypted_body(1_000_000);
    let sending = async {
        mta.headers(&encrypted_headers(CAROL)).await;
        let (chunks, last) = body.as_chunks::<60_000>();
        for chunk in chunks {
            mta.send(b'B', chunk).await;
        }
        mta.send(b'E', last).await;
    };
    tokio::join!(sending, async { doveauth.release() });
    assert_eq!(
        mta.receive().await,
        Some((b'c', Vec::new())),
        "the recipient"
    );
    assert_eq!(mta.receive().await, Some((b'c', Vec::new())), "the message");
}

#[tokio::test]
async fn what_comes_behind_a_question_is_not_read_without_end() {
    let (filter, doveauth) = relay().await;
    let mut mta = Mta::of(&filter.incoming(), PEER).await;
    mta.mail(CAROL, None).await;
    mta.send(b'R', format!("<{SLOW}>\0").as_bytes()).await;
    doveauth.asked(1).await;
    let (mut sent, mut refused) = (0, 0);
    // The kernel's buffers hold some hundred kilobytes.
    while refused < 1000 {
        match mta.stream.try_write(&[0; 4096]) {
            Ok(octets) => (sent, refused) = (sent + octets, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => refused += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 4 << 20, "it is read without end");
        tokio::task::yield_now().await;
    }
    // And that it was nonsense ends nothing but this connection.
    doveauth.release();
    assert_eq!(mta.receive().await, Some((b'c', Vec::new())));
    assert_eq!(mta.receive().await, None);
    still_serves(&filter).await;
}

#[tokio::test]
async fn lookups_that_hang_are_nobody_elses_trouble() {
    let (filter, doveauth) = relay().await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut mta = Mta::of(&filter.incoming(), PEER).await;
        mta.mail(CAROL, None).await;
        mta.send(b'R', format!("<{SLOW}>\0").as_bytes()).await;
        waiting.push(mta);
    }
    doveauth.asked(20).await;
    still_serves(&filter).await;
    doveauth.release();
    for mta in &mut waiting {
        assert_eq!(mta.receive().await, Some((b'c', Vec::new())));
    }
}

#[tokio::test]
async fn a_lookup_under_way_is_finished_before_the_end() {
    let (mut filter, doveauth) = relay().await;
    let _idle = Mta::of(&filter.incoming(), PEER).await;
    let mut busy = Mta::of(&filter.incoming(), PEER).await;
    busy.mail(CAROL, None).await;
    busy.send(b'R', format!("<{SLOW}>\0").as_bytes()).await;
    doveauth.asked(1).await;
    filter.stop();
    for socket in [filter.socket(), filter.incoming(), filter.bounce()] {
        while UnixStream::connect(&socket).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
    doveauth.release();
    assert_eq!(busy.receive().await, Some((b'c', Vec::new())));
    busy.headers(&encrypted_headers(CAROL)).await;
    assert_eq!(busy.body(&encrypted_body(1000)).await.1, Ending::Pass);
    filter.ended().await;
}
