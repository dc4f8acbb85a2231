//! What is known over time and over restarts, and the operator's decisions.

use std::time::Duration;

use mxdeliv_bridge::routes::{Limits, Override, PeerState, Routes, RoutesError};
use mxdeliv_bridge::statistics::{Direction, Statistics, Transport};
use prometheus_client::registry::Registry;

use crate::peer::Say;
use crate::{World, domain, post};

#[tokio::test]
async fn knowledge_outlives_a_restart() {
    let world = World::new().await;
    let good = world.peer("good.test").await;
    world.mail_hosts("x.test", &[(10, "bad.test"), (20, "good.test")]);
    world.address("bad.test");
    let failing = world.peer("failing.test").await;
    failing.say(Say::Answer(500, "text/plain", ""));
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap();
    post(&routes, "failing.test").await.unwrap_err();
    let before = routes.peers();
    drop(routes);

    let routes = world.routes();
    let mut after = routes.peers();
    assert_eq!(before.len(), 2);
    for (before, after) in before.iter().zip(&mut after) {
        assert_eq!(before.state, after.state);
        assert_eq!(before.endpoint, after.endpoint);
        assert_eq!(before.since, after.since);
        assert_eq!(before.transport, after.transport);
    }
    assert_eq!(routes.transport(&domain("failing.test")), Transport::Smtp);
    post(&routes, "x.test").await.unwrap();
    assert_eq!(good.posts().len(), 2);
    assert_eq!(failing.posts().len(), 1);
}

#[tokio::test]
async fn a_peer_that_is_back_is_used_again() {
    let world = World::with_limits(Limits {
        // Closed for no time: each message is a trial.
        failing_first: Duration::ZERO,
        ..Limits::default()
    })
    .await;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    peer.say(Say::Answer(500, "text/plain", ""));
    for _ in 0..3 {
        post(&routes, "x.test").await.unwrap_err();
    }
    assert_eq!(routes.peer(&domain("x.test")).state, PeerState::Failing);
    peer.say(Say::Answer(200, "text/plain", "250 OK"));
    post(&routes, "x.test").await.unwrap();
    assert_eq!(routes.peer(&domain("x.test")).state, PeerState::Speaks);
    assert_eq!(peer.posts().len(), 4);
}

#[tokio::test]
async fn while_one_message_tries_a_closed_peer_the_others_do_not() {
    let world = World::with_limits(Limits {
        failing_first: Duration::ZERO,
        ..Limits::default()
    })
    .await;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    peer.say(Say::Answer(500, "text/plain", ""));
    post(&routes, "x.test").await.unwrap_err();
    peer.say(Say::Silence);
    let trial = tokio::spawn({
        let routes = routes.clone();
        async move { post(&routes, "x.test").await }
    });
    peer.wait_for(2).await;
    assert_eq!(routes.transport(&domain("x.test")), Transport::Smtp);
    post(&routes, "x.test").await.unwrap_err();
    assert_eq!(peer.posts().len(), 2);
    // Who gives up a trial leaves it to the next message.
    trial.abort();
    assert!(trial.await.unwrap_err().is_cancelled());
    assert_eq!(routes.transport(&domain("x.test")), Transport::Mxdeliv);
    peer.say(Say::Answer(200, "text/plain", "250 OK"));
    post(&routes, "x.test").await.unwrap();
}

#[tokio::test]
async fn decisions_hold_at_once_and_after_a_restart() {
    let world = World::new().await;
    let (mx, other) = (world.peer("x.test").await, world.peer("other.test").await);
    let x = domain("x.test");
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap();

    routes
        .set_override(x.clone(), Override::Smtp)
        .await
        .unwrap();
    assert_eq!(routes.transport(&x), Transport::Smtp);
    post(&routes, "x.test").await.unwrap_err();
    assert_eq!(mx.posts().len(), 1);
    drop(routes);

    let routes = world.routes();
    assert_eq!(routes.overrides(), [(x.clone(), Override::Smtp)]);
    assert_eq!(routes.transport(&x), Transport::Smtp);
    let url = format!("https://other.test:{}", world.port);
    let decision = Override::parse(&url, false).unwrap();
    routes
        .set_override(x.clone(), decision.clone())
        .await
        .unwrap();
    assert_eq!(routes.transport(&x), Transport::Mxdeliv);
    post(&routes, "x.test").await.unwrap();
    assert_eq!((mx.posts().len(), other.posts().len()), (1, 1));
    drop(routes);

    let routes = world.routes();
    assert_eq!(routes.overrides(), [(x.clone(), decision)]);
    assert!(routes.unset_override(&x).await.unwrap());
    assert!(!routes.unset_override(&x).await.unwrap());
    post(&routes, "x.test").await.unwrap();
    assert_eq!((mx.posts().len(), other.posts().len()), (2, 1));
    drop(routes);
    assert_eq!(world.routes().overrides(), []);
}

#[tokio::test]
async fn a_decision_tries_an_endpoint_that_was_given_up() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    peer.say(Say::Answer(404, "text/plain", ""));
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap_err();
    peer.say(Say::Answer(200, "text/plain", "250 OK"));
    post(&routes, "x.test").await.unwrap_err();
    let url = format!("https://x.test:{}", world.port);
    let decision = Override::parse(&url, false).unwrap();
    routes
        .set_override(domain("x.test"), decision)
        .await
        .unwrap();
    post(&routes, "x.test").await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_an_error_that_says_what_to_do() {
    let world = World::new().await;
    let statistics = Statistics::open(&world.config()).unwrap();
    drop(world.routes());
    for name in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(world.path(&format!("peers.sqlite{name}")));
    }
    std::fs::write(world.path("peers.sqlite"), "something else").unwrap();
    let refused = Routes::open(&world.config(), statistics, &mut Registry::default());
    let refused = refused.unwrap_err();
    assert!(matches!(refused, RoutesError::Database(_)), "{refused}");
    assert!(refused.to_string().contains("peers.sqlite"), "{refused}");
}

#[tokio::test]
async fn a_disk_that_fails_is_no_reason_to_forget() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    // Another program holds the file for longer than we wait: here, by taking the table away.
    let other = rusqlite::Connection::open(world.path("peers.sqlite")).unwrap();
    other
        .execute_batch("DROP TABLE endpoints; DROP TABLE overrides")
        .unwrap();
    peer.say(Say::Answer(404, "text/plain", ""));
    post(&routes, "x.test").await.unwrap_err();
    assert_eq!(routes.transport(&domain("x.test")), Transport::Smtp);
    let decided = routes.set_override(domain("y.test"), Override::Smtp).await;
    assert!(decided.is_err());
    assert_eq!(routes.transport(&domain("y.test")), Transport::Smtp);
}

#[tokio::test]
async fn a_message_that_was_posted_is_one_attempt_however_many_hosts_there_were() {
    let world = World::new().await;
    let (first, second) = (world.peer("a.test").await, world.peer("b.test").await);
    world.mail_hosts("x.test", &[(10, "a.test"), (20, "b.test")]);
    let statistics = Statistics::open(&world.config()).unwrap();
    let mut registry = Registry::default();
    let routes = Routes::open(&world.config(), statistics.clone(), &mut registry).unwrap();
    first.say(Say::Answer(404, "text/plain", ""));
    post(&routes, "x.test").await.unwrap();
    second.say(Say::Answer(
        500,
        "text/plain",
        "554 5.3.0 <bob@x.test> is not here",
    ));
    post(&routes, "x.test").await.unwrap_err();
    // This one is not even tried.
    let smtp = routes.set_override(domain("x.test"), Override::Smtp);
    smtp.await.unwrap();
    post(&routes, "x.test").await.unwrap_err();

    let mut figures = statistics.peers(None);
    let peer = figures.recv().await.unwrap().unwrap();
    assert_eq!(peer.domain, "x.test");
    let [way] = &peer.ways[..] else {
        panic!("{peer:?}")
    };
    assert_eq!(way.direction, Direction::Outbound);
    assert_eq!(way.transport, Transport::Mxdeliv);
    assert_eq!((way.hour.attempts, way.hour.successes), (2, 1));
    let error = way.last_error.as_deref().unwrap();
    assert!(
        error.starts_with("500: 554 5.3.0 ") && !error.contains("bob"),
        "{error}"
    );
    assert!(figures.recv().await.is_none());
}

#[tokio::test]
async fn metrics_tell_outcomes_and_states() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    let (routes, registry) = world.routes_and_metrics();
    post(&routes, "x.test").await.unwrap();
    peer.say(Say::Answer(404, "text/plain", ""));
    post(&routes, "x.test").await.unwrap_err();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "mxdeliv_posts_total{outcome=\"taken\"} 1",
        "mxdeliv_posts_total{outcome=\"no-endpoint\"} 1",
        "mxdeliv_endpoints{state=\"silent\"} 1",
        "mxdeliv_endpoints{state=\"speaks\"} 0",
        "mxdeliv_domains 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(!text.contains("x.test"));
}
