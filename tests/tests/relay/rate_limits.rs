//! Who sends too much is told so at `RCPT`, alone, and not for long.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use testbed::client::smtp::Reply;
use testbed::client::{Envelope, SmtpClient};
use testbed::{RelayOptions, TestRelay};

use crate::fixture::{Correspondents, PATIENCE, Person, accepted, send};

/// Begins as many transactions in one write, with a recipient each, and gives the replies to
/// `RCPT`. No timing of ours gets in between. (After ten refusals Postfix slows the client down.)
async fn recipients(
    client: &mut SmtpClient,
    sender: &Person,
    recipient: &Person,
    count: usize,
) -> anyhow::Result<Vec<Reply>> {
    let (sender, recipient) = (&sender.address, &recipient.address);
    let transaction = format!("MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nRSET\r\n");
    client.raw(transaction.repeat(count).as_bytes()).await?;
    let mut replies = Vec::new();
    for _ in 0..count {
        client
            .reply("the reply to MAIL")
            .await?
            .expect(250, "MAIL")?;
        replies.push(client.reply("the reply to RCPT").await?);
        client
            .reply("the reply to RSET")
            .await?
            .expect(250, "RSET")?;
    }
    Ok(replies)
}

fn too_much(reply: &Reply, sender: &Person) -> anyhow::Result<()> {
    let expected = format!("450 4.7.1 Too much mail from <{}>", sender.address);
    ensure!(
        reply.to_string() == expected,
        "expected {expected}, got {reply}"
    );
    Ok(())
}

#[tokio::test]
async fn ten_messages_at_once_and_no_more() -> anyhow::Result<()> {
    // Slow enough that nothing is given back while the test runs.
    let relay = TestRelay::start(RelayOptions::default().with("max_user_send_per_minute", 1))?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    for before in 0..10 {
        people
            .send_good(before)
            .await
            .with_context(|| format!("message {}", before + 1))?;
    }
    let message = people.alice.writes_to(&people.bob)?;
    let transaction = people.send(&message).await?;
    let reply = transaction.recipients.first().context("no reply to RCPT")?;
    too_much(reply, &people.alice)?;
    assert!(!transaction.is_accepted());

    // Neither a new connection nor another recipient helps, but another sender is not affected.
    let mut again = people.alice.submission(target).await?;
    let replies = recipients(&mut again, &people.alice, &people.alice, 1).await?;
    too_much(&replies[0], &people.alice)?;
    let carol = Person::new(target)?;
    let mut client = carol.submission(target).await?;
    let replies = recipients(&mut client, &carol, &people.bob, 1).await?;
    assert!(replies[0].is_positive(), "{}", replies[0]);
    relay.stop()
}

#[tokio::test]
async fn who_waits_a_moment_may_send_again() -> anyhow::Result<()> {
    const AT_ONCE: usize = 15;
    const SECONDS_EACH: u64 = 3;
    let per_minute = 60 / SECONDS_EACH;
    let options = RelayOptions::default().with("max_user_send_per_minute", per_minute);
    let relay = TestRelay::start(options)?;
    let mut people = Correspondents::new(&relay.target).await?;
    let (alice, bob) = (people.alice.clone(), people.bob.clone());
    let begun = Instant::now();
    let replies = recipients(&mut people.submission, &alice, &bob, AT_ONCE).await?;
    let given_back = usize::try_from(begun.elapsed().as_secs() / SECONDS_EACH)?;

    let taken = replies.iter().filter(|reply| reply.is_positive()).count();
    assert!(
        replies.iter().take(10).all(Reply::is_positive),
        "fewer than ten at once"
    );
    assert!(taken <= 10 + given_back, "{taken} at once");
    for reply in replies.iter().filter(|reply| !reply.is_positive()) {
        too_much(reply, &alice)?;
    }
    ensure!(taken < AT_ONCE, "never refused");

    let message = alice.writes_to(&bob)?;
    // On new connections, since Postfix hangs up on who is refused too often.
    people.submission = alice.submission(&relay.target).await?;
    while !people.send(&message).await?.is_accepted() {
        ensure!(begun.elapsed() < PATIENCE, "still refused");
        tokio::time::sleep(Duration::from_millis(500)).await;
        people.submission = alice.submission(&relay.target).await?;
    }
    relay.stop()
}

#[tokio::test]
async fn many_recipients_are_no_way_around() -> anyhow::Result<()> {
    let relay = TestRelay::start(
        RelayOptions::default()
            .with("max_user_recipients_per_minute", 3)
            .with("unlimited_senders", "robot1234@chat.test"),
    )?;
    let target = &relay.target;
    let people = Correspondents::new(target).await?;
    let (alice, bob) = (people.alice.clone(), people.bob.clone());
    let mut client = people.submission;
    let mail = format!("MAIL FROM:<{}>", alice.address);
    client.command(&mail).await?.expect(250, "MAIL")?;
    for number in 1..=3 {
        let recipient = format!("RCPT TO:<{}>", Person::new(target)?.address);
        let reply = client.command(&recipient).await?;
        ensure!(reply.is_positive(), "recipient {number}: {reply}");
    }
    let reply = client
        .command(&format!("RCPT TO:<{}>", bob.address))
        .await?;
    too_much(&reply, &alice)?;

    // A robot on the list may: more messages than the burst, with more recipients than the limit.
    let robot = Person {
        address: "robot1234@chat.test".parse()?,
        ..Person::new(target)?
    };
    let mut client = robot.submission(target).await?;
    for reply in recipients(&mut client, &robot, &bob, 30).await? {
        ensure!(reply.is_positive(), "{reply}");
    }
    let envelope = Envelope::new(&robot.address, &bob.address);
    accepted(&send(&mut client, &envelope, &robot.writes_to(&bob)?).await?)?;
    relay.stop()
}
