//! Relays send each other mail over HTTPS.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::chown;
use std::path::Path;

use anyhow::{Context as _, ensure};
use testbed::client::Envelope;
use testbed::deltachat::{DeltaChat, PATIENCE, make_contact};
use testbed::mail;
use testbed::peers::By;
use testbed::{DomainKind, Target, TestRelay};

use crate::fixture::{
    Person, accepted, delta_chat_account, eventually, send, shared_federation,
    shared_smtp_federation, unhurried,
};
use crate::ways::{sends, sends_this, ways};

/// As many recipients as Postfix lets a message have.
const RECIPIENTS: usize = 1000;

/// The bridge posts a message for so many at a time.
const PER_POST: usize = 50;

#[tokio::test]
async fn every_kind_of_relay_posts_to_every_other() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    let targets: Vec<&Target> = std::iter::once(&relays.target)
        .chain(&relays.peers)
        .collect();
    for from in &targets {
        for to in targets.iter().filter(|to| to.domain != from.domain) {
            let before = to.posts(200)?;
            sends(from, to, By::Https)
                .await
                .with_context(|| format!("from {} to {}", from.domain, to.domain))?;
            // Other tests may have posted as well.
            eventually("nginx to count it", || Ok(to.posts(200)? > before)).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_message_arrives_the_same_both_ways() -> anyhow::Result<()> {
    let mut names = Vec::new();
    for (relays, way) in [
        (shared_federation()?, By::Https),
        (shared_smtp_federation()?, By::Smtp),
    ] {
        let arrived = sends(&relays.target, &relays.peers[0], way).await?;
        let text = String::from_utf8(arrived.message.to_vec())?;
        let (head, _) = text.split_once("\r\n\r\n").context("no body")?;
        let lines = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']));
        let fields: Option<Vec<String>> = lines
            .map(|line| line.split_once(':').map(|(name, _)| name.to_owned()))
            .collect();
        names.push(fields.with_context(|| format!("a line that is no field: {head}"))?);
    }
    let [by_https, by_smtp] = names.as_slice() else {
        anyhow::bail!("not two messages")
    };
    assert_eq!(by_https, by_smtp);
    for trace in ["Received", "DKIM-Signature", "Authentication-Results"] {
        assert!(!by_https.iter().any(|name| name == trace), "{trace}");
    }
    Ok(())
}

#[tokio::test]
async fn delta_chat_accounts_at_two_relays_talk_over_https() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start(folder.path()).await?;
    let (here, mut alice) = delta_chat_account(&clients, &relays.target).await?;
    let (there, mut bob) = delta_chat_account(&clients, &relays.peers[0]).await?;
    let (alices_chat, bobs_chat) = make_contact(&mut alice, &mut bob, PATIENCE).await?;
    alice.send_text(alices_chat, "Hello over there").await?;
    assert_eq!(bob.receive(PATIENCE).await?.text, "Hello over there");
    bob.send_text(bobs_chat, "Hello back").await?;
    assert_eq!(alice.receive(PATIENCE).await?.text, "Hello back");

    for (from, to) in [(&relays.target, &there), (&relays.peers[0], &here)] {
        let ways = ways(from, &to.address)?;
        ensure!(
            !ways.is_empty() && ways.iter().all(|way| *way == By::Https),
            "{ways:?}"
        );
    }
    Ok(())
}

/// Makes an account like one that is there, without a login.
fn copy_account(target: &Target, like: &Person) -> anyhow::Result<Person> {
    let copy = Person {
        address: Person::new(target)?.address,
        password: like.password.clone(),
    };
    let home = |person: &Person| target.mailboxes_dir.join(person.address.to_string());
    let (from, to) = (home(like), home(&copy));
    let owner = fs::metadata(&from)?;
    let own = |path: &Path| chown(path, Some(owner.uid()), Some(owner.gid()));
    fs::create_dir(&to)?;
    own(&to)?;
    for file in ["password", "enforceE2EEincoming"] {
        fs::copy(from.join(file), to.join(file))?;
        own(&to.join(file))?;
    }
    Ok(copy)
}

/// How many messages lie in a mailbox.
fn delivered(target: &Target, person: &Person) -> usize {
    let home = target.mailboxes_dir.join(person.address.to_string());
    let count = |folder: &str| fs::read_dir(home.join(folder)).map_or(0, Iterator::count);
    count("new") + count("cur")
}

#[tokio::test]
async fn a_thousand_recipients_get_one_message_each() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried().with_peer(DomainKind::Name))?;
    let (target, peer) = (&relay.target, relay.peers.first().context("no peer")?);
    let alice = Person::new(target)?;
    let first = Person::new(peer)?;
    first.log_in(peer).await?;
    let mut people = vec![first];
    while people.len() < RECIPIENTS {
        people.push(copy_account(peer, &people[0])?);
    }
    let mut envelope = Envelope::new(&alice.address, &people[0].address);
    envelope.recipients = people.iter().map(|one| one.address.to_string()).collect();
    let message = alice.writes_to(&people[0])?;
    let mut submission = alice.submission(target).await?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;

    eventually("a thousand deliveries", || {
        Ok(people.iter().all(|person| delivered(peer, person) > 0))
    })
    .await?;
    eventually("the answers to the posts", || {
        Ok(peer.posts(200)? >= RECIPIENTS / PER_POST)
    })
    .await?;
    ensure!(peer.posts(200)? == RECIPIENTS / PER_POST, "other posts");
    let twice = people.iter().filter(|person| delivered(peer, person) != 1);
    ensure!(twice.count() == 0, "some have several");
    relay.stop()
}

#[tokio::test]
async fn the_largest_message_goes_over_https() -> anyhow::Result<()> {
    // Room for the signature that it gets on the way: the peer has the same limit.
    const ROOM: u64 = 4096;
    let relays = shared_federation()?;
    let (target, peer) = (&relays.target, &relays.peers[0]);
    let (alice, bob) = (Person::new(target)?, Person::new(peer)?);
    let size = usize::try_from(target.limits.max_message_size - ROOM)?;
    let message = mail::encrypted(&alice.address, &bob.address, size)?;
    ensure!(message.to_bytes().len() == size, "another size");
    sends_this(target, peer, &alice, &bob, &message, By::Https).await?;
    Ok(())
}

#[tokio::test]
async fn a_message_with_dots_at_line_starts_arrives_byte_for_byte() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    let (target, peer) = (&relays.target, &relays.peers[0]);
    let (alice, bob) = (Person::new(target)?, Person::new(peer)?);
    // The body is all encryption; a field name may begin with a dot (RFC 5322 section 3.6.8).
    let message = alice.writes_to(&bob)?;
    let dots = [(".", "one"), ("..", "two"), (".dot", "three")];
    let message = dots.iter().fold(message, |message, (name, value)| {
        message.with_last(name, *value)
    });
    let arrived = sends_this(target, peer, &alice, &bob, &message, By::Smtp).await?;
    let text = String::from_utf8(arrived.message.to_vec())?;
    for (name, value) in dots {
        ensure!(text.contains(&format!("\r\n{name}: {value}\r\n")), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn names_are_found_in_any_case_and_kept_apart_by_domain() -> anyhow::Result<()> {
    let relays = shared_federation()?;
    let target = &relays.target;
    let alice = Person::new(target)?;
    let mut submission = alice.submission(target).await?;
    let mut people = Vec::new();
    let mut envelope = Envelope::new(&alice.address, "");
    envelope.recipients.clear();
    for peer in &relays.peers {
        for _ in 0..3 {
            let person = Person::new(peer)?;
            person.log_in(peer).await?;
            envelope
                .recipients
                .push(person.address.to_string().to_uppercase());
            people.push((peer, person));
        }
    }
    let message = alice.writes_to(&people[0].1)?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    eventually("a copy for each", || {
        Ok(people
            .iter()
            .all(|(peer, person)| delivered(peer, person) == 1))
    })
    .await
}
