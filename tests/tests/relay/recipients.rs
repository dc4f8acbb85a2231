//! What other relays are told about recipients, at RCPT: nobody gets a bounce for what was refused.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use testbed::client::Envelope;
use testbed::client::smtp::Reply;
use testbed::{DomainKind, TestRelay, foreign, mail};

use crate::fixture::{
    Outsider, PATIENCE, Person, accepted, eventually, messages, random_name, send, shared_relay,
    unhurried,
};

/// The reply to RCPT, in a transaction that ends there.
async fn asked(outsider: &mut Outsider, recipient: &str) -> anyhow::Result<Reply> {
    let smtp = &mut outsider.smtp;
    let sender = &outsider.address;
    let mail = smtp.command(&format!("MAIL FROM:<{sender}>")).await?;
    mail.expect(250, "MAIL")?;
    let reply = smtp.command(&format!("RCPT TO:<{recipient}>")).await?;
    smtp.command("RSET").await?.expect(250, "RSET")?;
    Ok(reply)
}

#[tokio::test]
async fn an_unknown_recipient_is_refused_and_the_others_get_the_message() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let nobody = format!("{}@{}", random_name(9), relay.target.domain);
    let mut envelope = Envelope::new(&outsider.address, &nobody);
    envelope.recipients.push(outsider.bob.address.to_string());
    let message = outsider.domain.sign(&outsider.writes()?)?;
    let transaction = send(&mut outsider.smtp, &envelope, &message).await?;
    let [unknown, known] = transaction.recipients.as_slice() else {
        anyhow::bail!("not two replies")
    };
    assert_eq!(unknown.to_string(), "550 5.1.1 No such user here");
    assert_eq!(known.code, 250, "{known}");
    let content = transaction.content.context("no content")?;
    assert_eq!(content.code, 250, "{content}");
    messages(&mut outsider.inbox, 1).await?;

    // No account came into being, and none does without a login.
    let reply = asked(&mut outsider, &nobody).await?;
    assert_eq!(reply.code, 550, "{reply}");
    ensure!(!relay.target.mailboxes_dir.join(&nobody).exists());
    Ok(())
}

#[tokio::test]
async fn tags_and_capitals_lead_to_the_same_account() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let bob = outsider.bob.address.to_string();
    let (name, domain) = bob.split_once('@').context("no address")?;
    let message = outsider.domain.sign(&outsider.writes()?)?;
    let spellings = [
        format!("{name}+some.tag@{domain}"),
        format!("{name}+@{domain}"),
        bob.to_uppercase(),
    ];
    for (before, recipient) in spellings.iter().enumerate() {
        let envelope = Envelope::new(&outsider.address, recipient);
        accepted(&send(&mut outsider.smtp, &envelope, &message).await?)?;
        messages(&mut outsider.inbox, before + 1).await?;
    }
    let reply = asked(&mut outsider, &format!("+{name}@{domain}")).await?;
    assert_eq!(reply.to_string(), "550 5.1.1 No such user here");
    Ok(())
}

#[tokio::test]
async fn other_domains_are_not_served() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    for recipient in [
        "somebody@elsewhere.test",
        "somebody@[127.0.0.1]",
        "somebody",
    ] {
        let reply = asked(&mut outsider, recipient).await?;
        ensure!((500..600).contains(&reply.code), "{recipient}: {reply}");
    }
    Ok(())
}

#[tokio::test]
async fn vrfy_and_expn_tell_nothing() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    for command in ["VRFY", "EXPN"] {
        let known = format!("{command} {}", outsider.bob.address);
        let unknown = format!("{command} {}@{}", random_name(9), relay.target.domain);
        let known = outsider.smtp.command(&known).await?;
        let unknown = outsider.smtp.command(&unknown).await?;
        ensure!((500..600).contains(&known.code), "{known}");
        assert_eq!(known, unknown);
    }
    Ok(())
}

#[tokio::test]
async fn a_full_mailbox_is_a_temporary_refusal() -> anyhow::Result<()> {
    const SIZE: usize = 60_000;
    let relay = TestRelay::start(unhurried().with("max_mailbox_size", SIZE * 3 / 2))?;
    let mut outsider = Outsider::new(&relay).await?;
    let message = mail::encrypted(&outsider.address, &outsider.bob.address, SIZE)?;
    let message = outsider.domain.sign(&message)?;
    // RCPT cannot know the size, so the message that fills the mailbox still arrives.
    for before in 0..2 {
        outsider.delivers(&message, before).await?;
    }
    let bob = outsider.bob.address.to_string();
    replied(&mut outsider, &bob, "452 4.2.2 Mailbox is full").await?;
    let dave = Person::new(&relay.target)?;
    dave.log_in(&relay.target).await?;
    replied(&mut outsider, &dave.address.to_string(), "250 2.1.5 Ok").await?;

    outsider.inbox.delete("1:*").await?;
    replied(&mut outsider, &bob, "250 2.1.5 Ok").await?;
    relay.stop()
}

/// Waits until RCPT is answered like this: Dovecot writes down a mailbox's size in a moment of its own.
async fn replied(outsider: &mut Outsider, recipient: &str, reply: &str) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let last = asked(outsider, recipient).await?.to_string();
        if last == reply {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "{recipient}: {last} instead of {reply}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn while_doveauth_is_away_mail_waits_with_its_sender() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried().with_peer(DomainKind::Name))?;
    let (target, peer) = (&relay.target, relay.peers.first().context("no peer")?);
    let mut outsider = Outsider::new(&relay).await?;
    let (alice, bob) = (Person::new(peer)?, Person::new(target)?);
    let mut inbox = bob.inbox(target).await?;
    let mut submission = alice.submission(peer).await?;

    relay.signal("doveauth", Signal::SIGSTOP)?;
    let bobs_address = outsider.bob.address.to_string();
    let reply = asked(&mut outsider, &bobs_address).await?;
    assert_eq!(reply.to_string(), "451 4.3.0 Try again later");
    let envelope = Envelope::new(&alice.address, &bob.address);
    let message = alice.writes_to(&bob)?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    let log = peer.state_dir.join("log/postfix.log");
    eventually("a deferred message", || {
        let log = fs::read_to_string(&log)?;
        Ok(log
            .lines()
            .any(|line| line.contains("status=deferred") && line.contains("said: 451 4.3.0")))
    })
    .await?;

    relay.signal("doveauth", Signal::SIGCONT)?;
    messages(&mut inbox, 1).await?;
    let message = outsider.domain.sign(&outsider.writes()?)?;
    outsider.delivers(&message, 0).await?;
    relay.stop()
}

#[tokio::test]
async fn a_killed_doveauth_is_waited_for() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let mut outsider = Outsider::new(&relay).await?;
    let before = relay.signal("doveauth", Signal::SIGKILL)?;
    let message = outsider.domain.sign(&outsider.writes()?)?;
    // Its sockets outlive it, so nobody is refused.
    accepted(&outsider.send(&message).await?)?;
    relay.wait_restarted("doveauth", before, PATIENCE)?;
    messages(&mut outsider.inbox, 1).await?;
    let mut again = foreign::connect(&relay.target).await?;
    let envelope = Envelope::new(&outsider.address, &outsider.bob.address);
    accepted(&send(&mut again, &envelope, &message).await?)?;
    relay.stop()
}
