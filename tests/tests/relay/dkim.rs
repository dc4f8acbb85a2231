//! Mail from outside is signed by its author's domain, or refused after the final dot.

use std::fs;

use anyhow::{Context as _, ensure};
use testbed::foreign::{ForeignDomain, SELECTOR};
use testbed::mail::Message;
use viadkim::crypto::{HashAlgorithm, SigningKey};
use viadkim::header::HeaderFields;
use viadkim::signature::{DomainName, Selector, SigningAlgorithm};
use viadkim::signer::{BodyLength, SignRequest};

use crate::fixture::{Outsider, random_name, refused_at_dot, shared_relay};

const NO_SIGNATURE: &str = "554 5.7.1 No DKIM signature found";
const NO_VALID_SIGNATURE: &str = "554 5.7.1 No valid DKIM signature found";

/// Sends a message that must be refused in words that begin like this.
async fn refused(outsider: &mut Outsider, message: &Message, reply: &str) -> anyhow::Result<()> {
    let transaction = outsider.send(message).await?;
    let answer = transaction.content.as_ref();
    let answer = answer.with_context(|| format!("refused early: {}", transaction.verdict()))?;
    ensure!(answer.to_string().starts_with(reply), "{reply}: {answer}");
    Ok(())
}

/// What another library signs, with as much of the body as wished.
async fn signed_by_another_library(
    domain: &ForeignDomain,
    message: &Message,
    body_length: BodyLength,
) -> anyhow::Result<Message> {
    let key = SigningKey::from_pkcs8_pem(&fs::read_to_string(domain.key_file())?)?;
    let algorithm = SigningAlgorithm::from_parts(key.key_type(), HashAlgorithm::Sha256)
        .context("no such algorithm")?;
    let name = DomainName::new(domain.name())?;
    let mut request = SignRequest::new(name, Selector::new(SELECTOR)?, algorithm, key);
    request.body_length = body_length;
    let head = String::from_utf8(message.head())?;
    let fields: HeaderFields = head.trim_end().parse()?;
    let signed = viadkim::sign(fields, &message.body, [request]).await?;
    let signed = signed.into_iter().next().context("no signature")??;
    Ok(message
        .clone()
        .with_first(&signed.header_name, signed.header_value.trim_start()))
}

#[tokio::test]
async fn what_the_authors_domain_has_signed_arrives_without_its_signature() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let results = format!("{}; dkim=pass header.d=elsewhere.test", relay.target.domain);
    let message = outsider
        .writes()?
        .with_first("Authentication-Results", results)
        .with_last(
            "Received",
            "from somewhere by elsewhere.test; Thu, 1 Jan 2026",
        );
    let message = outsider.domain.sign(&message)?;
    let arrived = String::from_utf8(outsider.delivers(&message, 0).await?)?;
    for gone in [
        "DKIM-Signature",
        "Authentication-Results",
        "Received",
        "127.0.0.1",
    ] {
        ensure!(!arrived.contains(gone), "{gone} is still there:\n{arrived}");
    }
    let another =
        signed_by_another_library(&outsider.domain, &outsider.writes()?, BodyLength::NoLimit)
            .await?;
    outsider.delivers(&another, 1).await?;
    Ok(())
}

#[tokio::test]
async fn without_a_signature_of_the_authors_domain_nothing_passes() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let message = outsider.writes()?;
    refused(&mut outsider, &message, NO_SIGNATURE).await?;
    refused(
        &mut outsider,
        &message.clone().with_first("DKIM-Signature", "v=1; nothing"),
        "554 5.7.1 No ",
    )
    .await?;

    let other = ForeignDomain::new(relay.dns()?, &format!("{}.test", random_name(9)))?;
    refused(&mut outsider, &other.sign(&message)?, NO_SIGNATURE).await?;
    let above = outsider.domain.name().to_owned();
    let below = ForeignDomain::new(relay.dns()?, &format!("mail.{above}"))?;
    refused(&mut outsider, &below.sign(&message)?, NO_SIGNATURE).await?;

    // Not even in our own name.
    let own = message
        .clone()
        .with("From", format!("<{}>", outsider.bob.address));
    refused(&mut outsider, &own, NO_SIGNATURE).await?;
    let own = outsider.domain.sign(&own)?;
    refused(&mut outsider, &own, NO_SIGNATURE).await?;

    let message = outsider.domain.sign(&message)?;
    outsider.delivers(&message, 0).await?;
    Ok(())
}

#[tokio::test]
async fn what_was_changed_after_signing_is_refused() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let signed = outsider.domain.sign(&outsider.writes()?)?;
    let carol = outsider.address.to_string();
    let changed = [
        signed.clone().with("From", format!("Carola <{carol}>")),
        signed
            .clone()
            .with("Date", "Fri, 02 Jan 2026 12:00:00 +0000"),
        signed.clone().with("Subject", "Another subject"),
        // White space at the end, which the gate passes.
        signed
            .clone()
            .with_body([&signed.body[..], b" \r\n"].concat()),
    ];
    for message in &changed {
        refused(&mut outsider, message, NO_VALID_SIGNATURE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_second_from_is_refused() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let message = outsider.domain.sign(&outsider.writes()?)?;
    let message = message.with_first("From", "<somebody@elsewhere.test>");
    let reply = "554 5.7.1 Invalid FROM (from-repeated)";
    refused_at_dot(&outsider.send(&message).await?, reply)
}

#[tokio::test]
async fn a_signature_covers_the_whole_body() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let message = outsider.writes()?;
    let length = message.body.len() as u64;
    let domain = &outsider.domain;
    let all = signed_by_another_library(domain, &message, BodyLength::MessageContent).await?;
    let part = signed_by_another_library(domain, &message, BodyLength::Exact(length - 10)).await?;
    ensure!(
        all.header("DKIM-Signature")
            .is_some_and(|value| value.contains("l="))
    );
    refused(&mut outsider, &part, NO_VALID_SIGNATURE).await?;
    outsider.delivers(&all, 0).await?;
    Ok(())
}

#[tokio::test]
async fn a_hundred_signatures_get_a_definite_answer() -> anyhow::Result<()> {
    const MANY: usize = 99;
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let message = outsider.writes()?;
    let good = outsider.domain.sign(&message)?;
    let signature = good.header("DKIM-Signature").context("no signature")?;
    let elsewhere = signature.replace(outsider.domain.name(), "elsewhere.test");
    let broken = signature.replace("bh=", "bh=AAAA");
    let with = |count: usize, value: &str, message: &Message| {
        (0..count).fold(message.clone(), |message, _| {
            message.with_first("DKIM-Signature", value)
        })
    };
    outsider.delivers(&with(MANY, &elsewhere, &good), 0).await?;
    let all_broken = with(MANY + 1, &broken, &message);
    refused(&mut outsider, &all_broken, NO_VALID_SIGNATURE).await?;
    let none_ours = with(MANY + 1, &elsewhere, &message);
    refused(&mut outsider, &none_ours, NO_SIGNATURE).await?;
    outsider.delivers(&good, 1).await?;
    Ok(())
}
