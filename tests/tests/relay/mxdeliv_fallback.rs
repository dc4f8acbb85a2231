//! When HTTPS fails, for whatever reason, the message goes by SMTP, once; and HTTPS alone is enough.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use chatmail::Address;
use testbed::authority::Certificate;
use testbed::client::Envelope;
use testbed::mail::{self, Message};
use testbed::peers::{Answer, Behaviour, By, Manner, Peer, Received, classic, madmail};
use testbed::{Target, TestRelay};
use tokio::time::Instant;

use crate::fixture::{Person, accepted, random_name, send, shared_relay};

/// Longer than the bridge waits for a peer's answer and Postfix between two attempts.
const PATIENCE: Duration = Duration::from_secs(150);

/// What a post that was refused costs.
const ONE: usize = 1;

fn https(behaviour: Behaviour) -> Manner {
    Manner {
        https: Some(behaviour),
        certificate: Certificate::Right,
        smtp: true,
    }
}

/// Somebody at the relay, and a peer that is played.
struct Pair {
    relay: std::sync::Arc<TestRelay>,
    alice: Person,
    bob: Address,
    peer: Peer,
}

impl Pair {
    async fn new(prefix: &str, manner: Manner) -> anyhow::Result<Self> {
        let relay = shared_relay()?;
        let domain = format!("{prefix}{}.test", random_name(9));
        let peer = Peer::start(&relay.target, &domain, manner).await?;
        let alice = Person::new(&relay.target)?;
        Ok(Self {
            bob: format!("bob@{}", peer.domain()).parse()?,
            relay,
            alice,
            peer,
        })
    }

    fn target(&self) -> &Target {
        &self.relay.target
    }

    async fn send(&self, message: &Message) -> anyhow::Result<()> {
        let mut submission = self.alice.submission(self.target()).await?;
        let envelope = Envelope::new(&self.alice.address, &self.bob);
        accepted(&send(&mut submission, &envelope, message).await?)
    }

    /// Sends a message of this size, which must come after `before` others, that way.
    async fn sends(&self, size: usize, before: usize, by: By) -> anyhow::Result<()> {
        let message = mail::encrypted(&self.alice.address, &self.bob, size)?;
        self.send(&message).await?;
        let received = self.received(before + 1).await?;
        let last = received.last().context("nothing came")?;
        ensure!(last.by == by, "by {:?}", last.by);
        let head = last.message.strip_suffix(&message.body[..]);
        let head = String::from_utf8_lossy(head.context("another message")?);
        // Whoever handed it on leaves no trace, and the signature is the only one.
        for (field, count) in [("\nReceived:", 0), ("DKIM-Signature:", 1)] {
            ensure!(head.matches(field).count() == count, "{head}");
        }
        ensure!(
            last.sender == self.alice.address.to_string(),
            "{}",
            last.sender
        );
        ensure!(
            last.recipients == [self.bob.to_string()],
            "{:?}",
            last.recipients
        );
        Ok(())
    }

    async fn received(&self, count: usize) -> anyhow::Result<Vec<Received>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let received = self.peer.received();
            ensure!(received.len() <= count, "{} messages", received.len());
            if received.len() == count {
                return Ok(received);
            }
            ensure!(
                Instant::now() < deadline,
                "{} of {count} messages",
                received.len()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A message goes by SMTP after so many posts, and the next one without any more.
async fn falls_back(manner: Manner, posts: usize) -> anyhow::Result<()> {
    let pair = Pair::new("", manner).await?;
    pair.sends(3000, 0, By::Smtp).await?;
    ensure!(pair.peer.posts() == posts, "{} posts", pair.peer.posts());
    pair.sends(3000, 1, By::Smtp).await?;
    ensure!(pair.peer.posts() == posts, "{} posts", pair.peer.posts());
    Ok(())
}

#[tokio::test]
async fn a_peer_whose_https_port_is_closed_gets_mail_by_smtp() -> anyhow::Result<()> {
    let manner = Manner {
        https: None,
        certificate: Certificate::Right,
        smtp: true,
    };
    falls_back(manner, 0).await
}

#[tokio::test]
async fn a_web_server_without_mxdeliv_gets_mail_by_smtp() -> anyhow::Result<()> {
    for answer in [
        Answer::page(404),
        Answer::refuse(404, "404 page not found"),
        Answer::page(405),
        Answer::page(301),
        // Some answer everything with their start page.
        Answer::page(200),
    ] {
        let what = format!("{answer:?}");
        let manner = https(Behaviour::always(answer));
        falls_back(manner, ONE).await.context(what)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_peer_that_refuses_over_https_is_asked_by_smtp() -> anyhow::Result<()> {
    for answer in [
        Answer::refuse(500, "error"),
        Answer::page(502),
        Answer::refuse(503, "451 4.3.0 Later"),
        Answer::refuse(403, "Forbidden"),
        Answer::refuse(400, "554 5.7.1 No DKIM signature found"),
        Answer::refuse(507, "quota"),
    ] {
        let what = format!("{answer:?}");
        let pair = Pair::new("", https(Behaviour::always(answer))).await?;
        pair.sends(3000, 0, By::Smtp).await.context(what.clone())?;
        ensure!(
            pair.peer.posts() == ONE,
            "{what}: {} posts",
            pair.peer.posts()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_peer_with_a_wrong_certificate_sees_no_post() -> anyhow::Result<()> {
    for certificate in [
        Certificate::SelfSigned,
        Certificate::WrongName,
        Certificate::Expired,
    ] {
        let manner = Manner {
            certificate,
            ..https(classic::receiver())
        };
        let what = format!("{certificate:?}");
        falls_back(manner, 0).await.context(what)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_name_with_an_underscore_needs_no_authority() -> anyhow::Result<()> {
    let manner = Manner {
        certificate: Certificate::SelfSigned,
        smtp: false,
        ..https(classic::receiver())
    };
    let pair = Pair::new("_", manner).await?;
    pair.sends(3000, 0, By::Https).await
}

#[tokio::test]
async fn a_peer_that_ends_connections_gets_mail_by_smtp() -> anyhow::Result<()> {
    let pair = Pair::new("", https(Behaviour::Reset)).await?;
    pair.sends(3000, 0, By::Smtp).await
}

#[tokio::test]
async fn a_peer_that_never_answers_gets_mail_by_smtp() -> anyhow::Result<()> {
    falls_back(https(Behaviour::Stall), ONE).await
}

#[tokio::test]
async fn a_peer_without_port_25_gets_mail_over_https() -> anyhow::Result<()> {
    let manner = Manner {
        smtp: false,
        ..https(classic::receiver())
    };
    let pair = Pair::new("", manner).await?;
    for before in 0..3 {
        pair.sends(3000, before, By::Https).await?;
    }
    ensure!(pair.peer.posts() == 3, "{} posts", pair.peer.posts());
    Ok(())
}

#[tokio::test]
async fn a_classic_relay_gets_large_messages_by_smtp_and_others_over_https() -> anyhow::Result<()> {
    let pair = Pair::new("", https(classic::receiver())).await?;
    pair.sends(3000, 0, By::Https).await?;
    // Its nginx takes a mebibyte. That says nothing about the next message.
    pair.sends(2_000_000, 1, By::Smtp).await?;
    pair.sends(3000, 2, By::Https).await
}

#[tokio::test]
async fn madmail_gets_messages_of_any_size_over_https() -> anyhow::Result<()> {
    let pair = Pair::new("", https(madmail::receiver())).await?;
    pair.sends(3000, 0, By::Https).await?;
    pair.sends(2_000_000, 1, By::Https).await
}

#[tokio::test]
async fn dots_at_line_starts_survive_peers_that_disagree_about_them() -> anyhow::Result<()> {
    for behaviour in [classic::receiver(), madmail::receiver()] {
        let pair = Pair::new("", https(behaviour)).await?;
        let message = mail::encrypted(&pair.alice.address, &pair.bob, 3000)?;
        let message = message.with_last(".dot", "at the start");
        pair.send(&message).await?;
        let received = pair.received(1).await?;
        let text = String::from_utf8_lossy(&received[0].message).into_owned();
        ensure!(text.contains("\r\n.dot: at the start\r\n"), "{text}");
        // Nor does it say anything about the next message.
        pair.sends(3000, 1, By::Https).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_peer_that_was_away_gets_each_message_once() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let domain = format!("{}.test", random_name(9));
    let peer = Peer::announce(&relay.target, &domain)?;
    let mut pair = Pair {
        bob: format!("bob@{domain}").parse()?,
        alice: Person::new(&relay.target)?,
        relay,
        peer,
    };
    let mut sent = Vec::new();
    for _ in 0..5 {
        let message = mail::encrypted(&pair.alice.address, &pair.bob, 3000)?;
        pair.send(&message).await?;
        sent.push(message.body);
    }
    let bob = pair.bob.clone();
    crate::fixture::eventually("attempts", || {
        let log = crate::ways::postfix_log(pair.target())?;
        let about = format!("to=<{bob}>");
        let deferred = |line: &&str| line.contains(&about) && line.contains("status=deferred");
        Ok(log.lines().filter(deferred).count() >= sent.len())
    })
    .await?;
    pair.peer.open(https(classic::receiver())).await?;
    let received = pair.received(sent.len()).await?;
    for body in &sent {
        let copies = received.iter().filter(|one| one.message.ends_with(body));
        ensure!(copies.count() == 1, "a message is lost, or there twice");
    }
    Ok(())
}
