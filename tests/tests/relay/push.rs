//! Push notifications: a message that a real Postfix and Dovecot deliver leads to a post at the notification
//! server, which is played.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use testbed::client::Envelope;
use testbed::deltachat::{DeltaChat, make_contact};
use testbed::notifications::{self, Answer, NotificationServer};
use testbed::{RelayOptions, Target, TestRelay};

use crate::fixture::{
    Correspondents, PATIENCE, Person, accepted, delta_chat_account, eventually, messages,
    random_name, send, unhurried,
};
use crate::metadata::{TOKEN, get, set};

/// Gives a device of somebody a token.
async fn register(target: &Target, person: &Person, token: &str) -> anyhow::Result<()> {
    let mut imap = person.inbox(target).await?;
    Ok(set(&mut imap, "INBOX", TOKEN, token).await?)
}

/// Somebody sends a message to somebody.
async fn write(target: &Target, from: &Person, to: &Person) -> anyhow::Result<()> {
    let mut submission = from.submission(target).await?;
    let envelope = Envelope::new(&from.address, &to.address);
    accepted(&send(&mut submission, &envelope, &from.writes_to(to)?).await?)
}

async fn takes_everything(target: &Target) -> anyhow::Result<NotificationServer> {
    notifications::play(target, |_| Answer::Status(200)).await
}

/// What doveauth has counted under a name.
async fn counted(target: &Target, name: &str) -> anyhow::Result<u64> {
    let address = crate::fixture::config(target)?.doveauth_metrics;
    crate::fixture::counted(address.context("no metrics")?, name).await
}

#[tokio::test]
async fn a_message_wakes_up_the_recipients_devices_and_nobody_else() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let server = takes_everything(target).await?;
    let mut pair = Correspondents::new(target).await?;
    register(target, &pair.alice, "alices-phone").await?;
    register(target, &pair.bob, "bobs-phone").await?;
    register(target, &pair.bob, "bobs-tablet").await?;
    pair.send_good(0).await?;
    eventually("both devices", || Ok(server.count() >= 2)).await?;
    let tokens: BTreeSet<_> = server.tokens().into_iter().collect();
    ensure!(
        tokens == ["bobs-phone", "bobs-tablet"].map(String::from).into(),
        "{tokens:?}"
    );
    // To oneself: no bell. The message after it shows that there was none.
    write(target, &pair.bob, &pair.bob).await?;
    messages(&mut pair.inbox, 2).await?;
    pair.send_good(2).await?;
    eventually("both devices again", || Ok(server.count() >= 4)).await?;
    ensure!(server.count() == 4, "{} posts", server.count());
    ensure!(
        server.connections() == 1,
        "{} connections",
        server.connections()
    );
    ensure!(counted(target, "doveauth_pushes_total{outcome=\"sent\"}").await? == 4);
    for log in ["doveauth", "dovecot", "postfix"] {
        let log = std::fs::read_to_string(relay.log(log))?;
        ensure!(!log.contains("bobs-phone"), "a token in {log}");
    }
    relay.stop()
}

#[tokio::test]
async fn a_token_that_is_gone_is_removed() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let judge = |token: &str| Answer::Status(if token == "gone" { 410 } else { 200 });
    let server = notifications::play(target, judge).await?;
    let mut pair = Correspondents::new(target).await?;
    register(target, &pair.bob, "gone").await?;
    register(target, &pair.bob, "good").await?;
    pair.send_good(0).await?;
    eventually("both posts", || Ok(server.count() == 2)).await?;
    pair.send_good(1).await?;
    eventually("one more post", || Ok(server.count() >= 3)).await?;
    let left = get(&mut pair.inbox, "INBOX", TOKEN).await?;
    ensure!(left.as_deref() == Some("good"), "{left:?}");
    ensure!(server.tokens()[2..] == ["good"], "{:?}", server.tokens());
    ensure!(counted(target, "doveauth_removed_tokens_total").await? == 1);
    relay.stop()
}

#[tokio::test]
async fn a_server_that_is_away_delays_no_mail_and_is_asked_again() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let mut pair = Correspondents::new(target).await?;
    register(target, &pair.bob, "bobs-phone").await?;
    // Nobody listens.
    for before in 0..3 {
        pair.send_good(before).await?;
    }
    ensure!(counted(target, "doveauth_pending_pushes").await? == 1);
    let server = takes_everything(target).await?;
    // No further message: the pause ends after eight seconds.
    eventually("the post", || Ok(server.count() >= 1)).await?;
    ensure!(server.tokens() == ["bobs-phone"], "{:?}", server.tokens());
    relay.stop()
}

/// What an app sets is not the token, but the token encrypted for the notification server: nobody else knows
/// which device it is.
#[tokio::test]
async fn an_app_registers_its_device_by_itself() -> anyhow::Result<()> {
    const DEVICE: &str = "fcm-chat.delta:a-device-that-does-not-exist";
    let relay = TestRelay::start(RelayOptions::default())?;
    let target = &relay.target;
    let server = takes_everything(target).await?;
    let folder = tempfile::tempdir()?;
    let desktop = DeltaChat::start(&folder.path().join("desktop")).await?;
    let phone = DeltaChat::start_with_device_token(&folder.path().join("phone"), DEVICE).await?;
    let (_, mut alice) = delta_chat_account(&desktop, target).await?;
    let (bob, mut bobs_phone) = delta_chat_account(&phone, target).await?;

    let file = target.mailboxes_dir.join(bob.address.to_string());
    let file = file.join("metadata.json");
    let stored = std::fs::read(&file).context("no token is stored when the inbox idles")?;
    let stored: Value = serde_json::from_slice(&stored)?;
    let tokens = stored["devicetoken"].as_object().context("no tokens")?;
    let [token] = tokens.keys().collect::<Vec<_>>()[..] else {
        anyhow::bail!("not one token: {stored}")
    };
    ensure!(token.starts_with("openpgp:"), "{token}");
    ensure!(!token.contains(DEVICE), "{token}");
    let shown = get(&mut bob.inbox(target).await?, "INBOX", TOKEN).await?;
    ensure!(shown.as_ref() == Some(token), "{shown:?}");

    let (_, alices_chat) = make_contact(&mut bobs_phone, &mut alice, PATIENCE).await?;
    let before = server.count();
    alice.send_text(alices_chat, "Wake up").await?;
    ensure!(bobs_phone.receive(PATIENCE).await?.text == "Wake up");
    eventually("the post", || Ok(server.count() > before)).await?;
    let posted = server.tokens();
    ensure!(posted.iter().all(|one| one == token), "{posted:?}");
    relay.stop()
}

/// Notifications that wait when doveauth is killed, and those that come while it is killed again and again, are
/// all sent.
#[tokio::test]
async fn a_kill_loses_no_notification() -> anyhow::Result<()> {
    const PEOPLE: usize = 12;
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let alice = Person::new(target)?;
    alice.log_in(target).await?;
    let mut expected = BTreeSet::new();
    for round in 0..PEOPLE {
        let bob = Person::new(target)?;
        let token = random_name(30);
        register(target, &bob, &token).await?;
        write(target, &alice, &bob).await?;
        messages(&mut bob.inbox(target).await?, 1).await?;
        expected.insert(token);
        if round % 4 == 3 {
            let before = relay.signal("doveauth", Signal::SIGKILL)?;
            eventually("the next process", || Ok(relay.pid("doveauth")? != before)).await?;
        }
    }
    let server = takes_everything(target).await?;
    eventually("all posts", || {
        let tokens: BTreeSet<_> = server.tokens().into_iter().collect();
        Ok(tokens.is_superset(&expected))
    })
    .await?;
    // They were acknowledged and noted: another process has nothing to send.
    eventually_settled(target).await?;
    let sent = server.count();
    let before = relay.signal("doveauth", Signal::SIGKILL)?;
    eventually("the next process", || Ok(relay.pid("doveauth")? != before)).await?;
    let carol = Person::new(target)?;
    register(target, &carol, "the-last-one").await?;
    write(target, &alice, &carol).await?;
    eventually("the last post", || {
        Ok(server.tokens().iter().any(|token| token == "the-last-one"))
    })
    .await?;
    ensure!(
        server.count() == sent + 1,
        "{} posts after {sent}",
        server.count()
    );
    relay.stop()
}

/// Waits until nothing is to be sent.
async fn eventually_settled(target: &Target) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + PATIENCE;
    while counted(target, "doveauth_pending_pushes").await? > 0 {
        ensure!(
            std::time::Instant::now() < deadline,
            "notifications still wait"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}
