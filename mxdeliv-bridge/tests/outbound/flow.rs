//! Which way messages go, and what Postfix is told.

use std::time::Duration;

use prometheus_client::registry::Registry;
use rstest::rstest;
use tokio::sync::watch;

use crate::bridge::{Bridge, Deed, StandIn, serve};
use crate::lmtp_client::LmtpClient;
use crate::mail_server::{Act, polite_smtp, say};

const MESSAGE: &str = "From: a@x.example\r\n\r\nbody\r\n";

/// Lets time pass at once, while nothing but time is waited for. TCP takes real time.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn what_the_peer_takes_goes_nowhere_else() {
    let bridge = Bridge::start(|_, _| Deed::Take);
    let recipients = ["B@Y.example", "c@y.example"];
    let codes = bridge.deliver("<A@x.example>", &recipients, MESSAGE).await;
    assert_eq!(codes, [250, 250]);
    let posts = bridge.peers.posts();
    let [(domain, post)] = &posts[..] else {
        panic!("{posts:?}");
    };
    assert_eq!(domain.as_str(), "y.example");
    assert_eq!(post.sender, "a@x.example");
    assert_eq!(post.recipients, ["b@y.example", "c@y.example"]);
    assert_eq!(post.message, MESSAGE);
    assert_eq!(post.key.len(), 64);
    assert_eq!(bridge.peers.prepared(), ["y.example"]);
    assert_eq!(bridge.fallback.seen().connections, 0);
    assert!(bridge.counts("recipients_total{way=\"mxdeliv\",reason=\"\"} 2"));
}

#[tokio::test]
async fn what_the_peer_does_not_take_goes_by_smtp_with_the_same_envelope() {
    let bridge = Bridge::start(|_, _| Deed::Refuse);
    let mut client = bridge.client().await;
    client
        .send(
            "MAIL FROM:<A@x.example> BODY=8BITMIME RET=HDRS ENVID=id\r\n\
             RCPT TO:<B@y.example> NOTIFY=FAILURE ORCPT=rfc822;b@z.example\r\nDATA\r\n",
        )
        .await;
    assert_eq!(client.codes(3).await, [250, 250, 354]);
    client.send(format!("{MESSAGE}.\r\n")).await;
    assert_eq!(client.reply().await, "250 2.0.0 Ok: queued as 123");
    let mail = format!(
        "MAIL FROM:<A@x.example> SIZE={} BODY=8BITMIME RET=HDRS ENVID=id",
        MESSAGE.len()
    );
    let rcpt = "RCPT TO:<B@y.example> NOTIFY=FAILURE ORCPT=rfc822;b@z.example";
    assert_eq!(bridge.fallback.commands("MAIL"), [mail]);
    assert_eq!(bridge.fallback.commands("RCPT"), [rcpt]);
    assert_eq!(bridge.fallback.seen().messages, [MESSAGE.as_bytes()]);
    assert_eq!(bridge.peers.posts().len(), 1);
    assert!(bridge.counts("recipients_total{way=\"smtp\",reason=\"not-taken\"} 1"));
    assert!(bridge.counts("transactions 0"));
}

/// 250 comes after Postfix's 250 only: whatever else Postfix says is what the client hears.
#[rstest]
#[case("MAIL", "452 4.3.1 disk full", [452, 452])]
#[case("RCPT", "550 5.1.2 no such domain", [550, 250])]
#[case("DATA", "451 4.3.0 not now", [451, 451])]
#[case(".", "554 5.7.1 refused", [554, 554])]
#[case(".", "451 4.3.0 not now", [451, 451])]
#[case(".", "421 4.3.2 leaving", [451, 451])]
#[case("EHLO", "554 5.0.0 nobody is served", [451, 451])]
#[tokio::test]
async fn what_postfix_says_of_each_recipient_counts(
    #[case] step: &'static str,
    #[case] reply: &'static str,
    #[case] expected: [u16; 2],
) {
    let bridge = Bridge::with_only_fallback(move |heard| {
        if heard.verb() == step && heard.number == 0 {
            say(reply)
        } else {
            polite_smtp(&heard)
        }
    });
    let recipients = ["b@y.example", "c@y.example"];
    let codes = bridge.deliver("<>", &recipients, MESSAGE).await;
    assert_eq!(codes, expected);
}

#[tokio::test]
async fn without_postfix_the_message_stays_in_the_queue() {
    let bridge = Bridge::alone().await;
    let mut client = bridge.client().await;
    assert_eq!(client.begin("<>", &["b@y.example"]).await, 354);
    client.send(format!("{MESSAGE}.\r\n")).await;
    let reply = client.reply().await;
    assert!(reply.starts_with("451 4.4.1 "), "{reply}");
    assert!(bridge.counts("recipients_total{way=\"nobody\",reason=\"not-taken\"} 1"));
}

#[tokio::test]
async fn postfix_that_says_nothing_is_not_waited_for_longer_than_our_client_waits() {
    let bridge = Bridge::with_only_fallback(|heard| match heard.verb() {
        "." => Act::Hang,
        _ => polite_smtp(&heard),
    });
    let mut client = bridge.client().await;
    assert_eq!(client.begin("<>", &["b@y.example"]).await, 354);
    client.send(format!("{MESSAGE}.\r\n")).await;
    while bridge.fallback.seen().messages.is_empty() {
        tokio::task::yield_now().await;
    }
    pass(Duration::from_secs(500)).await;
    assert_eq!(client.code().await, 451);
}

#[rstest]
#[case::dot_line("<a@x.example>", "b@y.example", "A: b\r\n\r\n..\r\n", "dot-line")]
#[case::quoted_recipient("<a@x.example>", "\"b c\"@y.example", MESSAGE, "recipient")]
#[case::quoted_sender("<\"a b\"@x.example>", "b@y.example", MESSAGE, "sender")]
#[case::utf8("<a@x.example> SMTPUTF8", "b@y.example", "A: \u{fc}\r\n\r\n", "utf8")]
#[tokio::test]
async fn what_a_post_cannot_say_goes_by_smtp_at_once(
    #[case] sender: &str,
    #[case] recipient: &str,
    #[case] message: &str,
    #[case] reason: &str,
) {
    let bridge = Bridge::start(|_, _| Deed::Take);
    assert_eq!(bridge.deliver(sender, &[recipient], message).await, [250]);
    assert!(bridge.peers.posts().is_empty());
    let sent = message.replace("\r\n..", "\r\n.");
    assert_eq!(bridge.fallback.seen().messages, [sent.as_bytes()]);
    let count = format!("recipients_total{{way=\"smtp\",reason=\"{reason}\"}} 1");
    assert!(bridge.counts(&count), "{count}");
}

#[rstest]
#[case::null_sender("<>", "b@y.example", "", "b@y.example")]
#[case::address_literal("<a@[192.0.2.1]>", "b@[192.0.2.7]", "a@[192.0.2.1]", "b@[192.0.2.7]")]
#[case::smtputf8_for_nothing("<a@x> SMTPUTF8", "b@y", "a@x", "b@y")]
#[tokio::test]
async fn what_a_post_says(
    #[case] mail: &str,
    #[case] recipient: &str,
    #[case] sender: &str,
    #[case] shown: &str,
) {
    let bridge = Bridge::start(|_, _| Deed::Take);
    let message = "A: b\r\n\r\n\u{fc}\t \r\n";
    assert_eq!(bridge.deliver(mail, &[recipient], message).await, [250]);
    let (_, post) = &bridge.peers.posts()[0];
    assert_eq!(post.sender, sender);
    assert_eq!(post.recipients, [shown]);
    assert_eq!(post.message, message);
}

#[tokio::test]
async fn a_thousand_recipients_are_twenty_posts_of_which_each_counts_alone() {
    let bridge = Bridge::start(|_, post| {
        if post.recipients.contains(&"user0500@y.example".to_owned()) {
            Deed::Refuse
        } else {
            Deed::Take
        }
    });
    let recipients: Vec<_> = (0..1000).map(|n| format!("user{n:04}@y.example")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let codes = bridge.deliver("<a@x.example>", &recipients, MESSAGE).await;
    assert_eq!(codes, [250; 1000]);
    let posts = bridge.peers.posts();
    assert_eq!(posts.len(), 20);
    assert!(posts.iter().all(|(_, post)| post.recipients.len() == 50));
    let mut keys: Vec<_> = posts.iter().map(|(_, post)| &post.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 20);
    let by_smtp = bridge.fallback.commands("RCPT");
    let expected = recipients[500..550].iter();
    let expected: Vec<_> = expected.map(|rcpt| format!("RCPT TO:<{rcpt}>")).collect();
    assert_eq!(by_smtp, expected);
}

#[tokio::test]
async fn domains_are_told_apart() {
    let bridge = Bridge::start(|domain, _| match domain.as_str() {
        "z.example" => Deed::Refuse,
        _ => Deed::Take,
    });
    let recipients = ["a@y.example", "b@z.example", "c@y.example"];
    assert_eq!(bridge.deliver("<>", &recipients, MESSAGE).await, [250; 3]);
    assert_eq!(bridge.peers.posts().len(), 2);
    assert_eq!(bridge.fallback.commands("RCPT"), ["RCPT TO:<b@z.example>"]);
}

#[tokio::test]
async fn a_peer_that_never_answers_loses_the_message_to_smtp() {
    let bridge = Bridge::start(|_, _| Deed::TakeInSilence);
    let mut client = bridge.client().await;
    assert_eq!(client.begin("<>", &["b@y.example"]).await, 354);
    client.send(format!("{MESSAGE}.\r\n")).await;
    bridge.peers.posted().await;
    pass(Duration::from_secs(120)).await;
    assert_eq!(client.code().await, 250);
    assert_eq!(bridge.fallback.seen().messages.len(), 1);
    assert!(bridge.counts("recipients_total{way=\"smtp\",reason=\"late\"} 1"));
}

#[tokio::test]
async fn a_slow_peer_gets_as_many_posts_as_there_is_time_for() {
    let bridge = Bridge::start(|_, _| Deed::Wait(Duration::from_secs(25)));
    let recipients: Vec<_> = (0..300).map(|n| format!("user{n:03}@y.example")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let mut client = bridge.client().await;
    assert_eq!(client.begin("<>", &recipients).await, 354);
    client.send(format!("{MESSAGE}.\r\n")).await;
    for _ in 0..3 {
        bridge.peers.posted().await;
        pass(Duration::from_secs(25)).await;
    }
    assert_eq!(client.codes(300).await, [250; 300]);
    assert_eq!(bridge.peers.posts().len(), 3);
    assert_eq!(bridge.fallback.commands("RCPT").len(), 150);
}

/// One peer answers nothing, with as many large messages as there are; the others' mail goes.
#[tokio::test]
async fn a_slow_peer_does_not_hold_up_others() {
    let bridge = Bridge::start(|domain, _| match domain.as_str() {
        "slow.example" => Deed::TakeInSilence,
        _ => Deed::Take,
    });
    let large = format!(
        "{MESSAGE}{}",
        format!("{}\r\n", "x".repeat(900)).repeat(7 * 1024)
    );
    let mail = format!("<a@x.example> SIZE={}", large.len());
    let mut waiting = Vec::new();
    for number in 0..4 {
        let mut client = bridge.client().await;
        let begin = format!("MAIL FROM:{mail}\r\nRCPT TO:<b@slow.example>\r\nDATA\r\n");
        client.send(begin).await;
        if number == 0 {
            assert_eq!(client.codes(3).await, [250, 250, 354]);
            client.send(format!("{large}.\r\n")).await;
            bridge.peers.posted().await;
        }
        waiting.push(client);
    }
    for number in 0..9 {
        let recipient = format!("b@peer{number}.example");
        let codes = bridge.deliver(&mail, &[&recipient], &large).await;
        assert_eq!(codes, [250]);
    }
    let slow = bridge.peers.posts();
    let slow = slow
        .iter()
        .filter(|(domain, _)| domain.as_str() == "slow.example");
    assert_eq!(slow.count(), 1);
}

/// The bridge is killed when the peer has the message and Postfix has not heard so: Postfix is told
/// nothing, and so sends the message again, under the same key.
#[test]
fn a_bridge_that_is_killed_has_not_said_250() {
    let peers = StandIn::new(|_, _| Deed::TakeInSilence);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lmtp.sock");
    let unused = "127.0.0.1:9".parse().unwrap();
    let stop = watch::Sender::new(false);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let postfix = runtime();
    for _ in 0..2 {
        let bridge = runtime();
        bridge.block_on(async {
            serve(
                &path,
                unused,
                peers.clone(),
                &mut Registry::default(),
                &stop,
            );
        });
        let client = postfix.block_on(async {
            let mut client = LmtpClient::ready(&path).await;
            assert_eq!(client.begin("<a@x.example>", &["b@y.example"]).await, 354);
            client.send(format!("{MESSAGE}.\r\n")).await;
            peers.posted().await;
            client
        });
        drop(bridge);
        postfix.block_on(client.closed());
    }
    let posts = peers.posts();
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].1.key, posts[1].1.key);
}
