//! What senders learn of messages that a peer could not deliver, when they went over HTTPS.

use std::fs;

use anyhow::{Context as _, ensure};
use testbed::client::Envelope;
use testbed::deltachat::{DeltaChat, PATIENCE, make_contact};
use testbed::peers::By;
use testbed::{DomainKind, TestRelay};

use crate::fixture::{
    Person, accepted, delta_chat_account, messages, random_name, send, shared_federation, unhurried,
};
use crate::ways::{way, ways};

/// A report in the parts that RFC 3464 gives it, without blanks at their ends.
fn parts(report: &[u8]) -> anyhow::Result<Vec<String>> {
    let text = String::from_utf8(report.to_vec())?;
    let (_, rest) = text.split_once("boundary=\"").context("no boundary")?;
    let (boundary, _) = rest.split_once('"').context("an open boundary")?;
    let delimiter = format!("\r\n--{boundary}");
    let parts = text.split(&delimiter).skip(1);
    Ok(parts.map(|part| part.trim().to_owned()).collect())
}

#[tokio::test]
async fn one_of_two_recipients_is_unknown_and_the_sender_learns_which() -> anyhow::Result<()> {
    let options = unhurried()
        .with_peer(DomainKind::Name)
        // So the report must be signed.
        .with("mxdeliv_accept_unsigned", "never");
    let relay = TestRelay::start(options)?;
    let (target, peer) = (&relay.target, relay.peers.first().context("no peer")?);
    let (alice, bob) = (Person::new(target)?, Person::new(peer)?);
    let mut bobs_inbox = bob.inbox(peer).await?;
    let mut alices_inbox = alice.inbox(target).await?;
    let nobody = format!("{}@{}", random_name(9), peer.domain);
    let mut envelope = Envelope::new(&alice.address, &bob.address);
    envelope.recipients.push(nobody.clone());
    let message = alice.writes_to(&bob)?;
    let mut submission = alice.submission(target).await?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;

    let arrived = messages(&mut bobs_inbox, 1).await?;
    ensure!(
        arrived[0].message.ends_with(&message.body),
        "another message"
    );
    for recipient in [&bob.address, &nobody.parse()?] {
        let way = way(target, recipient).await?;
        ensure!(way == By::Https, "{way:?}");
    }
    let reports = messages(&mut alices_inbox, 1).await?;
    let report = &reports.first().context("no report")?.message;
    // It came over HTTPS as well.
    ensure!(ways(peer, &alice.address)? == [By::Https], "by SMTP");
    let text = String::from_utf8(report.to_vec())?;
    let from = format!("<MAILER-DAEMON@{}>\r\n", peer.domain);
    ensure!(text.contains(&from), "not the peer's report:\n{text}");
    ensure!(
        text.contains("multipart/report; report-type=delivery-status"),
        "{text}"
    );
    let parts = parts(report)?;
    let [_, status, original, ..] = parts.as_slice() else {
        anyhow::bail!("fewer than three parts: {text}")
    };
    for line in [
        format!("Final-Recipient: rfc822; {nobody}"),
        "Action: failed".to_owned(),
        "Status: 5.1.1".to_owned(),
    ] {
        ensure!(status.contains(&line), "no `{line}` in {status}");
    }
    ensure!(!status.contains(&bob.address.to_string()), "{status}");
    let id = message.header("Message-ID").context("no Message-ID")?;
    ensure!(
        original.contains(&format!("Message-ID: {id}")),
        "{original}"
    );
    // Once, and nothing else.
    ensure!(
        messages(&mut alices_inbox, 1).await?.len() == 1,
        "several reports"
    );
    ensure!(
        messages(&mut bobs_inbox, 1).await?.len() == 1,
        "several messages"
    );
    relay.stop()
}

#[tokio::test]
async fn delta_chat_shows_that_a_message_to_a_lost_account_failed() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start(folder.path()).await?;
    let (_, mut alice) = delta_chat_account(&clients, &relays.target).await?;
    let (lost, mut bob) = delta_chat_account(&clients, &relays.peers[0]).await?;
    // As shipped it reads nothing that is not encrypted, and so no report of anybody.
    let lax = serde_json::json!([alice.id(), "force_encryption", "0"]);
    alice.call("set_config", lax).await?;
    let (alices_chat, _) = make_contact(&mut alice, &mut bob, PATIENCE).await?;
    // Else the app would log in again, which makes the account anew.
    bob.call("stop_io", serde_json::json!([bob.id()])).await?;
    let mailboxes = &relays.peers[0].mailboxes_dir;
    let home = mailboxes.join(lost.address.to_string());
    fs::remove_file(home.join("password"))?;

    let message = alice.send_text(alices_chat, "Are you there?").await?;
    alice.sent(message, PATIENCE).await?;
    alice.failed(message, PATIENCE).await
}
