//! Which way mail goes between relays: by what a relay itself has written down, never by how fast it was.

use std::fs;

use anyhow::{Context as _, ensure};
use chatmail::Address;
use testbed::Target;
use testbed::client::Envelope;
use testbed::client::imap::Fetched;
use testbed::mail::Message;
use testbed::peers::By;

use crate::fixture::{Person, accepted, eventually, messages, send};

/// What the bridge tells Postfix of a post that was taken.
const BY_HTTPS: &str = "status=sent (250 2.0.0 Taken by the peer over HTTPS)";

/// Waits until a relay has sent mail to this address elsewhere, and says what carried it.
pub(crate) async fn way(from: &Target, recipient: &Address) -> anyhow::Result<By> {
    let mut found = None;
    let what = format!("mail to {recipient} leaves {}", from.domain);
    eventually(&what, || {
        found = ways(from, recipient)?.first().copied();
        Ok(found.is_some())
    })
    .await?;
    found.context("no way")
}

/// What carried mail to this address that a relay has sent so far, one by one.
pub(crate) fn ways(from: &Target, recipient: &Address) -> anyhow::Result<Vec<By>> {
    let about = format!("to=<{recipient}>");
    let ways = postfix_log(from)?
        .lines()
        .filter(|line| line.contains(&about))
        .filter_map(|line| {
            let by_https = line.contains("postfix/mxdeliv/lmtp[") && line.contains(BY_HTTPS);
            let by_smtp = line.contains("postfix/smtp[") && line.contains("status=sent");
            let way = |yes: bool, way| yes.then_some(way);
            way(by_https, By::Https).or(way(by_smtp, By::Smtp))
        })
        .collect();
    Ok(ways)
}

/// Postfix's log so far.
pub(crate) fn postfix_log(relay: &Target) -> anyhow::Result<String> {
    let log = relay.state_dir.join("log/postfix.log");
    fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))
}

/// Somebody at one relay sends somebody at another a message, which must arrive, that way.
pub(crate) async fn sends(from: &Target, to: &Target, expected: By) -> anyhow::Result<Fetched> {
    let (alice, bob) = (Person::new(from)?, Person::new(to)?);
    let message = alice.writes_to(&bob)?;
    sends_this(from, to, &alice, &bob, &message, expected).await
}

/// This message must arrive as the only one, byte for byte but for its header section, that way.
pub(crate) async fn sends_this(
    from: &Target,
    to: &Target,
    alice: &Person,
    bob: &Person,
    message: &Message,
    expected: By,
) -> anyhow::Result<Fetched> {
    let mut inbox = bob.inbox(to).await?;
    let mut submission = alice.submission(from).await?;
    let envelope = Envelope::new(&alice.address, &bob.address);
    accepted(&send(&mut submission, &envelope, message).await?)?;
    let arrived = messages(&mut inbox, 1).await?;
    ensure!(arrived.len() == 1, "{} messages", arrived.len());
    let arrived = arrived.into_iter().next().context("an empty inbox")?;
    ensure!(arrived.message.ends_with(&message.body), "another message");
    let way = way(from, &bob.address).await?;
    ensure!(way == expected, "by {way:?}, not by {expected:?}");
    Ok(arrived)
}
