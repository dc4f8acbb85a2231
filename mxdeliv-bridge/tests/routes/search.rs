//! Which hosts are tried, and in which order.

use mxdeliv_bridge::routes::PeerState;
use mxdeliv_bridge::statistics::Transport;
use rstest::rstest;

use crate::dns::Say as DnsSay;
use crate::peer::Say;
use crate::{World, domain, post, why};

#[tokio::test]
async fn hosts_are_tried_by_preference_then_the_domain_itself() {
    let world = World::new().await;
    let (first, second) = (world.peer("a.test").await, world.peer("b.test").await);
    world.mail_hosts("x.test", &[(20, "b.test"), (10, "a.test")]);
    let routes = world.routes();
    first.say(Say::Answer(404, "text/plain", ""));
    post(&routes, "x.test").await.unwrap();
    assert_eq!((first.posts().len(), second.posts().len()), (1, 1));
    // The one that has answered comes first from now on.
    post(&routes, "x.test").await.unwrap();
    assert_eq!((first.posts().len(), second.posts().len()), (1, 2));
    let endpoint = routes.peer(&domain("x.test")).endpoint.unwrap();
    assert_eq!(endpoint.host, domain("b.test"));
}

#[tokio::test]
async fn the_domain_itself_is_tried_when_its_mail_host_does_not_speak() {
    let world = World::new().await;
    let host = world.peer("mx.test").await;
    host.say(Say::Answer(404, "text/plain", ""));
    let (itself, address) = world.peer_and_address("x.test").await;
    let hosts = vec![(10, "mx.test".to_owned())];
    world
        .dns
        .set("x.test", DnsSay::Host(vec![address.into()], hosts));
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap();
    assert_eq!((host.posts().len(), itself.posts().len()), (1, 1));
}

#[tokio::test]
async fn a_refusal_ends_the_search() {
    let world = World::new().await;
    let (first, second) = (world.peer("a.test").await, world.peer("b.test").await);
    world.mail_hosts("x.test", &[(10, "a.test"), (20, "b.test")]);
    first.say(Say::Answer(403, "text/plain", "550 5.7.1 No"));
    post(&world.routes(), "x.test").await.unwrap_err();
    assert_eq!((first.posts().len(), second.posts().len()), (1, 0));
}

#[tokio::test]
async fn a_message_that_a_peer_may_have_is_posted_nowhere_else() {
    let world = World::new().await;
    let (first, second) = (world.peer("a.test").await, world.peer("b.test").await);
    world.mail_hosts("x.test", &[(10, "a.test"), (20, "b.test")]);
    first.say(Say::Close);
    post(&world.routes(), "x.test").await.unwrap_err();
    assert_eq!((first.posts().len(), second.posts().len()), (1, 0));
}

#[tokio::test]
async fn a_host_that_refuses_connections_is_passed_over() {
    let world = World::new().await;
    world.address("a.test");
    let second = world.peer("b.test").await;
    world.mail_hosts("x.test", &[(10, "a.test"), (20, "b.test")]);
    post(&world.routes(), "x.test").await.unwrap();
    assert_eq!(second.posts().len(), 1);
}

#[rstest]
#[case::null_mx(DnsSay::mail_hosts(&[(0, ".")]), "it takes no mail (null MX)")]
#[case::no_such_name(DnsSay::Code(3), "there is no such name in DNS")]
#[case::failure(DnsSay::Code(2), "DNS does not say")]
#[tokio::test]
async fn a_domain_that_dns_knows_no_host_of_goes_by_smtp_for_a_while(
    #[case] say: DnsSay,
    #[case] reason: &str,
) {
    let world = World::new().await;
    world.dns.set("x.test", say);
    let routes = world.routes();
    assert_eq!(why(post(&routes, "x.test").await), reason);
    assert_eq!(routes.transport(&domain("x.test")), Transport::Smtp);
    // What Postfix had sent this way before does not wait for DNS once more.
    let asked = world.dns.asked("x.test");
    assert_eq!(
        why(post(&routes, "x.test").await),
        "DNS had no endpoint of it a moment ago"
    );
    assert_eq!(world.dns.asked("x.test"), asked);
}

#[tokio::test]
async fn a_host_that_dns_does_not_tell_about_has_taught_nothing() {
    let world = World::new().await;
    world.mail_hosts("x.test", &[(10, "mx.test")]);
    world.dns.set("mx.test", DnsSay::Code(2));
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap_err();
    let view = routes.peer(&domain("x.test"));
    assert_eq!(view.endpoint.unwrap().host, domain("mx.test"));
    assert_eq!(view.state, PeerState::Unknown);
}

#[tokio::test]
async fn what_was_remembered_is_as_good_while_dns_does_not_answer() {
    let world = World::new().await;
    let peer = world.peer("mx.test").await;
    world.mail_hosts("x.test", &[(10, "mx.test")]);
    let routes = world.routes();
    post(&routes, "x.test").await.unwrap();
    drop(routes);
    world.dns.set("x.test", DnsSay::Code(2));
    post(&world.routes(), "x.test").await.unwrap();
    assert_eq!(peer.posts().len(), 2);
}
