//! What a message tells about its sender's machine and subject is gone when it arrives.

use anyhow::Context as _;

use crate::fixture::{Correspondents, accepted, messages, shared_relay};

/// The header fields of a message as it arrived, unfolded.
fn fields(message: &[u8]) -> anyhow::Result<Vec<(String, String)>> {
    let text = std::str::from_utf8(message)?;
    let (head, _) = text.split_once("\r\n\r\n").context("no body")?;
    let unfolded = head.replace("\r\n\t", "\t").replace("\r\n ", " ");
    unfolded
        .split("\r\n")
        .map(|line| {
            let (name, value) = line.split_once(':').context("a line without a colon")?;
            Ok((name.to_owned(), value.trim().to_owned()))
        })
        .collect()
}

#[tokio::test]
async fn what_arrives_names_neither_subject_nor_machine() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut people = Correspondents::new(&relay.target).await?;
    let message = people
        .alice
        .writes_to(&people.bob)?
        .with("Subject", "Our secret plan");
    let kept = message.clone();
    let message = message
        .with_first(
            "Received",
            "from phone ([203.0.113.7]) by nowhere; Thu, 1 Jan 2026",
        )
        .with_first(
            "Received",
            "from home ([203.0.113.8])\r\n\tby nowhere; Thu, 1 Jan 2026",
        )
        .with_first("X-Mailer", "Secret Mailer 1")
        .with_last("X-MAILER", "Secret Mailer 2")
        .with_last("User-Agent", "Secret Mailer 3")
        .with_last("X-Originating-IP", "[203.0.113.9]")
        .with_last("subject", "Our other\r\n secret plan");
    accepted(&people.send(&message).await?)?;

    let arrived = messages(&mut people.inbox, 1).await?;
    let arrived = &arrived.first().context("an empty inbox")?.message;
    let found = fields(arrived)?;
    let value = |name: &str| {
        found
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(value("Subject"), ["[...]"]);
    for gone in [
        "Received",
        "X-Mailer",
        "User-Agent",
        "X-Originating-IP",
        "Authentication-Results",
        "DKIM-Signature",
    ] {
        assert_eq!(value(gone), [""; 0], "{gone}");
    }
    assert_eq!(
        value("Return-Path"),
        [format!("<{}>", people.alice.address)]
    );
    assert_eq!(value("Delivered-To"), [people.bob.address.to_string()]);

    let text = String::from_utf8_lossy(arrived);
    for secret in [
        "secret",
        "Secret",
        "203.0.113",
        "[127.",
        "127.0.0.1",
        "client.testbed",
    ] {
        assert!(!text.contains(secret), "{secret:?} is still there:\n{text}");
    }

    // The client's own fields follow the two of the delivery, unchanged and in their order.
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.get(..2), Some(&["Return-Path", "Delivered-To"][..]));
    let expected = fields(&kept.to_bytes())?;
    let [expected, left] = [&expected[..], found.get(2..).unwrap_or_default()].map(|fields| {
        let fields = fields.iter().filter(|(name, _)| name != "Subject");
        fields.cloned().collect::<Vec<_>>()
    });
    assert_eq!(left, expected);
    Ok(())
}
