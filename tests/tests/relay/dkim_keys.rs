//! DKIM keys come from the DNS, which may have none, a wrong one, or no time.

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use testbed::TestRelay;
use testbed::dns::{Data, Failure};

use crate::fixture::{Outsider, PATIENCE, accepted, messages, shared_relay, unhurried};

/// The reply to the final dot for a message with a good signature.
async fn reply_to_signed(outsider: &mut Outsider) -> anyhow::Result<String> {
    let transaction = outsider.send_signed().await?;
    let reply = transaction.content.context("refused before the content")?;
    Ok(reply.to_string())
}

fn begins(reply: &str, with: &str) -> anyhow::Result<()> {
    ensure!(reply.starts_with(with), "expected {with}, got {reply}");
    Ok(())
}

#[tokio::test]
async fn while_the_dns_fails_mail_is_to_come_again() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    for failure in [Failure::ServFail, Failure::Timeout] {
        let mut outsider = Outsider::new(&relay).await?;
        let name = outsider.domain.name().to_owned();
        relay.dns()?.fail(&name, failure)?;
        begins(&reply_to_signed(&mut outsider).await?, "451 4.7.5 ")?;
        // Others are served.
        let mut other = Outsider::new(&relay).await?;
        accepted(&other.send_signed().await?)?;
        relay.dns()?.recover(&name)?;
        accepted(&outsider.send_signed().await?)?;
        messages(&mut outsider.inbox, 1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn while_the_dns_server_is_dead_mail_is_to_come_again() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let dns = relay.dns()?;
    let (mut known, mut unknown) = (Outsider::new(&relay).await?, Outsider::new(&relay).await?);
    accepted(&known.send_signed().await?)?;
    dns.signal(Signal::SIGSTOP)?;
    begins(&reply_to_signed(&mut unknown).await?, "451 4.7.5 ")?;
    // Whose key is still good needs no DNS.
    accepted(&known.send_signed().await?)?;
    dns.signal(Signal::SIGCONT)?;
    accepted(&unknown.send_signed().await?)?;
    relay.stop()
}

#[tokio::test]
async fn a_key_that_was_not_there_is_used_as_soon_as_it_is() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let no_signature = "554 5.7.1 No valid DKIM signature found";
    relay.dns()?.remove(&outsider.domain.key_name())?;
    begins(&reply_to_signed(&mut outsider).await?, no_signature)?;
    // Something else at the name.
    let a = Data::A([127, 0, 0, 1].into());
    relay.dns()?.set(&outsider.domain.key_name(), 60, &[a])?;
    begins(&reply_to_signed(&mut outsider).await?, no_signature)?;
    outsider.domain.publish(60)?;
    accepted(&outsider.send_signed().await?)
}

#[tokio::test]
async fn a_revoked_key_is_good_for_as_long_as_it_was_said_to_be() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut short = Outsider::new(&relay).await?;
    let mut long = Outsider::new(&relay).await?;
    short.domain.publish(1)?;
    long.domain.publish(3600)?;
    for outsider in [&mut short, &mut long] {
        accepted(&outsider.send_signed().await?)?;
        outsider.domain.revoke()?;
    }
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let reply = reply_to_signed(&mut short).await?;
        if reply.starts_with("554 5.7.1 No valid DKIM signature found") {
            break;
        }
        begins(&reply, "250 ")?;
        ensure!(std::time::Instant::now() < end, "still good after its time");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    accepted(&long.send_signed().await?)
}

#[tokio::test]
async fn records_that_are_no_key_are_refused_and_harm_nobody() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let mut outsider = Outsider::new(&relay).await?;
    let name = outsider.domain.key_name();
    let record = outsider.domain.record().to_owned();
    let key = record.rsplit_once("p=").context("no key")?.1.to_owned();
    let bad = [
        "x".repeat(60_000),
        format!("v=DKIM1; p={}", "A".repeat(60_000)),
        format!("v=DKIM2; p={key}"),
        format!("v=DKIM1; k=ed25519; p={key}"),
        format!("v=DKIM1; h=sha1; p={key}"),
        format!("v=DKIM1; s=calendar; p={key}"),
        format!("v=DKIM1; p={}", &key[..key.len() / 2]),
        "v=DKIM1; p=".to_owned(),
        String::new(),
    ];
    for text in bad {
        // No caching, so that the next one is asked for.
        let data = match text.is_empty() {
            true => Data::Txt(vec![String::new()]),
            false => Data::txt(&text),
        };
        relay.dns()?.set(&name, 0, &[data])?;
        let reply = reply_to_signed(&mut outsider).await?;
        begins(&reply, "554 5.7.1 No valid DKIM signature found")
            .with_context(|| format!("{text:.60}"))?;
    }
    let good = [
        record.clone(),
        format!("p={key}"),
        format!("v=DKIM1;t=s;n=a note;p={} {}", &key[..50], &key[50..]),
    ];
    for text in good {
        relay.dns()?.set(&name, 0, &[Data::txt(&text)])?;
        accepted(&outsider.send_signed().await?).with_context(|| text)?;
    }
    // By way of another name, and split into many strings.
    let strings = record.as_bytes().chunks(20);
    let strings = strings.map(|string| String::from_utf8_lossy(string).into_owned());
    let elsewhere = format!("key-of-{}", outsider.domain.name());
    relay.dns()?.change(|zone| {
        zone.remove(&name);
        zone.set(&name, 0, &[Data::Cname(elsewhere.clone())])?;
        zone.set(&elsewhere, 0, &[Data::Txt(strings.collect())])
    })?;
    accepted(&outsider.send_signed().await?)
}
