//! The largest message passes, and one byte more does not.

use anyhow::{Context as _, ensure};
use testbed::client::Envelope;
use testbed::mail::{Encrypted, Key, KeyVersion, decrypt};
use testbed::{RelayOptions, TestRelay};

use crate::fixture::{Correspondents, accepted, messages, send, shared_relay};

#[tokio::test]
async fn a_message_of_30_mib_passes_and_one_byte_more_does_not() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let limit = usize::try_from(relay.target.limits.max_message_size)?;
    assert_eq!(limit, 30 << 20, "the default");
    let mut people = Correspondents::new(&relay.target).await?;
    largest_and_one_more(&mut people, limit).await
}

#[tokio::test]
async fn another_limit_is_as_exact() -> anyhow::Result<()> {
    let limit = 100_000;
    let options = RelayOptions::default().with("max_message_size", limit);
    let relay = TestRelay::start(options)?;
    let mut people = Correspondents::new(&relay.target).await?;
    largest_and_one_more(&mut people, limit).await?;
    relay.stop()
}

async fn largest_and_one_more(people: &mut Correspondents, limit: usize) -> anyhow::Result<()> {
    let (alice, bob) = (people.alice.address.clone(), people.bob.address.clone());
    let largest = Encrypted::new(&alice, &bob).size(limit).build()?;
    accepted(&people.send(&largest).await?).context("the largest message, size undeclared")?;
    let declared = format!("MAIL FROM:<{alice}> SIZE={limit}");
    people
        .submission
        .command(&declared)
        .await?
        .expect(250, "the largest SIZE")?;
    people
        .submission
        .command("RSET")
        .await?
        .expect(250, "RSET")?;

    let arrived = messages(&mut people.inbox, 1).await?;
    let arrived = &arrived.first().context("an empty inbox")?.message;
    ensure!(arrived.ends_with(&largest.body), "not what was sent");
    let [bobs, alices] = [&bob, &alice].map(|of| Key::of(of, KeyVersion::V4));
    decrypt(arrived, &*bobs?, &*alices?)?;

    // One byte more in a header.
    let subject = largest.header("Subject").context("no subject")?.to_owned();
    let larger = largest.with("Subject", format!("{subject}!"));
    ensure!(larger.size() == limit + 1);
    let declared = format!("MAIL FROM:<{alice}> SIZE={}", larger.size());
    let reply = people.submission.command(&declared).await?;
    ensure!(
        reply.to_string().starts_with("552 5.3.4"),
        "declared: {reply}"
    );

    // Postfix remembers a declared size that it refused until the transaction is reset.
    people
        .submission
        .command("RSET")
        .await?
        .expect(250, "RSET")?;
    let envelope = Envelope::new(&alice, &bob);
    let transaction = send(&mut people.submission, &envelope, &larger).await?;
    let refused_early = || format!("not at the dot: {}", transaction.verdict());
    let reply = transaction.content.as_ref().with_context(refused_early)?;
    ensure!(reply.code == 552, "undeclared: {reply}");

    // And the connection goes on.
    let small = people.alice.writes_to(&people.bob)?;
    accepted(&people.send(&small).await?)?;
    let arrived = messages(&mut people.inbox, 2).await?;
    ensure!(arrived.len() == 2, "the larger one arrived as well");
    Ok(())
}
