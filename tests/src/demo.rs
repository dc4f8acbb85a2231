//! What a newcomer wants to see: the main job of a chatmail relay, in a few seconds.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chatmail::{Address, Domain, LocalPart};
use rand::distr::{Alphanumeric, SampleString as _};

use crate::client::imap::ImapClient;
use crate::client::smtp::{Envelope, SmtpClient, Transaction};
use crate::client::tls::Security;
use crate::mail::{self, Key, KeyVersion, Message};
use crate::target::Target;

/// How long a delivery may take before the demonstration has failed.
const DELIVERY: Duration = Duration::from_secs(30);
/// The size of the message that is sent, in bytes.
const SIZE: usize = 4096;

/// Makes two accounts by logging in, sends an encrypted message from one to the other and one to an
/// account at another relay, and shows that a message in clear text and one with a forged `From` are
/// refused. Tells the story on standard output.
///
/// # Errors
/// Any step that does not go as it must, refusals included: what was expected and what came.
pub async fn run(target: &Target, peer: &Target) -> anyhow::Result<()> {
    println!(
        "The relay for {}: IMAP at {}, SMTP at {}.",
        target.domain, target.imap, target.smtps
    );

    println!("\nTwo accounts, made by nothing but logging in:");
    let alice = Newcomer::new(target)?;
    let bob = Newcomer::new(target)?;
    alice.sign_up(target).await?;
    let mut inbox = bob.sign_up(target).await?;
    let mut submission = SmtpClient::login(
        &target.smtps,
        Security::TLS,
        &alice.address.to_string(),
        &alice.password,
    )
    .await
    .context("logging in to send")?;

    println!("\nAn encrypted message, while the recipient's client idles at its inbox:");
    deliver(&alice, &bob, &mut submission, &mut inbox).await?;

    println!("\nThe same to somebody at another relay, {}:", peer.domain);
    let carol = Newcomer::new(peer)?;
    let mut inbox = carol.sign_up(peer).await?;
    let before = peer.posts(200)?;
    deliver(&alice, &carol, &mut submission, &mut inbox).await?;
    posted(peer, before).await?;

    println!("\nThe same people, in clear text:");
    let message = mail::cleartext(&alice.address, &bob.address, "Everybody may read this.");
    refused(submit(&mut submission, &alice, &bob, &message).await?, 523)?;

    println!("\nEncrypted, but with somebody else's address as From:");
    let somebody: Address = format!("somebody@{}", target.domain).parse()?;
    let message = mail::forged_from(&alice.address, &somebody, &bob.address)?;
    refused(submit(&mut submission, &alice, &bob, &message).await?, 500)?;

    println!("\nAll as it must be.");
    Ok(())
}

/// Somebody who has just installed a chat client.
struct Newcomer {
    address: Address,
    password: String,
}

impl Newcomer {
    /// Invents an address of nine characters, as a chat client does.
    fn new(target: &Target) -> anyhow::Result<Self> {
        let random = |length| Alphanumeric.sample_string(&mut rand::rng(), length);
        let local_part: LocalPart = random(9).parse()?;
        let domain: Domain = target.domain.parse().context("the relay's domain")?;
        Ok(Self {
            address: Address::new(local_part, domain),
            password: random(20),
        })
    }

    async fn sign_up(&self, target: &Target) -> anyhow::Result<ImapClient> {
        let start = Instant::now();
        let address = self.address.to_string();
        let mut inbox = ImapClient::login(&target.imap, &address, &self.password)
            .await
            .with_context(|| format!("logging in as {address}"))?;
        inbox.select("INBOX").await.context("opening the inbox")?;
        println!(
            "  {address} is there after {}",
            milliseconds(start.elapsed())
        );
        Ok(inbox)
    }
}

async fn deliver(
    alice: &Newcomer,
    bob: &Newcomer,
    submission: &mut SmtpClient,
    inbox: &mut ImapClient,
) -> anyhow::Result<()> {
    let message = mail::encrypted(&alice.address, &bob.address, SIZE)?;
    let mut idle = inbox.idle().await?;
    let start = Instant::now();
    let transaction = submit(submission, alice, bob, &message).await?;
    let reply = transaction.verdict();
    ensure!(
        transaction.is_accepted(),
        "the encrypted message was refused: {reply}"
    );
    let answered = milliseconds(transaction.final_wait);
    println!("  sent {SIZE} bytes: {reply} ({answered} after the final dot)");
    idle.exists(DELIVERY)
        .await
        .context("waiting for the encrypted message")?;
    let taken = start.elapsed();
    idle.done().await?;

    let received = inbox
        .fetch("1:*")
        .await?
        .pop()
        .context("the inbox is empty")?;
    ensure!(
        received.message.ends_with(&message.body),
        "the message's body is not what was sent"
    );
    let recipient = Key::of(&bob.address, KeyVersion::V4)?;
    let sender = Key::of(&alice.address, KeyVersion::V4)?;
    let text = mail::decrypt(&received.message, &recipient, &sender)?;
    println!(
        "  received {} later, byte for byte, and decrypted to {} bytes",
        milliseconds(taken),
        text.len()
    );
    Ok(())
}

/// An error unless one more message than `before` has come to a relay over HTTPS.
async fn posted(peer: &Target, before: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + DELIVERY;
    while peer.posts(200)? == before {
        ensure!(Instant::now() < deadline, "it did not come over HTTPS");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("  it went over HTTPS: POST /mxdeliv was answered with 200");
    Ok(())
}

async fn submit(
    submission: &mut SmtpClient,
    from: &Newcomer,
    to: &Newcomer,
    message: &Message,
) -> anyhow::Result<Transaction> {
    let envelope = Envelope::new(&from.address, &to.address);
    Ok(submission.send(&envelope, &message.content()).await?)
}

fn refused(transaction: Transaction, code: u16) -> anyhow::Result<()> {
    let reply = transaction.verdict();
    ensure!(
        reply.code == code,
        "expected to be refused with {code}, got: {reply}"
    );
    println!("  refused: {reply}");
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
