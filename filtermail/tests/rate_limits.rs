//! Whoever sends too much is told so at RCPT.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod common;

use common::{ALICE, BOB, Ending, Filter, Mta, encrypted_body, encrypted_headers};

fn too_much() -> Ending {
    Ending::Reply("450 4.7.1 Too much mail from <alice@chat.example>".to_owned())
}

#[tokio::test]
async fn a_burst_then_a_reply_for_every_recipient() {
    // One message an hour or so: nothing is refilled while the test runs.
    let keys = "max_user_send_per_minute = 1\nmax_user_send_burst_size = 3";
    let filter = Filter::start(keys).await;
    let mut mta = Mta::ready(&filter.socket()).await;
    for _ in 0..3 {
        mta.mail(ALICE, Some(ALICE)).await;
        for _ in 0..5 {
            assert_eq!(
                mta.recipient(BOB).await,
                Ending::Pass,
                "counted once per message"
            );
        }
        mta.headers(&encrypted_headers(ALICE)).await;
        assert_eq!(mta.body(&encrypted_body(1000)).await.1, Ending::Pass);
    }
    mta.mail(ALICE, Some(ALICE)).await;
    assert_eq!(mta.recipient(BOB).await, too_much());
    assert_eq!(mta.recipient(BOB).await, too_much());
    mta.send(b'A', b"").await;

    let mut elsewhere = Mta::ready(&filter.socket()).await;
    elsewhere.mail(ALICE, Some("ALICE@chat.example")).await;
    assert_eq!(
        elsewhere.recipient(BOB).await,
        too_much(),
        "the login counts, not the connection"
    );
    elsewhere.send(b'A', b"").await;
    let (_, ending) = elsewhere
        .submit(BOB, ALICE, &encrypted_headers(BOB), &encrypted_body(1000))
        .await;
    assert_eq!(ending, Ending::Pass, "other senders are unaffected");
}

#[tokio::test]
async fn recipients_are_counted_over_messages() {
    let filter = Filter::start("max_user_recipients_per_minute = 5").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    for recipients in [3, 2] {
        mta.mail(ALICE, Some(ALICE)).await;
        for _ in 0..recipients {
            assert_eq!(mta.recipient(BOB).await, Ending::Pass);
        }
        mta.send(b'A', b"").await;
    }
    mta.mail(ALICE, Some(ALICE)).await;
    assert_eq!(mta.recipient(BOB).await, too_much());
}

#[tokio::test]
async fn bots_on_the_list_are_not_limited() {
    let keys = format!("max_user_send_burst_size = 1\nunlimited_senders = {ALICE}");
    let filter = Filter::start(&keys).await;
    let mut mta = Mta::ready(&filter.socket()).await;
    for _ in 0..50 {
        mta.mail(ALICE, Some(ALICE)).await;
        assert_eq!(mta.recipient(BOB).await, Ending::Pass);
        mta.send(b'A', b"").await;
    }
}

#[tokio::test]
async fn ten_thousand_recipients_get_an_answer_each() {
    let filter = Filter::start("").await;
    let mut mta = Mta::ready(&filter.socket()).await;
    mta.mail(ALICE, Some(ALICE)).await;
    let mut passed = 0;
    for number in 0..10_000 {
        match mta.recipient(&format!("r{number}@chat.example")).await {
            Ending::Pass => passed += 1,
            refused => assert_eq!(refused, too_much()),
        }
    }
    // The allowance of a minute and what is refilled meanwhile.
    assert!((2000..3000).contains(&passed), "{passed}");
}
