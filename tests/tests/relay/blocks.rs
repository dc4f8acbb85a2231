//! The block list, from the operator's side and from that of those who are on it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use chatmail::Address;
use testbed::client::{Envelope, ImapError, SmtpClient};
use testbed::foreign;
use testbed::mail::{self, Message};
use testbed::{Target, TestRelay, binaries};

use crate::fixture::{Person, accepted, messages, send, unhurried};

/// What those on the list are told.
const BLOCKED: &str = "550 5.7.1";

/// Runs `doveauth blocks` as root, as an operator does.
fn blocks(target: &Target, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(binaries::release("doveauth")?)
        .arg("--config")
        .arg(&target.chatmail_ini)
        .arg("blocks")
        .args(arguments)
        .env_remove("JOURNAL_STREAM")
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "blocks {arguments:?}: {said}");
    Ok(())
}

/// The replies to `RCPT` for mail of this sender, which is then given up.
async fn asks(
    client: &mut SmtpClient,
    sender: &str,
    recipients: &[&Address],
) -> anyhow::Result<Vec<String>> {
    let mail = format!("MAIL FROM:<{sender}>");
    client.command(&mail).await?.expect(250, &mail)?;
    let mut replies = Vec::new();
    for recipient in recipients {
        let reply = client.command(&format!("RCPT TO:<{recipient}>")).await?;
        replies.push(reply.to_string());
    }
    client.command("RSET").await?.expect(250, "RSET")?;
    Ok(replies)
}

fn all_begin(replies: &[String], with: &str) -> anyhow::Result<()> {
    let do_all = replies.iter().all(|reply| reply.starts_with(with));
    ensure!(
        do_all && !replies.is_empty(),
        "expected {with}: {replies:?}"
    );
    Ok(())
}

/// A message of somebody without a DNS name, who vouches for it by sending from there: clients of
/// these tests come from 127.0.0.1.
fn from_literal(name: &str, to: &Person) -> anyhow::Result<(Address, Message)> {
    let sender = format!("{name}@[127.0.0.1]").parse()?;
    let message = mail::encrypted(&sender, &to.address, 3000)?;
    Ok((sender, message))
}

#[tokio::test]
async fn who_is_on_the_list_is_refused_at_rcpt_until_the_entry_is_removed() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let bob = Person::new(target)?;
    bob.inbox(target).await?;
    let tagged: Address = bob.address.to_string().replacen('@', "+tag@", 1).parse()?;
    let recipients = [&bob.address, &tagged];
    let mut client = foreign::connect(target).await?;
    for (entry, sender, other) in [
        (
            "mallory@spam.example",
            "mallory@spam.example",
            "alice@spam.example",
        ),
        (
            "mallory@spam.example",
            "Mallory+x@spam.example",
            "alice@spam.example",
        ),
        ("a/b@spam.example", "a/b@spam.example", "ab@spam.example"),
        (
            "spam.example",
            "mallory@Spam.Example",
            "mallory@sub.spam.example",
        ),
        ("[127.0.0.2]", "mallory@[127.0.0.2]", "mallory@[127.0.0.1]"),
        ("127.0.0.2/31", "mallory@[127.0.0.3]", "mallory@[127.0.0.1]"),
    ] {
        all_begin(&asks(&mut client, sender, &recipients).await?, "250")?;
        blocks(target, &["add", "--note", "a test", entry])?;
        all_begin(&asks(&mut client, sender, &recipients).await?, BLOCKED)?;
        all_begin(&asks(&mut client, other, &recipients).await?, "250")?;
        all_begin(&asks(&mut client, "", &recipients).await?, "250")?;
        blocks(target, &["remove", entry])?;
        all_begin(&asks(&mut client, sender, &recipients).await?, "250")?;
    }

    // A peer is refused whoever it says has sent the mail.
    blocks(target, &["add", "127.0.0.0/29"])?;
    for sender in ["", "alice@example.org"] {
        all_begin(&asks(&mut client, sender, &recipients).await?, BLOCKED)?;
    }
    blocks(target, &["remove", "127.0.0.0/29"])?;
    all_begin(&asks(&mut client, "", &recipients).await?, "250")?;
    relay.stop()
}

#[tokio::test]
async fn mail_arrives_once_its_sender_is_off_the_list() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let bob = Person::new(target)?;
    let mut inbox = bob.inbox(target).await?;
    let mut client = foreign::connect(target).await?;
    let (mallory, message) = from_literal("mallory", &bob)?;
    let envelope = Envelope::new(&mallory, &bob.address);
    let name = mallory.to_string();

    blocks(target, &["add", &name])?;
    let refused = send(&mut client, &envelope, &message).await?;
    ensure!(refused.content.is_none(), "not refused at RCPT");
    all_begin(&[refused.verdict().to_string()], BLOCKED)?;
    // Who hides behind another envelope sender is refused after the dot.
    let hidden = Envelope::new("alice@[127.0.0.1]", &bob.address);
    let refused = send(&mut client, &hidden, &message).await?;
    let reply = refused.content.context("refused at RCPT")?;
    all_begin(&[reply.to_string()], BLOCKED)?;

    blocks(target, &["remove", &name])?;
    accepted(&send(&mut client, &envelope, &message).await?)?;
    let arrived = messages(&mut inbox, 1).await?;
    ensure!(arrived.len() == 1, "{} messages arrived", arrived.len());

    // root has made the file for doveauth, which runs as the mail user.
    let config = crate::fixture::config(target)?;
    let owner = |path: &std::path::Path| -> anyhow::Result<_> {
        let found = fs::metadata(path)?;
        Ok((found.uid(), found.gid()))
    };
    let expected = owner(&target.mailboxes_dir)?;
    ensure!(expected.0 != 0, "the mailboxes belong to root");
    let folder = config.database_path.parent().context("no folder")?;
    ensure!(owner(folder)? == expected, "the folder has another owner");
    for file in fs::read_dir(folder)? {
        let file = file?.path();
        ensure!(owner(&file)? == expected, "{}", file.display());
    }
    relay.stop()
}

#[tokio::test]
async fn a_blocked_account_gets_no_mail_and_logs_in_as_before() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let bob = Person::new(target)?;
    let mut inbox = bob.inbox(target).await?;
    let mut client = foreign::connect(target).await?;
    let (alice, message) = from_literal("alice", &bob)?;
    let envelope = Envelope::new(&alice, &bob.address);
    let address = bob.address.to_string();

    // The relay's own domain is no account of its.
    blocks(target, &["add", &target.domain])?;
    accepted(&send(&mut client, &envelope, &message).await?)?;
    blocks(target, &["add", &address])?;
    let refused = send(&mut client, &envelope, &message).await?;
    ensure!(refused.content.is_none(), "not refused at RCPT");
    all_begin(&[refused.verdict().to_string()], BLOCKED)?;
    bob.inbox(target).await?;
    blocks(target, &["remove", &address])?;
    accepted(&send(&mut client, &envelope, &message).await?)?;
    messages(&mut inbox, 2).await?;
    relay.stop()
}

#[tokio::test]
async fn a_broken_list_makes_mail_and_first_logins_wait_and_nothing_else() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let bob = Person::new(target)?;
    let mut inbox = bob.inbox(target).await?;
    let mut client = foreign::connect(target).await?;
    let (alice, message) = from_literal("alice", &bob)?;
    let envelope = Envelope::new(&alice, &bob.address);
    blocks(target, &["add", "spam.example"])?;
    let file = crate::fixture::config(target)?.database_path;
    let aside = file.with_extension("aside");
    fs::rename(&file, &aside)?;
    fs::write(&file, "garbage")?;
    let waits = send(&mut client, &envelope, &message).await?;
    all_begin(&[waits.verdict().to_string()], "451 4.3.0")?;
    // Logins go on. In the same file stands whose addresses nobody may have.
    bob.inbox(target).await?;
    let carol = Person::new(target)?;
    match carol.log_in(target).await {
        Err(ImapError::Unavailable { .. }) => {}
        other => anyhow::bail!("a first login: {:?}", other.map(|_| ())),
    }
    fs::rename(&aside, &file)?;
    carol.inbox(target).await?;
    accepted(&send(&mut client, &envelope, &message).await?)?;
    messages(&mut inbox, 1).await?;
    relay.stop()
}
