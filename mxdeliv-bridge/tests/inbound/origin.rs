//! Whose mail is let in.

use std::net::{Ipv4Addr, Ipv6Addr};

use chatmail::Domain;
use filtermail::dkim::PrivateKey;

use crate::bridge::Bridge;
use crate::dns::Say;
use crate::http::{Answer, Post};
use crate::message::{self, KEY, RECORD};

const BOB: &str = "bob@chat.example";
const CAROL: &str = "carol@peer.example";

fn publish(bridge: &Bridge) {
    let key = PrivateKey::parse(KEY.as_bytes()).unwrap();
    bridge.dns.set(RECORD, Say::txt(&key.record().unwrap()));
}

fn at(address: [u8; 4]) -> Say {
    Say::address(Ipv4Addr::from(address))
}

async fn unsigned(bridge: &Bridge, client: &str) -> Answer {
    let post = Post::of(CAROL, &[BOB], message::encrypted(CAROL, 100));
    bridge.post(&post.sent_by(client)).await
}

async fn is_peer(bridge: &Bridge, domain: &str) -> bool {
    let domain: Domain = domain.parse().unwrap();
    bridge.statistics.peers(Some(domain)).recv().await.is_some()
}

#[tokio::test]
async fn signed_mail_passes_from_everywhere() {
    let bridge = Bridge::with("mxdeliv_accept_unsigned = never").await;
    publish(&bridge);
    // A value that is longer than what decides for the gate is part of the signature all the same.
    let keydata = " keydata=abc\r\n".repeat(300);
    let long = format!("Autocrypt: addr={CAROL};\r\n{keydata}");
    let message = format!("{long}{}", message::encrypted(CAROL, 100));
    let post = Post::of(CAROL, &[BOB], message::signed(&message));
    assert_eq!(bridge.post(&post).await.told(), (200, "250 OK"));
    assert_eq!(bridge.dovecot.only().message, message);
    assert!(is_peer(&bridge, "peer.example").await);
}

#[tokio::test]
async fn a_signature_that_is_there_must_be_valid() {
    let bridge = Bridge::with("mxdeliv_accept_unsigned = always").await;
    publish(&bridge);
    let signed = message::signed(&message::encrypted(CAROL, 100));
    let changed = signed.replace("Subject: [...]", "Subject: [..]");
    let answer = bridge.post(&Post::of(CAROL, &[BOB], changed)).await;
    let expected = "554 5.7.1 No valid DKIM signature found (wrong-signature)";
    assert_eq!(answer.told(), (403, expected));
    assert_eq!(bridge.dovecot.delivered(), []);
}

#[tokio::test]
async fn a_key_that_cannot_be_had_is_a_temporary_failure() {
    let bridge = Bridge::start().await;
    bridge.dns.set(RECORD, Say::Code(2));
    let signed = message::signed(&message::encrypted(CAROL, 100));
    let answer = bridge.post(&Post::of(CAROL, &[BOB], signed)).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("451 4.7.5 "), "{answer:?}");
}

#[tokio::test]
async fn unsigned_mail_passes_from_an_address_of_its_domain() {
    let bridge = Bridge::start().await;
    bridge.dns.set("peer.example", at([192, 0, 2, 5]));
    assert_eq!(unsigned(&bridge, "192.0.2.5").await.status, 200);
    assert!(is_peer(&bridge, "peer.example").await);
    let answer = unsigned(&bridge, "192.0.2.6").await;
    assert_eq!(answer.told(), (403, "554 5.7.1 No DKIM signature found"));
}

#[tokio::test]
async fn or_of_a_host_that_takes_its_mail() {
    let bridge = Bridge::start().await;
    let hosts = [(10, "mx1.peer.example"), (20, "mx2.peer.example")];
    bridge.dns.set("peer.example", Say::mail_hosts(&hosts));
    bridge.dns.set("mx1.peer.example", Say::Code(2));
    let sixth: Ipv6Addr = "2001:db8::6".parse().unwrap();
    bridge.dns.set("mx2.peer.example", Say::address(sixth));
    assert_eq!(unsigned(&bridge, "2001:db8::6").await.status, 200);
    // Nobody knows where the first host is.
    let answer = unsigned(&bridge, "2001:db8::7").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("451 4.7.5 "), "{answer:?}");
}

#[tokio::test]
async fn never_is_never_and_always_proves_nothing() {
    let never = Bridge::with("mxdeliv_accept_unsigned = never").await;
    never.dns.set("peer.example", at([192, 0, 2, 5]));
    assert_eq!(unsigned(&never, "192.0.2.5").await.status, 403);
    let always = Bridge::with("mxdeliv_accept_unsigned = always").await;
    assert_eq!(unsigned(&always, "192.0.2.5").await.status, 200);
    assert!(!is_peer(&always, "peer.example").await);
}
