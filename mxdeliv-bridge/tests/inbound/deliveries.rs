//! Who gets a message, what of it, and how often.

use std::time::Duration;

use crate::bridge::{Bridge, SENDER, soon};
use crate::http::Post;
use crate::message;

const ALICE: &str = "alice@chat.example";
const BOB: &str = "bob@chat.example";

#[tokio::test]
async fn recipients_in_one_envelope_each_once() {
    let bridge = Bridge::start().await;
    let post = Post::to(&["<BOB@Chat.example>, bob+tag@chat.example", BOB, ALICE]);
    assert_eq!(bridge.post(&post).await.status, 200);
    let delivered = bridge.dovecot.only();
    assert_eq!(delivered.recipients, [ALICE, "bob+tag@chat.example", BOB]);
    assert_eq!(delivered.message.as_bytes(), post.body);
}

#[tokio::test]
async fn a_sender_of_another_domain_becomes_null() {
    let bridge = Bridge::start().await;
    let body = message::encrypted(SENDER, 100);
    for sender in ["x@elsewhere.example", "<>"] {
        let post = Post::of(sender, &[BOB], body.clone());
        assert_eq!(bridge.post(&post).await.status, 200);
    }
    let delivered = bridge.dovecot.delivered();
    assert!(delivered.iter().all(|mail| mail.sender.is_empty()));
    assert_eq!(delivered.len(), 2);
}

#[tokio::test]
async fn a_mailbox_gets_what_it_would_get_over_smtp() {
    let bridge = Bridge::start().await;
    let message = message::encrypted(SENDER, 100);
    let more = "Received: from x\r\n\tby y\r\nDKIM-Signature: v=1; d=else.example\r\n\
                Return-Path: <x@y.org>\r\nUser-Agent: z\r\nAutocrypt: addr=a; keydata=b\r\n";
    let post = Post::of(SENDER, &[BOB], format!("{more}{message}"));
    assert_eq!(bridge.post(&post).await.status, 200);
    let expected = format!("Autocrypt: addr=a; keydata=b\r\n{message}");
    assert_eq!(bridge.dovecot.only().message, expected);
}

#[tokio::test]
async fn the_same_message_again_is_not_delivered_again() {
    let bridge = Bridge::start().await;
    let post = Post::to(&[BOB, ALICE]);
    assert_eq!(bridge.post(&post).await.status, 200);
    let mut again = Post::to(&[ALICE, "<Bob@chat.example>"]);
    again.body = post.body.clone();
    again.chunked = Some(100);
    assert_eq!(bridge.post(&again).await.told(), (200, "250 OK"));
    bridge.dovecot.only();
    assert_eq!(bridge.metric("mxdeliv_inbound_duplicates_total"), 1.0);
    // Another envelope or another octet is another message.
    let mut other = Post::of("dave@[192.0.2.1]", &[BOB, ALICE], post.body.clone());
    assert_eq!(bridge.post(&other).await.status, 200);
    other.body = [b"X: y\r\n".as_slice(), &post.body].concat();
    assert_eq!(bridge.post(&other).await.status, 200);
    let mut fewer = Post::to(&[BOB]);
    fewer.body = post.body;
    assert_eq!(bridge.post(&fewer).await.status, 200);
    assert_eq!(bridge.dovecot.delivered().len(), 4);
}

#[tokio::test]
async fn the_same_message_at_the_same_time_is_delivered_once() {
    let bridge = Bridge::start().await;
    bridge.dovecot.hold(true);
    let post = Post::to(&[BOB]);
    let send = || {
        let (post, socket) = (post.clone(), bridge.http());
        tokio::spawn(async move { post.send(&socket).await.status })
    };
    let posts = [send(), send(), send()];
    bridge.dovecot.come(1).await;
    bridge.dovecot.hold(false);
    for post in posts {
        assert_eq!(soon(post).await.unwrap(), 200);
    }
    bridge.dovecot.only();
}

#[tokio::test]
async fn what_failed_is_tried_again() {
    let bridge = Bridge::start().await;
    let post = Post::to(&[BOB]);
    bridge.dovecot.down(true);
    assert_eq!(bridge.post(&post).await.status, 503);
    bridge.dovecot.down(false);
    assert_eq!(bridge.post(&post).await.status, 200);
    bridge.dovecot.only();
}

#[tokio::test]
async fn postfix_gets_the_message_for_those_who_fail() {
    let bridge = Bridge::start().await;
    let failing = [
        "full@chat.example",
        "late-failure@chat.example",
        "late-full@chat.example",
        "nobody@chat.example",
        "unknown@chat.example",
    ];
    let mut all = failing.to_vec();
    all.push(BOB);
    let post = Post::to(&all);
    assert_eq!(bridge.post(&post).await.told(), (200, "250 OK"));
    assert_eq!(bridge.dovecot.only().recipients, [BOB]);
    let returned = bridge.postfix.only();
    assert_eq!(returned.sender, SENDER);
    assert_eq!(returned.recipients, failing);
    assert_eq!(returned.message.as_bytes(), post.body);
    assert_eq!(
        bridge.metric("mxdeliv_inbound_recipients_returned_total"),
        5.0
    );
    // It counts as delivered.
    assert_eq!(bridge.post(&post).await.status, 200);
    bridge.dovecot.only();
    bridge.postfix.only();
}

#[tokio::test]
async fn when_postfix_is_away_the_peer_sends_again_and_nobody_gets_it_twice() {
    let bridge = Bridge::start().await;
    bridge.postfix.down(true);
    let post = Post::to(&["late-failure@chat.example", "nobody@chat.example", BOB]);
    for _ in 0..2 {
        let answer = bridge.post(&post).await;
        assert_eq!(answer.told(), (503, "451 4.3.0 Try again later"));
    }
    assert_eq!(bridge.dovecot.only().recipients, [BOB]);
    bridge.postfix.down(false);
    assert_eq!(bridge.post(&post).await.status, 200);
    assert_eq!(bridge.dovecot.only().recipients, [BOB]);
    let returned = bridge.postfix.only();
    assert_eq!(
        returned.recipients,
        ["late-failure@chat.example", "nobody@chat.example"]
    );
}

#[tokio::test]
async fn without_a_sender_nobody_is_told_of_lasting_failures() {
    let bridge = Bridge::start().await;
    let body = message::encrypted(SENDER, 100);
    let to = ["full@chat.example", "nobody@chat.example", BOB];
    let post = Post::of("", &to, body);
    assert_eq!(bridge.post(&post).await.status, 200);
    assert_eq!(bridge.postfix.only().recipients, ["full@chat.example"]);
    assert_eq!(
        bridge.metric("mxdeliv_inbound_recipients_dropped_total"),
        1.0
    );
}

#[tokio::test]
async fn proven_peers_get_a_row() {
    let bridge = Bridge::start().await;
    assert_eq!(bridge.post(&Post::to(&[BOB])).await.status, 200);
    let late = Post::to(&["late-failure@chat.example"]);
    assert_eq!(bridge.post(&late).await.status, 403);
    // Nobody knows whether this is who it says.
    let stranger = Post::of(
        "x@strange.example",
        &[BOB],
        message::encrypted("x@strange.example", 99),
    );
    assert_eq!(bridge.post(&stranger).await.status, 403);
    let mut peers = bridge.statistics.peers(None);
    let figures = soon(peers.recv()).await.unwrap().unwrap();
    assert!(soon(peers.recv()).await.is_none());
    let shown = format!("{figures:?}");
    assert!(shown.contains("[192.0.2.1]"), "{shown}");
    assert!(shown.contains("554 5.6.0"), "{shown}");
    assert!(!shown.contains('@'), "{shown}");
}

#[tokio::test]
async fn a_delivery_outlives_the_client() {
    let bridge = Bridge::start().await;
    bridge.dovecot.hold(true);
    let post = Post::to(&[BOB]);
    let first = tokio::spawn({
        let (post, socket) = (post.clone(), bridge.http());
        async move { post.send(&socket).await }
    });
    bridge.dovecot.come(1).await;
    first.abort();
    assert!(first.await.is_err());
    let again = tokio::spawn({
        let (post, socket) = (post, bridge.http());
        async move { post.send(&socket).await.status }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    bridge.dovecot.hold(false);
    assert_eq!(soon(again).await.unwrap(), 200);
    bridge.dovecot.only();
    bridge.until_idle().await;
}
