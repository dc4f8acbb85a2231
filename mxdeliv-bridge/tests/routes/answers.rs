//! What becomes of a message, and of its peer, by what the peer answers.

use mxdeliv_bridge::routes::PeerState;
use mxdeliv_bridge::statistics::Transport;
use rstest::rstest;

use crate::peer::Say;
use crate::{World, domain, message, post, why};

#[tokio::test]
async fn a_message_is_posted_as_the_specification_has_it() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    let mut message = message("x.test");
    message.recipients.push("carol@x.test".into());
    routes.post(&domain("x.test"), &message).await.unwrap();
    message.sender = String::new();
    routes.post(&domain("x.test"), &message).await.unwrap();

    let posts = peer.posts();
    let [first, second] = &posts[..] else {
        panic!("{posts:?}")
    };
    assert_eq!(
        (first.method.as_str(), first.path.as_str()),
        ("POST", "/mxdeliv")
    );
    assert_eq!(first.header("x-mail-from"), ["alice@own.test"]);
    assert_eq!(first.header("x-mail-to"), ["bob@x.test", "carol@x.test"]);
    assert_eq!(first.header("idempotency-key"), [message.key.as_str()]);
    assert_eq!(
        first.header("content-length"),
        [message.message.len().to_string()]
    );
    assert_eq!(first.body, message.message);
    assert_eq!(first.sni.as_deref(), Some("x.test"));
    assert_eq!(second.header("x-mail-from"), [""]);
}

#[rstest]
#[case(200, "text/plain", "250 OK")]
#[case(202, "application/json", "{}")]
#[case(204, "text/plain", "")]
#[tokio::test]
async fn a_peer_takes_messages(
    #[case] status: u16,
    #[case] kind: &'static str,
    #[case] body: &'static str,
) {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    peer.say(Say::Answer(status, kind, body));
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap();
    let view = routes.peer(&domain("x.test"));
    assert_eq!(
        (view.state, view.transport),
        (PeerState::Speaks, Transport::Mxdeliv)
    );
}

#[rstest]
#[case::html(200, "text/html", "<html>", PeerState::Silent)]
#[case::none(404, "text/plain", "404 page not found", PeerState::Silent)]
#[case::method(405, "text/plain", "", PeerState::Silent)]
#[case::not_implemented(501, "text/plain", "", PeerState::Silent)]
#[case::strange(418, "text/plain", "tea", PeerState::Silent)]
#[case::policy(403, "text/plain", "523 5.7.1 Encryption Needed", PeerState::Speaks)]
#[case::unknown_user(404, "text/plain", "550 5.1.1 No such user", PeerState::Speaks)]
#[case::full(507, "text/plain", "452 4.2.2 Full", PeerState::Speaks)]
#[case::temporary(503, "text/plain", "451 4.3.0 Later", PeerState::Speaks)]
#[case::error_with_reply(500, "text/plain", "554 5.3.0 Oh", PeerState::Speaks)]
#[case::too_large(413, "text/html", "<html>", PeerState::Unknown)]
#[case::headers_too_large(431, "text/plain", "", PeerState::Unknown)]
#[case::rate(429, "text/plain", "", PeerState::Unknown)]
#[case::busy(503, "text/html", "<html>", PeerState::Unknown)]
#[case::broken(500, "text/plain", "oh", PeerState::Failing)]
#[case::gateway(502, "text/html", "<html>", PeerState::Failing)]
#[tokio::test]
async fn a_message_that_is_not_taken_goes_by_smtp(
    #[case] status: u16,
    #[case] kind: &'static str,
    #[case] body: &'static str,
    #[case] state: PeerState,
) {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    peer.say(Say::Answer(status, kind, body));
    let routes = world.routes();
    let why = why(post(&routes, "x.test").await);
    assert!(why.starts_with(&status.to_string()), "{why}");
    let view = routes.peer(&domain("x.test"));
    assert_eq!(view.state, state);
    let closed = matches!(state, PeerState::Silent | PeerState::Failing);
    assert_eq!(view.transport == Transport::Smtp, closed);
    // The next one costs a closed peer nothing.
    post(&routes, "x.test").await.unwrap_err();
    let expected = if closed || status == 413 || status == 431 {
        1
    } else {
        2
    };
    assert_eq!(peer.posts().len(), expected);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let world = World::new().await;
    let (peer, other) = (world.peer("x.test").await, world.peer("y.test").await);
    peer.say(Say::Redirect(format!(
        "https://y.test:{}/mxdeliv",
        world.port
    )));
    let routes = world.routes();
    assert!(why(post(&routes, "x.test").await).starts_with("307"));
    assert_eq!(routes.peer(&domain("x.test")).state, PeerState::Silent);
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_size_that_was_refused_is_not_sent_again_and_smaller_messages_are() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    peer.say(Say::Answer(413, "text/html", "<html>"));
    let mut large = message("x.test");
    large.message = vec![b'x'; 100_000].into();
    routes.post(&domain("x.test"), &large).await.unwrap_err();
    peer.say(Say::Answer(200, "text/plain", "250 OK"));
    let refused = routes.post(&domain("x.test"), &large).await.unwrap_err();
    assert!(refused.to_string().contains("size"), "{refused}");
    post(&routes, "x.test").await.unwrap();
    assert_eq!(peer.posts().len(), 2);
}

#[tokio::test]
async fn what_a_peer_says_is_shown_without_addresses() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    peer.say(Say::Answer(
        403,
        "text/plain",
        "550 5.1.1 <bob@x.test>: bob is unknown\r\nmore",
    ));
    let why = why(post(&world.routes(), "x.test").await);
    assert!(why.starts_with("403: 550 5.1.1 "), "{why}");
    assert!(
        !why.contains("bob") && !why.contains('@') && !why.contains("more"),
        "{why}"
    );
}

#[tokio::test]
async fn what_no_header_line_can_hold_goes_by_smtp() {
    let world = World::new().await;
    let peer = world.peer("x.test").await;
    let routes = world.routes();
    for recipient in ["a\r\nX-Mail-To: b@x.test", "a\0@x.test"] {
        let mut message = message("x.test");
        message.recipients = vec![recipient.into()];
        routes.post(&domain("x.test"), &message).await.unwrap_err();
    }
    assert_eq!(peer.posts().len(), 0);
    assert_eq!(routes.peer(&domain("x.test")).transport, Transport::Mxdeliv);
}
