//! What is wrong with octets.

use crate::bridge::Bridge;
use crate::http::{self, Post};
use crate::message;
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

const OPEN: &str = "open@chat.example";
const FROM: &str = "carol@[192.0.2.1]";

/// Its recipient takes cleartext: nothing but the form of the message is in question.
fn post(body: impl Into<Vec<u8>>) -> Post {
    Post::of(FROM, &[OPEN], body)
}

#[rstest]
#[case("hello\r\n", "hel\nlo\r\n", "bare-line-ending")]
#[case("hello\r\n", "hel\rlo\r\n", "bare-line-ending")]
#[case("hello\r\n", "hello\r", "bare-line-ending")]
#[case("hello\r\n", "hello\n", "bare-line-ending")]
#[case("hello", "hel\0lo", "nul")]
#[case("Subject: hi", "Subject: h\0i", "nul")]
#[case("Subject: hi", "Subject: h\ni", "bare-line-ending")]
#[case("Subject: hi", "Subject", "header-syntax")]
#[case("Subject: hi", ": hi", "header-syntax")]
#[case("Subject: hi", "Subject : hi", "header-syntax")]
#[case("Subject: hi", "S\u{e4}bject: hi", "header-syntax")]
#[case("From:", " From:", "header-syntax")]
#[case("From:", "From x Sat Jan  1 00:00:00 2000\r\nFrom:", "header-syntax")]
#[tokio::test]
async fn what_an_mta_would_mend_is_refused(
    #[case] good: &str,
    #[case] bad: &str,
    #[case] rule: &str,
) {
    let bridge = Bridge::start().await;
    let body = message::cleartext(FROM);
    assert!(body.contains(good));
    let expected = format!("554 5.6.0 Malformed message ({rule})");
    for chunked in [None, Some(1)] {
        let mut post = post(body.replacen(good, bad, 1));
        post.chunked = chunked;
        let answer = bridge.post(&post).await;
        assert_eq!(answer.told(), (403, expected.as_str()), "{chunked:?}");
    }
    assert_eq!(bridge.dovecot.delivered(), []);
    bridge.until_idle().await;
}

#[tokio::test]
async fn lines_have_a_limit() {
    let bridge = Bridge::start().await;
    let body = message::cleartext(FROM);
    for (length, status) in [(998, 200), (999, 403)] {
        let long = body.replace("hello", &"x".repeat(length));
        assert_eq!(bridge.post(&post(long)).await.status, status, "{length}");
        let name = "X-Field: ";
        let field = format!("{name}{}\r\nSubject", "x".repeat(length - name.len()));
        let long = body.replace("Subject", &field);
        assert_eq!(bridge.post(&post(long)).await.status, status, "{length}");
    }
}

#[tokio::test]
async fn a_missing_line_end_at_the_end_is_added() {
    let bridge = Bridge::start().await;
    let body = message::cleartext(FROM);
    let cut = body.strip_suffix("\r\n").unwrap();
    assert_eq!(bridge.post(&post(cut)).await.status, 200);
    assert_eq!(bridge.dovecot.only().message, body);
    let encrypted = message::encrypted(FROM, 100);
    let cut = encrypted.strip_suffix("\r\n").unwrap();
    let bob = Post::of(FROM, &["bob@chat.example"], cut);
    assert_eq!(bridge.post(&bob).await.status, 200);
}

#[tokio::test]
async fn an_empty_message_is_refused() {
    let bridge = Bridge::start().await;
    for body in ["", "\r\n", "\r\n\r\n"] {
        assert_eq!(bridge.post(&post(body)).await.status, 403, "{body:?}");
    }
}

/// A message that cannot pass is answered before it has come, and not before that is certain.
#[tokio::test]
async fn the_first_rule_that_decides_ends_it() {
    let bridge = Bridge::start().await;
    let mut stream = UnixStream::connect(bridge.http()).await.unwrap();
    let clear = message::cleartext(FROM);
    let head = Post::of(FROM, &["bob@chat.example"], "").head();
    let octets = format!("{head}Content-Length: 1000000\r\n\r\n{clear}");
    stream.write_all(octets.as_bytes()).await.unwrap();
    let answer = http::answer(&mut stream).await;
    assert_eq!(answer.status, 403);
    assert!(answer.head.contains("connection: close"), "{answer:?}");
    let report = "From: <mailer-daemon@[192.0.2.1]>\r\nAuto-Submitted: auto-replied\r\n\
                  Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n\
                  --x--\r\n";
    let report = Post::of("", &["bob@chat.example"], report);
    assert_eq!(bridge.post(&report).await.status, 200);
}

#[tokio::test]
async fn a_length_that_is_wrong() {
    let bridge = Bridge::start().await;
    let bob = Post::to(&["bob@chat.example"]);
    let length = bob.body.len() + 10;
    let body = String::from_utf8(bob.body.clone()).unwrap();
    let octets = format!("{}Content-Length: {length}\r\n\r\n{body}", bob.head());
    let mut stream = UnixStream::connect(bridge.http()).await.unwrap();
    stream.write_all(octets.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // It is closed, with or without an answer.
    let _ = crate::bridge::soon(tokio::io::AsyncReadExt::read_to_end(
        &mut stream,
        &mut answer,
    ))
    .await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"));
    let chunks = format!(
        "{}Transfer-Encoding: chunked\r\n\r\nzz\r\n{body}",
        bob.head()
    );
    let answer = http::send(&bridge.http(), chunks.as_bytes()).await;
    assert_eq!(answer.status, 400);
    bridge.until_idle().await;
    assert_eq!(bridge.dovecot.delivered(), []);
}

#[rstest]
#[case("Content-Length: {}\r\nTransfer-Encoding: chunked")]
#[case("Transfer-Encoding: chunked\r\nContent-Length: {}")]
#[case("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")]
#[case("Content-Length: {}\r\nContent-Length: {}")]
#[case("Content-Length: {}\r\nContent-Length: 1")]
#[case("Content-Length: +{}")]
#[case("Content-Length : {}")]
#[case("Transfer-Encoding: gzip")]
#[case("X:\r\n Content-Length: {}")]
#[tokio::test]
async fn ways_to_smuggle_a_request(#[case] framing: &str) {
    let bridge = Bridge::start().await;
    let bob = Post::to(&["bob@chat.example"]);
    let body = String::from_utf8(bob.body.clone()).unwrap();
    let framing = framing.replace("{}", &body.len().to_string());
    let inner = String::from_utf8(Post::to(&["alice@chat.example"]).octets()).unwrap();
    let octets = format!("{}{framing}\r\n\r\n{body}{inner}", bob.head());
    let answer = http::send(&bridge.http(), octets.as_bytes()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    bridge.until_idle().await;
    assert_eq!(bridge.dovecot.delivered(), []);
}

#[tokio::test]
async fn a_second_request_on_a_connection_is_not_answered() {
    let bridge = Bridge::start().await;
    let one = Post::to(&["bob@chat.example"]).octets();
    let two = Post::to(&["alice@chat.example"]).octets();
    let answer = http::send(&bridge.http(), &[one, two].concat()).await;
    assert_eq!(answer.told(), (200, "250 OK"));
    bridge.until_idle().await;
    assert_eq!(bridge.dovecot.only().recipients, ["bob@chat.example"]);
}
