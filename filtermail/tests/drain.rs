//! Told to stop, filtermail finishes what it has begun and takes nothing new.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use common::{ALICE, BOB, Ending, Filter, Mta, encrypted_body, encrypted_headers};
use tokio::net::UnixStream;

#[tokio::test]
async fn a_message_under_way_is_finished_and_idle_connections_do_not_wait() {
    let mut filter = Filter::start("").await;
    let _idle = Mta::ready(&filter.socket()).await;
    let mut busy = Mta::ready(&filter.socket()).await;
    busy.mail(ALICE, Some(ALICE)).await;
    assert_eq!(busy.recipient(BOB).await, Ending::Pass);
    filter.stop();
    while UnixStream::connect(filter.socket()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    busy.headers(&encrypted_headers(ALICE)).await;
    assert_eq!(busy.body(&encrypted_body(1000)).await.1, Ending::Pass);
    filter.ended().await;
}
