//! The block list over the socket that mxdeliv-bridge uses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use std::os::unix::fs::PermissionsExt as _;

use chatmail::blocks::remote::{ENTRIES_AT_ONCE_MAX, RemoteBlocks, RemoteError};
use chatmail::blocks::{Addition, Entry};
use chatmail::policy::PolicyClient;
use common::Relay;

fn entries(text: &str) -> Vec<Entry> {
    let parse = |entry: &str| entry.parse().unwrap();
    text.split_whitespace().map(parse).collect()
}

#[tokio::test]
async fn what_is_added_over_the_socket_is_blocked_until_it_is_removed() {
    let relay = Relay::start("");
    let (blocks, policy) = (
        RemoteBlocks::new(relay.path("blocks")),
        PolicyClient::new(relay.path("policy")),
    );
    let mallory = "mallory@spam.example".parse().unwrap();
    let is_blocked = async || policy.is_blocked(None, Some(&mallory)).await.unwrap();
    assert_eq!(blocks.entries().await.unwrap(), []);
    let none = blocks.remove(&entries("spam.example")).await.unwrap();
    assert_eq!(none, [false]);
    assert!(!relay.path("tables").exists());

    let note = "sends \"offers\"".parse().unwrap();
    let wanted = entries("spam.example a/b@x.org Spam.example 192.0.2.0/24");
    let added = blocks.add(&wanted, Some(&note)).await.unwrap();
    let new = Addition::Added;
    assert_eq!(added, [new, new, Addition::Unchanged, new]);
    assert!(is_blocked().await);
    let kept = blocks.add(&wanted[..1], None).await.unwrap();
    assert_eq!(kept, [Addition::Unchanged]);
    let other = "other".parse().unwrap();
    let noted = blocks.add(&wanted[..1], Some(&other)).await.unwrap();
    assert_eq!(noted, [Addition::Noted]);

    let listed = blocks.entries().await.unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|listed| (listed.entry.to_string(), listed.note.as_str()))
        .collect();
    let expected = [
        ("192.0.2.0/24", note.as_str()),
        ("a/b@x.org", note.as_str()),
        ("spam.example", "other"),
    ];
    assert_eq!(shown, expected.map(|(entry, note)| (entry.into(), note)));
    assert!(listed.iter().all(|listed| listed.added.ends_with('Z')));

    let unwanted = entries("spam.example y.org spam.example");
    let removed = blocks.remove(&unwanted).await.unwrap();
    assert_eq!(removed, [true, false, false]);
    assert!(!is_blocked().await);
}

#[tokio::test]
async fn changes_are_made_all_or_none() {
    let relay = Relay::start("");
    let blocks = RemoteBlocks::new(relay.path("blocks"));
    let many: Vec<Entry> = (0..=ENTRIES_AT_ONCE_MAX)
        .map(|number| format!("spam{number}.example").parse().unwrap())
        .collect();
    let refused = blocks.add(&many, None).await;
    assert!(matches!(refused, Err(RemoteError::TooMany(wanted)) if wanted == many.len()));
    assert_eq!(blocks.entries().await.unwrap(), []);
    let added = blocks.add(&many[1..], None).await.unwrap();
    assert_eq!(added.len(), ENTRIES_AT_ONCE_MAX);
    assert_eq!(blocks.entries().await.unwrap().len(), ENTRIES_AT_ONCE_MAX);
    std::fs::write(relay.path("tables/chatmail.sqlite"), "garbage").unwrap();
    let broken = blocks.add(&many[..1], None).await.unwrap_err().to_string();
    assert!(broken.contains("chatmail.sqlite"), "{broken}");
}

#[tokio::test]
async fn only_changes_of_the_list_are_taken() {
    let relay = Relay::start("");
    let mode = relay.path("blocks").metadata().unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);
    let mut bridge = relay.connect("blocks").await;
    assert_eq!(bridge.ask("Lshared/blocks/x.org\t").await, "N");
    assert_eq!(bridge.ask("I0\t0\tshared/policy/\t").await, "");
    for change in ["U1\tshared/policy/x.org", "S1\tshared/blocks/x.org\tno"] {
        bridge.send(format!("B1\t\n{change}\n").as_bytes()).await;
        let answer = bridge.ask("C1").await;
        assert_eq!(answer, "F1\tnot a change of the block list");
    }
}
