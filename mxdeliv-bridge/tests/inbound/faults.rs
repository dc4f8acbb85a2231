//! Clients that go away, and the end of the daemon.

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use crate::bridge::{Bridge, soon};
use crate::http::Post;

const BOB: &str = "bob@chat.example";

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let bridge = Bridge::with("mxdeliv_max_requests_per_client = 1").await;
    let post = Post::to(&[BOB]);
    let octets = post.octets();
    let head = octets.len() - post.body.len();
    for end in [0, 1, head / 2, head - 1, head, head + 1, octets.len() - 1] {
        let mut stream = UnixStream::connect(bridge.http()).await.unwrap();
        stream.write_all(&octets[..end]).await.unwrap();
        drop(stream);
    }
    bridge.until_idle().await;
    assert_eq!(bridge.dovecot.delivered(), []);
    // What those had open is over soon.
    let taken = async { while bridge.post(&post).await.status == 429 {} };
    soon(taken).await;
    bridge.dovecot.only();
}

#[tokio::test]
async fn a_stop_waits_for_what_has_begun() {
    let bridge = Bridge::start().await;
    bridge.dovecot.hold(true);
    let post = Post::to(&[BOB]);
    let socket = bridge.http();
    let under_way = tokio::spawn(async move { post.send(&socket).await.status });
    bridge.dovecot.come(1).await;
    // A connection without a request does not keep it.
    let idle = UnixStream::connect(bridge.http()).await.unwrap();
    bridge.stop();
    let refused = async {
        while UnixStream::connect(bridge.http()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    soon(refused).await;
    bridge.dovecot.hold(false);
    assert_eq!(soon(under_way).await.unwrap(), 200);
    bridge.dovecot.only();
    drop(idle);
    bridge.ended().await;
}

#[tokio::test]
async fn a_stop_waits_for_a_delivery_whose_client_is_gone() {
    let bridge = Bridge::start().await;
    bridge.dovecot.hold(true);
    let post = Post::to(&[BOB]);
    let socket = bridge.http();
    let gone = tokio::spawn(async move { post.send(&socket).await.status });
    bridge.dovecot.come(1).await;
    gone.abort();
    let dovecot = bridge.dovecot.clone();
    bridge.stop();
    let ended = tokio::spawn(bridge.ended());
    tokio::task::yield_now().await;
    assert!(!ended.is_finished());
    dovecot.hold(false);
    soon(ended).await.unwrap();
    dovecot.only();
}
