//! Mail that cannot be delivered: the sender learns it at once, from their own relay.

use anyhow::{Context as _, ensure};
use testbed::TestRelay;
use testbed::client::Envelope;

use crate::fixture::{Person, accepted, messages, send, shared_federation};

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
    let relays = shared_federation()?;
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
    Ok(())
}
