//! What comes in from outside once it is signed: encrypted mail, delivery reports, and cleartext for
//! those who want it.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context as _, ensure};
use chatmail::Address;
use testbed::client::{Envelope, Security, SmtpClient, TlsVersion};
use testbed::mail::{self, Message, Securejoin};

use crate::fixture::{
    Outsider, Person, accepted, messages, refused_at_dot, send, shared_federation, shared_relay,
};

const NEEDS_ENCRYPTION: &str =
    "523 5.7.1 Encryption Needed: Invalid Unencrypted Mail (not-encrypted)";

/// The value of a header field of a message as it arrived.
fn value(message: &[u8], name: &str) -> anyhow::Result<String> {
    let text = std::str::from_utf8(message)?;
    let (head, _) = text.split_once("\r\n\r\n").context("no body")?;
    let start = format!("{name}: ");
    let line = head.lines().find_map(|line| line.strip_prefix(&start));
    Ok(line.with_context(|| format!("no {name}"))?.to_owned())
}

/// A report as mail systems send it when a message cannot be delivered.
fn delivery_report(from: &Address, to: &Address) -> Message {
    let body = "--report\r\nContent-Type: text/plain\r\n\r\nIt did not arrive.\r\n\
        --report\r\nContent-Type: message/delivery-status\r\n\r\n\
        Reporting-MTA: dns; elsewhere.test\r\n\r\n\
        Final-Recipient: rfc822; dave@elsewhere.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n\
        --report--\r\n";
    Message::new(
        [
            ("From", format!("Mail System <{from}>")),
            ("To", format!("<{to}>")),
            ("Subject", "Undelivered Mail".to_owned()),
            ("Date", mail::DATE.to_owned()),
            ("Message-ID", mail::message_id()),
            ("Auto-Submitted", "auto-replied".to_owned()),
            ("MIME-Version", "1.0".to_owned()),
            (
                "Content-Type",
                "multipart/report; report-type=delivery-status; boundary=report".to_owned(),
            ),
        ],
        body,
    )
}

#[tokio::test]
async fn cleartext_is_refused_and_the_connection_goes_on() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let clear = mail::cleartext(&outsider.address, &outsider.bob.address, "Read me.");
    let clear = outsider.domain.sign(&clear)?;
    refused_at_dot(&outsider.send(&clear).await?, NEEDS_ENCRYPTION)?;
    let (carol, bob) = (&outsider.address, &outsider.bob.address);
    let request = mail::securejoin_request(carol, bob, Securejoin::Contact);
    let request = outsider.domain.sign(&request)?;
    outsider.delivers(&request, 0).await?;
    Ok(())
}

#[tokio::test]
async fn cleartext_is_for_those_who_opted_in() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let bob = outsider.bob.address.clone();
    let home = relay.target.mailboxes_dir.join(bob.to_string());
    fs::remove_file(home.join("enforceE2EEincoming"))?;
    let unsigned = mail::cleartext(&outsider.address, &bob, "Read me.");
    let reply = "554 5.7.1 No DKIM signature found";
    refused_at_dot(&outsider.send(&unsigned).await?, reply)?;
    let clear = outsider.domain.sign(&unsigned)?;
    outsider.delivers(&clear, 0).await?;

    // One recipient who did not is enough.
    let dave = Person::new(&relay.target)?;
    let mut daves_inbox = dave.inbox(&relay.target).await?;
    let mut envelope = Envelope::new(&outsider.address, &bob);
    envelope.recipients.push(dave.address.to_string());
    let transaction = send(&mut outsider.smtp, &envelope, &clear).await?;
    refused_at_dot(&transaction, NEEDS_ENCRYPTION)?;
    outsider.delivers(&clear, 1).await?;
    assert_eq!(daves_inbox.select("INBOX").await?.exists, 0);
    Ok(())
}

#[tokio::test]
async fn delivery_reports_pass_when_a_mail_system_signed_them() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let bob = outsider.bob.address.clone();
    let daemon: Address = format!("MAILER-DAEMON@{}", outsider.domain.name()).parse()?;
    let report = delivery_report(&daemon, &bob);
    let null = Envelope::new("", &bob);
    let by_daemon = Envelope::new(&daemon, &bob);
    let by_carol = Envelope::new(&outsider.address, &bob);

    let unsigned = send(&mut outsider.smtp, &null, &report).await?;
    refused_at_dot(&unsigned, "554 5.7.1 No DKIM signature found")?;
    let signed = outsider.domain.sign(&report)?;
    for (before, envelope) in [&null, &by_daemon].into_iter().enumerate() {
        accepted(&send(&mut outsider.smtp, envelope, &signed).await?)?;
        messages(&mut outsider.inbox, before + 1).await?;
    }
    let needs_encryption = "523 5.7.1 Encryption Needed: Invalid Unencrypted Mail (";
    let not_submitted = outsider.domain.sign(&report.without("Auto-Submitted"))?;
    for (envelope, message) in [(&by_carol, &signed), (&null, &not_submitted)] {
        let transaction = send(&mut outsider.smtp, envelope, message).await?;
        let reply = transaction.verdict().to_string();
        ensure!(reply.starts_with(needs_encryption), "{reply}");
    }
    Ok(())
}

#[tokio::test]
async fn no_bounce_goes_to_a_domain_that_did_not_write() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let message = outsider.domain.sign(&outsider.writes()?)?;
    let bob = outsider.bob.address.clone();
    let carol = outsider.address.to_string();
    let list = format!("list-bounces@{}", outsider.domain.name());
    let cases = [
        (carol.as_str(), format!("<{carol}>")),
        (&list, format!("<{list}>")),
        ("victim@elsewhere.test", "<>".to_owned()),
        ("", "<>".to_owned()),
    ];
    for (before, (sender, return_path)) in cases.iter().enumerate() {
        let envelope = Envelope::new(sender, &bob);
        accepted(&send(&mut outsider.smtp, &envelope, &message).await?)?;
        let arrived = messages(&mut outsider.inbox, before + 1).await?;
        let last = arrived.last().context("an empty inbox")?;
        assert_eq!(
            &value(&last.message, "Return-Path")?,
            return_path,
            "{sender}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn mail_from_an_address_literal_comes_from_that_address() -> anyhow::Result<()> {
    // Ours as loopback is, and no relay of any testbed.
    const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 7);
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 8);
    let relays = shared_federation()?;
    let author: Address = format!("carol@[{THERE}]").parse()?;
    let targets: Vec<_> = std::iter::once(&relays.target)
        .chain(&relays.peers)
        .collect();
    for target in targets {
        let bob = Person::new(target)?;
        let mut inbox = bob.inbox(target).await?;
        let message = mail::encrypted(&author, &bob.address, 3000)?;
        let envelope = Envelope::new(&author, &bob.address);
        let starttls = Security::StartTls(TlsVersion::Any);
        let mut smtp = SmtpClient::connect_from(ELSEWHERE, &target.mx, starttls).await?;
        smtp.hello().await?;
        let reply = "554 5.7.1 Invalid FROM: mail does not come from the address in its domain";
        refused_at_dot(&send(&mut smtp, &envelope, &message).await?, reply)?;
        let mut smtp = SmtpClient::connect_from(THERE, &target.mx, starttls).await?;
        smtp.hello().await?;
        accepted(&send(&mut smtp, &envelope, &message).await?)?;
        let arrived = messages(&mut inbox, 1).await?;
        ensure!(arrived.len() == 1, "{} messages", arrived.len());
    }
    Ok(())
}
