//! TLS, connections that break, and connections made ahead of messages.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mxdeliv_bridge::routes::{Limits, Override, PeerState};
use mxdeliv_bridge::statistics::Transport;
use rstest::rstest;

use crate::peer::{Say, mute};
use crate::{PATIENCE, Shown, World, domain, eventually, message, post, why};

#[rstest]
#[case(Shown::OtherName)]
#[case(Shown::Expired)]
#[case(Shown::SelfSigned)]
#[tokio::test]
async fn a_name_needs_a_good_certificate(#[case] shown: Shown) {
    let world = World::new().await;
    let peer = world.peer_that_shows("x.test", shown).await;
    let routes = world.routes();
    let why = why(post(&routes, "x.test").await);
    assert!(why.contains("certificate"), "{why}");
    assert_eq!((peer.connections(), peer.posts().len()), (1, 0));
    let view = routes.peer(&domain("x.test"));
    assert_eq!(
        (view.state, view.transport),
        (PeerState::Silent, Transport::Smtp)
    );
}

#[tokio::test]
async fn the_operator_can_take_any_certificate_of_a_peer() {
    let world = World::new().await;
    let peer = world.peer_that_shows("x.test", Shown::SelfSigned).await;
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap_err();
    let url = format!("https://x.test:{}", world.port);
    let strict = Override::parse(&url, false).unwrap();
    routes.set_override(domain("x.test"), strict).await.unwrap();
    post(&routes, "x.test").await.unwrap_err();
    let lax = Override::parse(&url, true).unwrap();
    routes.set_override(domain("x.test"), lax).await.unwrap();
    post(&routes, "x.test").await.unwrap();
    assert_eq!(peer.posts().len(), 1);
}

#[rstest]
#[case(Shown::OtherName)]
#[case(Shown::Expired)]
#[case(Shown::SelfSigned)]
#[tokio::test]
async fn a_name_that_nobody_vouches_for_may_show_any_certificate(#[case] shown: Shown) {
    let world = World::new().await;
    let peer = world.peer_that_shows("_x.test", shown).await;
    post(&world.routes(), "_x.test").await.unwrap();
    assert_eq!(peer.posts().len(), 1);
}

#[tokio::test]
async fn an_address_may_show_any_certificate_and_is_asked_for_by_no_name() {
    let world = World::new().await;
    let address = world.address("x.test");
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let tls = world.tls("somebody.test", Shown::SelfSigned);
    let peer = crate::peer::Peer::start(listener, tls);
    let literal = format!("[{}]", address.ip());
    post(&world.routes(), &literal).await.unwrap();
    let posts = peer.posts();
    assert_eq!(posts[0].sni, None);
    assert_eq!(posts[0].header("host"), [address.to_string()]);
    assert_eq!(posts[0].header("x-mail-to"), [format!("bob@{literal}")]);
}

#[tokio::test]
async fn http2_is_spoken_with_those_who_do() {
    let mut world = World::new().await;
    world.http2 = true;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    for _ in 0..3 {
        post(&routes, "x.test").await.unwrap();
    }
    let posts = peer.posts();
    assert!(
        posts
            .iter()
            .all(|post| post.is_http2 && post.connection == 0)
    );
    assert_eq!(posts[0].header("x-mail-to"), ["bob@x.test"]);
}

#[tokio::test]
async fn connections_are_kept_for_the_next_message() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    for _ in 0..5 {
        post(&routes, "x.test").await.unwrap();
    }
    assert_eq!((peer.posts().len(), peer.connections()), (5, 1));
}

#[tokio::test]
async fn a_kept_connection_that_closes_at_the_next_request_is_replaced() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    peer.say(Say::AnswerOnce);
    post(&routes, "x.test").await.unwrap();
    post(&routes, "x.test").await.unwrap();
    let posts = peer.posts();
    let connections: Vec<usize> = posts.iter().map(|post| post.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
    // The peer can see that it is the same message.
    assert_eq!(
        posts[1].header("idempotency-key"),
        posts[2].header("idempotency-key")
    );
    assert_eq!(routes.peer(&domain("x.test")).state, PeerState::Speaks);
}

#[tokio::test]
async fn a_kept_http2_connection_that_dies_is_replaced() {
    let mut world = World::new().await;
    world.http2 = true;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    peer.say(Say::AnswerOnce);
    post(&routes, "x.test").await.unwrap();
    post(&routes, "x.test").await.unwrap();
    let posts = peer.posts();
    let connections: Vec<usize> = posts.iter().map(|post| post.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[rstest]
#[case::http1(false)]
#[case::http2(true)]
#[tokio::test]
async fn large_messages_arrive_whole(#[case] http2: bool) {
    let mut world = World::new().await;
    world.http2 = http2;
    let peer = world.peer("x.test").await;
    let mut large = message("x.test");
    large.message = b"0123456789abcdef".repeat(2 << 20).into();
    let routes = world.routes();
    routes.post(&domain("x.test"), &large).await.unwrap();
    assert!(peer.posts()[0].body == large.message);
}

#[tokio::test]
async fn a_peer_may_refuse_before_it_has_the_message() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    peer.say(Say::RefuseEarly);
    let mut large = message("x.test");
    large.message = b"0123456789abcdef".repeat(2 << 20).into();
    let routes = world.routes();
    let refused = routes.post(&domain("x.test"), &large).await.unwrap_err();
    assert!(refused.to_string().starts_with("413"), "{refused}");
    assert_eq!(routes.peer(&domain("x.test")).transport, Transport::Mxdeliv);
}

#[rstest]
#[case::closed(Say::Close)]
#[case::half_a_head(Say::Octets("HTTP/1.1 200 OK\r\ncontent-"))]
#[case::not_http(Say::Octets("220 mx.x.test ESMTP\r\n"))]
#[tokio::test]
async fn a_new_connection_that_breaks_is_not_tried_again(#[case] say: Say) {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    peer.say(say);
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap_err();
    assert_eq!(peer.posts().len(), 1);
    let view = routes.peer(&domain("x.test"));
    assert_eq!(
        (view.state, view.transport),
        (PeerState::Failing, Transport::Smtp)
    );
}

#[tokio::test]
async fn the_status_says_all_also_when_the_body_breaks_off() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n250";
    peer.say(Say::Octets(head));
    post(&world.routes(), "x.test").await.unwrap();
}

#[tokio::test]
async fn a_peer_that_never_answers_is_given_up() {
    let world = World::with_limits(Limits {
        total: Duration::from_secs(1),
        ..Limits::default()
    })
    .await;
    let peer = world.peer("x.test").await;
    peer.say(Say::Silence);
    let routes = world.routes();
    let posted = tokio::time::timeout(PATIENCE, post(&routes, "x.test")).await;
    assert_eq!(why(posted.unwrap()), "no answer in time");
    assert_eq!(routes.peer(&domain("x.test")).state, PeerState::Failing);
}

#[tokio::test]
async fn a_host_that_never_speaks_tls_costs_the_time_to_connect_and_the_next_is_tried() {
    let world = World::with_limits(Limits {
        connect: Duration::from_secs(3),
        ..Limits::default()
    })
    .await;
    let _mute = mute(world.address("dead.test")).await;
    let peer = world.peer("mx.test").await;
    world.mail_hosts("x.test", &[(10, "dead.test"), (20, "mx.test")]);
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap();
    assert_eq!(peer.posts().len(), 1);
}

#[tokio::test]
async fn a_connection_is_made_ahead_of_the_message_once() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    for _ in 0..20 {
        routes.prepare(&domain("x.test"));
    }
    peer.wait_for(1).await;
    // The bridge has the answer, too: there is nothing to prepare any more.
    let mut rounds = 0;
    while rounds < 20 {
        tokio::task::yield_now().await;
        routes.prepare(&domain("x.test"));
        rounds += 1;
    }
    eventually("the answer of the peer", || routes.peers().len() == 1).await;
    post(&routes, "x.test").await.unwrap();
    let seen = peer.seen();
    assert_eq!(seen[0].method, "HEAD");
    let posts = peer.posts();
    assert_eq!(posts.len(), 1);
    // It may have been quicker than the connection that was under way.
    assert!(posts[0].connection <= 1);
    routes.prepare(&domain("x.test"));
    post(&routes, "x.test").await.unwrap();
    assert_eq!(
        peer.seen()
            .iter()
            .filter(|seen| seen.method == "HEAD")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_peer_that_is_prepared_for_in_vain_is_known_before_the_message_comes() {
    let world = World::new().await;
    world.address("x.test");
    let routes = world.routes();
    assert_eq!(routes.transport(&domain("x.test")), Transport::Mxdeliv);
    routes.prepare(&domain("x.test"));
    eventually("a lesson", || {
        routes.transport(&domain("x.test")) == Transport::Smtp
    })
    .await;
    assert_eq!(
        why(post(&routes, "x.test").await),
        "no endpoint is to be tried now"
    );
}

#[tokio::test]
async fn connections_ahead_of_messages_are_few_however_many_domains_there_are() {
    // Nobody gets an answer, so all stay under way.
    let world = World::new().await;
    let (_mute, connections) = mute(world.address("mx.test")).await;
    let routes = world.routes();
    for number in 0..300 {
        let name = format!("x{number}.test");
        world.mail_hosts(&name, &[(10, "mx.test")]);
        routes.prepare(&domain(&name));
    }
    eventually("connections", || connections.load(SeqCst) >= 64).await;
    for number in 0..300 {
        routes.prepare(&domain(&format!("x{number}.test")));
        tokio::task::yield_now().await;
    }
    assert_eq!(connections.load(SeqCst), 64);
}
