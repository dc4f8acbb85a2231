//! Real Delta Chat clients: contact by securejoin, text both ways, and a large picture.

use std::fs;

use anyhow::ensure;
use testbed::TestRelay;
use testbed::deltachat::{DeltaChat, PATIENCE, make_contact, picture};

use crate::fixture::Person;

#[tokio::test]
async fn two_accounts_make_contact_and_exchange_text_and_a_picture() -> anyhow::Result<()> {
    // With the limits of a public relay: a real client must live with them.
    let relay = TestRelay::start(testbed::RelayOptions::default())?;
    let target = &relay.target;
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start(folder.path()).await?;
    let mut alice = Person::new_client(&clients, target).await?;
    let mut bob = Person::new_client(&clients, target).await?;
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
