//! The two other implementations in the field, played: mail from them and to them.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use chatmail::Address;
use testbed::authority::Certificate;
use testbed::client::{Envelope, ImapClient};
use testbed::foreign::ForeignDomain;
use testbed::mail::{self, Message};
use testbed::peers::{Behaviour, By, Letter, Manner, Peer, classic, madmail};
use testbed::{Target, TestRelay};

use crate::fixture::{
    Person, accepted, eventually, messages, random_name, send, shared_federation,
};

/// Somebody at a peer that is played, and somebody at a relay.
struct Pair<'a> {
    relay: &'a Target,
    peer: Peer,
    carol: Address,
    bob: Person,
    inbox: ImapClient,
}

impl<'a> Pair<'a> {
    async fn new(
        relays: &'a TestRelay,
        relay: &'a Target,
        receiver: Behaviour,
    ) -> anyhow::Result<Self> {
        let manner = Manner {
            https: Some(receiver),
            certificate: Certificate::Right,
            smtp: false,
        };
        let domain = format!("{}.test", random_name(9));
        let peer = Peer::start(&relays.target, &domain, manner).await?;
        let bob = Person::new(relay)?;
        Ok(Self {
            carol: format!("carol@{domain}").parse()?,
            inbox: bob.inbox(relay).await?,
            relay,
            peer,
            bob,
        })
    }

    fn writes(&self) -> anyhow::Result<Message> {
        mail::encrypted(&self.carol, &self.bob.address, 3000)
    }

    /// The message is in the inbox, once, as number `count`.
    async fn arrived(&mut self, message: &Message, count: usize) -> anyhow::Result<()> {
        let found = messages(&mut self.inbox, count).await?;
        ensure!(found.len() == count, "{} messages", found.len());
        let copies = found
            .iter()
            .filter(|one| one.message.ends_with(&message.body));
        ensure!(copies.count() == 1, "the message is not there once");
        Ok(())
    }

    /// He answers, over HTTPS too.
    async fn answered(&self) -> anyhow::Result<()> {
        let answer = mail::encrypted(&self.bob.address, &self.carol, 3000)?;
        let mut submission = self.bob.submission(self.relay).await?;
        let envelope = Envelope::new(&self.bob.address, &self.carol);
        accepted(&send(&mut submission, &envelope, &answer).await?)?;
        eventually("the answer", || Ok(!self.peer.received().is_empty())).await?;
        let received = self.peer.received();
        let [received] = received.as_slice() else {
            anyhow::bail!("{} messages", received.len())
        };
        ensure!(received.by == By::Https, "by SMTP");
        ensure!(received.message.ends_with(&answer.body), "another message");
        Ok(())
    }
}

fn targets(relays: &TestRelay) -> impl Iterator<Item = &Target> {
    std::iter::once(&relays.target).chain(&relays.peers)
}

#[tokio::test]
async fn a_classic_relay_and_ours_write_to_each_other() -> anyhow::Result<()> {
    let relays: Arc<TestRelay> = shared_federation()?;
    for relay in targets(&relays) {
        let mut pair = Pair::new(&relays, relay, classic::receiver()).await?;
        let domain = ForeignDomain::new(relays.dns()?, pair.peer.domain())?;
        let message = domain.sign(&pair.writes()?)?;
        let (sender, recipient) = (pair.carol.to_string(), pair.bob.address.to_string());
        let letter = Letter {
            sender: &sender,
            recipients: &[&recipient],
            message: &message.to_bytes(),
        };
        classic::send(&pair.peer, &letter)
            .await
            .with_context(|| format!("to {}", relay.domain))?;
        pair.arrived(&message, 1).await?;
        pair.answered()
            .await
            .with_context(|| format!("from {}", relay.domain))?;
    }
    Ok(())
}

#[tokio::test]
async fn madmail_and_our_relays_write_to_each_other() -> anyhow::Result<()> {
    let relays: Arc<TestRelay> = shared_federation()?;
    for relay in targets(&relays) {
        let mut pair = Pair::new(&relays, relay, madmail::receiver()).await?;
        let message = pair.writes()?;
        let (sender, recipient) = (pair.carol.to_string(), pair.bob.address.to_string());
        let letter = Letter {
            sender: &sender,
            recipients: &[&recipient],
            message: &message.to_bytes(),
        };
        // Without a signature: it comes from an address of its domain. It may send again.
        for _ in 0..2 {
            madmail::send(&pair.peer, &letter)
                .await
                .with_context(|| format!("to {}", relay.domain))?;
        }
        pair.arrived(&message, 1).await?;
        pair.answered()
            .await
            .with_context(|| format!("from {}", relay.domain))?;
    }
    Ok(())
}

#[tokio::test]
async fn madmail_at_a_wrong_address_is_nobody() -> anyhow::Result<()> {
    let relays: Arc<TestRelay> = shared_federation()?;
    let mut pair = Pair::new(&relays, &relays.target, madmail::receiver()).await?;
    let other = Pair::new(&relays, &relays.target, madmail::receiver()).await?;
    let (sender, recipient) = (pair.carol.to_string(), pair.bob.address.to_string());
    let message = pair.writes()?;
    let letter = Letter {
        sender: &sender,
        recipients: &[&recipient],
        message: &message.to_bytes(),
    };
    let refused = madmail::send(&other.peer, &letter).await;
    let refused = refused.err().context("it was taken")?.to_string();
    ensure!(
        refused.contains("403 554 5.7.1 No DKIM signature found"),
        "{refused}"
    );
    madmail::send(&pair.peer, &letter).await?;
    pair.arrived(&message, 1).await
}
