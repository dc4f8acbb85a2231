//! Relays send each other mail, here over SMTP: they find each other in the DNS and encrypt, to the right
//! peer where an authority vouches for it.

use std::fs;

use anyhow::{Context as _, ensure};
use chatmail::Address;
use testbed::client::Envelope;
use testbed::deltachat::{DeltaChat, PATIENCE, make_contact};
use testbed::dns::{Data, Failure};
use testbed::peers::By;
use testbed::{DomainKind, RelayKind, Target, TestRelay};

use crate::fixture::{
    Person, accepted, delta_chat_account, eventually, messages, send, shared_smtp_federation,
    unhurried,
};
use crate::ways::sends;

#[tokio::test]
async fn every_kind_of_relay_sends_to_every_other() -> anyhow::Result<()> {
    let relays = shared_smtp_federation()?;
    let targets: Vec<&Target> = std::iter::once(&relays.target)
        .chain(&relays.peers)
        .collect();
    for from in &targets {
        for to in targets.iter().filter(|to| to.domain != from.domain) {
            sends(from, to, By::Smtp)
                .await
                .with_context(|| format!("from {} to {}", from.domain, to.domain))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn delta_chat_accounts_at_two_relays_make_contact_and_talk() -> anyhow::Result<()> {
    let relays = shared_smtp_federation()?;
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start(folder.path()).await?;
    let (_, mut alice) = delta_chat_account(&clients, &relays.target).await?;
    let (_, mut bob) = delta_chat_account(&clients, &relays.peers[0]).await?;
    let (alices_chat, bobs_chat) = make_contact(&mut alice, &mut bob, PATIENCE).await?;
    alice.send_text(alices_chat, "Hello over there").await?;
    let received = bob.receive(PATIENCE).await?;
    assert_eq!(received.text, "Hello over there");
    assert!(received.show_padlock, "not encrypted end to end");
    bob.send_text(bobs_chat, "Hello back").await?;
    let received = alice.receive(PATIENCE).await?;
    assert_eq!(received.text, "Hello back");
    assert!(received.show_padlock, "not encrypted end to end");
    Ok(())
}

#[tokio::test]
async fn a_peer_without_mx_record_is_found_by_its_address() -> anyhow::Result<()> {
    let options = unhurried().with_peer(DomainKind::Name);
    for (options, way) in [(options.clone(), By::Https), (options.by_smtp(), By::Smtp)] {
        let relay = TestRelay::start(options)?;
        let peer = relay.peers.first().context("no peer")?;
        let address = peer.mx.host.parse()?;
        relay.dns()?.change(|zone| {
            zone.remove(&peer.domain);
            zone.set(&peer.domain, 60, &[Data::A(address)])
        })?;
        sends(&relay.target, peer, way).await?;
        relay.stop()?;
    }
    Ok(())
}

/// Whether Postfix says of mail to this address that it has deferred it, and why.
fn deferred(relay: &TestRelay, recipient: &Address, why: &str) -> anyhow::Result<bool> {
    let log = fs::read_to_string(relay.log("postfix"))?;
    let about = format!("to=<{recipient}>");
    Ok(log.lines().any(|line| {
        line.contains(&about) && line.contains("status=deferred") && line.contains(why)
    }))
}

#[tokio::test]
async fn mail_waits_while_the_dns_fails() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried().with_peer(DomainKind::Name))?;
    let peer = relay.peers.first().context("no peer")?;
    for failure in [Failure::ServFail, Failure::Timeout] {
        let dns = relay.dns()?;
        dns.fail(&peer.domain, failure)?;
        let (alice, bob) = (Person::new(&relay.target)?, Person::new(peer)?);
        let mut inbox = bob.inbox(peer).await?;
        let mut submission = alice.submission(&relay.target).await?;
        let envelope = Envelope::new(&alice.address, &bob.address);
        let message = alice.writes_to(&bob)?;
        accepted(&send(&mut submission, &envelope, &message).await?)?;
        eventually("a deferred message", || {
            deferred(&relay, &bob.address, "type=MX")
        })
        .await?;
        assert_eq!(inbox.select("INBOX").await?.exists, 0);
        dns.recover(&peer.domain)?;
        messages(&mut inbox, 1).await?;
    }
    relay.stop()
}

#[tokio::test]
async fn a_peer_with_a_wrong_certificate_gets_nothing_and_the_sender_learns_it()
-> anyhow::Result<()> {
    let mut options = unhurried();
    for certificate in ["name+self-signed", "name+wrong-name", "name+expired"] {
        let kind: RelayKind = certificate.parse().map_err(anyhow::Error::msg)?;
        options = options.with_peer(kind);
    }
    options.queue_lifetime = Some(5);
    let relay = TestRelay::start(options)?;
    let alice = Person::new(&relay.target)?;
    let mut alices_inbox = alice.inbox(&relay.target).await?;
    let mut submission = alice.submission(&relay.target).await?;
    let mut others = Vec::new();
    for peer in &relay.peers {
        let bob = Person::new(peer)?;
        others.push((bob.inbox(peer).await?, bob.clone(), peer));
        let envelope = Envelope::new(&alice.address, &bob.address);
        let message = alice.writes_to(&bob)?;
        accepted(&send(&mut submission, &envelope, &message).await?)?;
    }
    let back = messages(&mut alices_inbox, others.len()).await?;
    let back: String = back
        .iter()
        .map(|report| String::from_utf8_lossy(&report.message).into_owned())
        .collect();
    for (mut inbox, bob, peer) in others {
        let recipient = format!("Final-Recipient: rfc822; {}", bob.address);
        ensure!(back.contains(&recipient), "no report about {}", peer.domain);
        // It was tried, and kept, before it was given up.
        let why = "Server certificate not";
        ensure!(deferred(&relay, &bob.address, why)?, "{}", peer.domain);
        assert_eq!(inbox.select("INBOX").await?.exists, 0, "{}", peer.domain);
    }
    relay.stop()
}
