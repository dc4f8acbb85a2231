//! Real Delta Chat clients: contact by securejoin, text both ways, a large picture, receipts, and a group.

use std::fs;

use anyhow::ensure;
use testbed::deltachat::{DeltaChat, PATIENCE, make_contact, picture};
use testbed::{DomainKind, RelayOptions, TestRelay};

use crate::fixture::{delta_chat_account, shared_federation};

#[tokio::test]
async fn two_accounts_make_contact_and_exchange_text_and_a_picture() -> anyhow::Result<()> {
    // With the limits of a public relay: a real client must live with them.
    let relay = TestRelay::start(RelayOptions::default())?;
    let target = &relay.target;
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start(folder.path()).await?;
    let (_, mut alice) = delta_chat_account(&clients, target).await?;
    let (_, mut bob) = delta_chat_account(&clients, target).await?;
    let (alices_chat, bobs_chat) = make_contact(&mut alice, &mut bob, PATIENCE).await?;

    alice.send_text(alices_chat, "Hello Bob 👋").await?;
    let received = bob.receive(PATIENCE).await?;
    assert_eq!(received.text, "Hello Bob 👋");
    assert_eq!(received.chat_id, bobs_chat);
    assert!(received.show_padlock, "not encrypted end to end");

    bob.send_text(bobs_chat, "Hello Alice").await?;
    let received = alice.receive(PATIENCE).await?;
    assert_eq!(received.text, "Hello Alice");
    assert!(received.show_padlock, "not encrypted end to end");

    let picture = picture::noise_png(5_000_000);
    let path = folder.path().join("noise.png");
    fs::write(&path, &picture)?;
    let message = alice.send_file(alices_chat, &path).await?;
    alice.sent(message, PATIENCE).await?;
    let received = bob.receive(PATIENCE).await?;
    assert_eq!(received.file_name.as_deref(), Some("noise.png"));
    let file = received.file.map(fs::read).transpose()?;
    ensure!(
        file.as_ref() == Some(&picture),
        "the picture is not what was sent"
    );
    drop(clients);
    relay.stop()
}

#[tokio::test]
async fn the_sender_learns_that_somebody_at_another_relay_has_read_a_message() -> anyhow::Result<()>
{
    let relays = shared_federation()?;
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start(folder.path()).await?;
    let (_, mut alice) = delta_chat_account(&clients, &relays.target).await?;
    let (_, mut bob) = delta_chat_account(&clients, &relays.peers[0]).await?;
    let (alices_chat, bobs_chat) = make_contact(&mut alice, &mut bob, PATIENCE).await?;

    let unread = alice.send_text(alices_chat, "Not now").await?;
    let message = alice.send_text(alices_chat, "Have you seen this?").await?;
    bob.receive(PATIENCE).await?;
    let received = bob.receive(PATIENCE).await?;
    assert_eq!(received.text, "Have you seen this?");
    // Another message that way: a receipt that nobody asked for would have come before it.
    bob.send_text(bobs_chat, "I am going to look").await?;
    alice.receive(PATIENCE).await?;
    assert_eq!(alice.readers(message).await?, 0);
    bob.mark_seen(&received).await?;
    alice.read(message, PATIENCE).await?;
    assert_eq!(alice.readers(message).await?, 1);
    assert_eq!(alice.readers(unread).await?, 0);
    Ok(())
}

#[tokio::test]
async fn ten_people_at_two_relays_talk_in_a_group() -> anyhow::Result<()> {
    const MEMBERS: usize = 9;
    // With the limits of public relays.
    let relays = TestRelay::start(RelayOptions::default().with_peer(DomainKind::Name))?;
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start(folder.path()).await?;
    let (_, mut alice) = delta_chat_account(&clients, &relays.target).await?;
    let group = alice.create_group("Ten of us").await?;
    let invitation = alice.group_invitation(group).await?;
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        let target = match number % 2 {
            0 => &relays.peers[0],
            _ => &relays.target,
        };
        members.push(delta_chat_account(&clients, target).await?.1);
    }
    // All at once, as when everybody scans what hangs on the wall.
    for member in &members {
        member.join(&invitation).await?;
    }
    for member in &mut members {
        member.joined(PATIENCE).await?;
        alice.was_joined(PATIENCE).await?;
    }

    alice.send_text(group, "Hello everybody").await?;
    let mut chats = Vec::new();
    for member in &mut members {
        let received = member.receive(PATIENCE).await?;
        assert_eq!(received.text, "Hello everybody");
        assert!(received.show_padlock, "not encrypted end to end");
        chats.push(received.chat_id);
    }
    // Who answers is at the other relay, and has met nobody but the inviter.
    members[0]
        .send_text(chats[0], "Hello Alice and all")
        .await?;
    for member in members.iter_mut().skip(1).chain([&mut alice]) {
        let received = member.receive(PATIENCE).await?;
        assert_eq!(received.text, "Hello Alice and all");
        assert!(received.show_padlock, "not encrypted end to end");
    }
    relays.stop()
}
