//! The answer to each kind of request.

use crate::bridge::Bridge;
use crate::doveauth::BLOCKED_CLIENT;
use crate::http::{self, Post};
use crate::message;
use rstest::rstest;

#[tokio::test]
async fn what_is_taken_is_answered_250_ok() {
    let bridge = Bridge::start().await;
    let answer = bridge.post(&Post::to(&["bob@chat.example"])).await;
    assert_eq!(answer.told(), (200, "250 OK"));
    assert!(
        answer.head.contains("content-type: text/plain"),
        "{answer:?}"
    );
    let delivered = bridge.dovecot.only();
    assert_eq!(delivered.sender, "carol@[192.0.2.1]");
    assert_eq!(delivered.recipients, ["bob@chat.example"]);
    bridge.until_idle().await;
    let requests = bridge.metric("mxdeliv_inbound_requests_total{status=\"200\"}");
    assert_eq!(requests, 1.0);
}

#[rstest]
#[case("GET")]
#[case("HEAD")]
#[case("PUT")]
#[case("OPTIONS")]
#[tokio::test]
async fn nothing_but_post(#[case] method: &'static str) {
    let bridge = Bridge::start().await;
    let mut post = Post::to(&["bob@chat.example"]);
    post.method = method;
    let answer = bridge.post(&post).await;
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("allow: post"), "{answer:?}");
}

#[rstest]
#[case("/")]
#[case("/mxdeliv/")]
#[case("/mxdeliv/x")]
#[tokio::test]
async fn no_other_path(#[case] path: &'static str) {
    let bridge = Bridge::start().await;
    for method in ["GET", "POST"] {
        let mut post = Post::to(&["bob@chat.example"]);
        (post.path, post.method) = (path, method);
        assert_eq!(bridge.post(&post).await.status, 404);
    }
    assert_eq!(bridge.dovecot.delivered(), []);
}

#[tokio::test]
async fn envelopes_that_cannot_be() {
    let bridge = Bridge::start().await;
    let bob = "bob@chat.example";
    for (post, text) in [
        (Post::to(&[]), "X-Mail-To is missing"),
        (Post::to(&["<>"]), "X-Mail-To is no address"),
        (Post::to(&[bob, "b c"]), "X-Mail-To is no address"),
        (
            Post::to(&[bob]).with("X-Mail-From", "x@y.org"),
            "More than one X-Mail-From",
        ),
    ] {
        let answer = bridge.post(&post).await;
        assert_eq!(answer.told(), (400, format!("501 5.5.4 {text}").as_str()));
    }
}

#[rstest]
#[case("nobody@chat.example", 403, "550 5.1.1 No such user here")]
#[case("bob@elsewhere.example", 403, "550 5.1.1 No such user here")]
#[case("barred@chat.example", 403, "550 5.7.1 This account is blocked")]
#[case("full@chat.example", 507, "452 4.2.2 Mailbox is full")]
#[case(
    "full@chat.example, nobody@chat.example",
    503,
    "452 4.2.2 Mailbox is full"
)]
#[case("broken@chat.example", 503, "451 4.3.0 Try again later")]
#[case(
    "bob@chat.example, broken@chat.example",
    503,
    "451 4.3.0 Try again later"
)]
#[case(
    "unknown@chat.example",
    403,
    "550 5.1.1 <unknown@chat.example> User doesn't exist"
)]
#[case("late-full@chat.example", 507, "452 4.2.2 Mailbox is full")]
#[case("late-failure@chat.example", 403, "554 5.6.0 Failed")]
#[tokio::test]
async fn recipients_that_get_nothing(#[case] to: &str, #[case] status: u16, #[case] text: &str) {
    let bridge = Bridge::start().await;
    let answer = bridge.post(&Post::to(&[to])).await;
    assert_eq!(answer.told(), (status, text));
    let temporary = text.starts_with('4');
    assert_eq!(
        answer.head.contains("retry-after: "),
        temporary,
        "{answer:?}"
    );
    assert_eq!(bridge.dovecot.delivered(), []);
    assert_eq!(bridge.postfix.delivered(), []);
    bridge.until_idle().await;
}

#[tokio::test]
async fn messages_that_the_rules_refuse() {
    let bridge = Bridge::start().await;
    let (from, bob) = ("carol@[192.0.2.1]", "bob@chat.example");
    let clear = message::cleartext(from);
    for (post, status, text) in [
        (
            Post::of(from, &[bob], clear.clone()),
            403,
            "523 5.7.1 Encryption Needed: Invalid Unencrypted Mail (not-encrypted)",
        ),
        (
            Post::of(from, &[bob], clear.replace("From", "X-From")),
            403,
            "554 5.7.1 Invalid FROM (from-missing)",
        ),
        (
            Post::to(&[bob]).sent_by("192.0.2.7"),
            403,
            "554 5.7.1 Invalid FROM: mail does not come from the address in its domain",
        ),
        (
            Post::to(&[bob]).sent_by(BLOCKED_CLIENT),
            403,
            "550 5.7.1 Mail from you is blocked here",
        ),
    ] {
        let answer = bridge.post(&post).await;
        assert_eq!(answer.told(), (status, text));
    }
    assert_eq!(bridge.dovecot.delivered(), []);
    let open = Post::of(from, &["open@chat.example"], clear);
    assert_eq!(bridge.post(&open).await.status, 200);
}

#[tokio::test]
async fn a_client_that_nginx_does_not_name_is_not_trusted() {
    let bridge = Bridge::start().await;
    let post = Post::to(&["bob@chat.example"]);
    for post in [
        post.clone().without("X-Real-IP"),
        post.clone().with("X-Real-IP", "192.0.2.1"),
        post.clone().sent_by("unix:"),
        post.sent_by("192.0.2.1, 192.0.2.2"),
    ] {
        let answer = bridge.post(&post).await;
        assert_eq!(answer.status, 500);
        assert!(answer.body.starts_with("451 4.3.5 "), "{answer:?}");
    }
    assert_eq!(bridge.dovecot.delivered(), []);
}

#[tokio::test]
async fn the_field_that_names_the_client_is_the_operators_choice() {
    let bridge = Bridge::with("mxdeliv_client_header = X-Peer").await;
    let post = Post::to(&["bob@chat.example"]);
    let post = post.sent_by("203.0.113.9");
    assert_eq!(bridge.post(&post).await.status, 500);
    let post = post.with("X-Peer", "::ffff:192.0.2.1");
    assert_eq!(bridge.post(&post).await.status, 200);
}

#[tokio::test]
async fn dovecot_or_doveauth_away_is_a_temporary_failure() {
    let bridge = Bridge::start().await;
    bridge.dovecot.down(true);
    let post = Post::to(&["bob@chat.example", "alice@chat.example"]);
    let answer = bridge.post(&post).await;
    assert_eq!(answer.told(), (503, "451 4.3.0 Try again later"));
    bridge.dovecot.down(false);
    assert_eq!(bridge.post(&post).await.status, 200);
    std::fs::remove_file(bridge.dir.path().join("policy.sock")).unwrap();
    // Connections that are open stay so; a new bridge has none.
    let again = Bridge::start().await;
    std::fs::remove_file(again.dir.path().join("policy.sock")).unwrap();
    assert_eq!(again.post(&post).await.status, 503);
    assert_eq!(again.dovecot.delivered(), []);
}

#[tokio::test]
async fn what_is_no_http_gets_an_answer() {
    let bridge = Bridge::start().await;
    let answer = http::send(&bridge.http(), b"EHLO x\r\n\r\n").await;
    assert_eq!(answer.status, 400);
}
