//! Mail that cannot be delivered: the sender learns it at once, from their own relay.

use std::fs;

use anyhow::{Context as _, ensure};
use testbed::client::Envelope;
use testbed::{DomainKind, TestRelay};

use crate::fixture::{
    Person, accepted, messages, random_name, send, shared_federation, shared_smtp_federation,
    unhurried,
};

/// Sends a message to an address and waits for the report of its failure.
async fn report_about(relays: &TestRelay, recipient: &str) -> anyhow::Result<String> {
    let target = &relays.target;
    let (alice, bob) = (Person::new(target)?, Person::new(target)?);
    let mut inbox = alice.inbox(target).await?;
    let mut submission = alice.submission(target).await?;
    let envelope = Envelope::new(&alice.address, recipient);
    let message = alice.writes_to(&bob)?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    let reports = messages(&mut inbox, 1).await?;
    let report = &reports.first().context("an empty inbox")?.message;
    let report = String::from_utf8(report.to_vec())?;
    let final_recipient = format!("Final-Recipient: rfc822; {recipient}\r\n");
    ensure!(report.contains(&final_recipient), "{report}");
    ensure!(
        report.contains("multipart/report; report-type=delivery-status"),
        "{report}"
    );
    let from = format!("<MAILER-DAEMON@{}>\r\n", target.domain);
    ensure!(report.contains(&from), "not our own report:\n{report}");
    Ok(report)
}

#[tokio::test]
async fn a_domain_that_does_not_exist_or_takes_no_mail_is_reported_at_once() -> anyhow::Result<()> {
    for relays in [shared_federation()?, shared_smtp_federation()?] {
        for (recipient, status) in [
            ("somebody@missing.test", "5.4.4"),
            ("somebody@example.org", "5.4.4"),
            ("somebody@nullmx.test", "5.1.0"),
        ] {
            let report = report_about(&relays, recipient).await?;
            ensure!(
                report.contains(&format!("Status: {status}\r\n")),
                "{report}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_recipient_at_a_peer_is_reported_by_our_own_relay() -> anyhow::Result<()> {
    for relays in [shared_federation()?, shared_smtp_federation()?] {
        for peer in &relays.peers {
            let nobody = format!("{}@{}", random_name(9), peer.domain);
            let report = report_about(&relays, &nobody).await?;
            ensure!(report.contains("550 5.1.1 No such user here"), "{report}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_peer_that_cannot_deliver_reports_under_its_own_signature() -> anyhow::Result<()> {
    for kind in [
        DomainKind::Name,
        DomainKind::Underscore,
        DomainKind::IpLiteral,
    ] {
        let mut options = unhurried().with_peer(kind);
        options.queue_lifetime = Some(4);
        let relay = TestRelay::start(options)?;
        let (target, peer) = (&relay.target, relay.peers.first().context("no peer")?);
        let (alice, bob) = (Person::new(target)?, Person::new(peer)?);
        let mut inbox = alice.inbox(target).await?;
        bob.log_in(peer).await?;
        // The account is there, its mailbox cannot be: Dovecot says "later" until Postfix gives up.
        let home = peer.mailboxes_dir.join(bob.address.to_string());
        fs::create_dir_all(&home)?;
        for folder in ["tmp", "new", "cur"] {
            let path = home.join(folder);
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            }
            fs::write(&path, "in the way")?;
        }
        let mut submission = alice.submission(target).await?;
        let envelope = Envelope::new(&alice.address, &bob.address);
        let message = alice.writes_to(&bob)?;
        accepted(&send(&mut submission, &envelope, &message).await?)?;
        let reports = messages(&mut inbox, 1).await?;
        let report = &reports.first().context("an empty inbox")?.message;
        let report = std::str::from_utf8(report)?;
        let from = format!("<MAILER-DAEMON@{}>\r\n", peer.domain);
        ensure!(report.contains(&from), "not the peer's report:\n{report}");
        // The message inside has the signature that it left with; the report's own is gone.
        let (head, _) = report.split_once("\r\n\r\n").context("no body")?;
        ensure!(!head.contains("DKIM-Signature"), "{head}");
        relay.stop()?;
    }
    Ok(())
}
