//! One relay on several machines: two fronts, two backends, a database.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context as _, ensure};
use chatmail::Address;
use testbed::Target;
use testbed::authority::Certificate;
use testbed::client::{Envelope, ImapError};
use testbed::cluster::{Cluster, ClusterOptions};
use testbed::deltachat::{DeltaChat, PATIENCE, make_contact};
use testbed::dns::Data;
use testbed::foreign::{self, ForeignDomain};
use testbed::mail;
use testbed::peers::{By, Letter, Manner, Peer, classic};

use crate::fixture::{
    Person, accepted, delta_chat_account, eventually, messages, random_name, send,
};

/// A cluster where nobody runs into the sending rate.
pub(crate) fn unhurried() -> ClusterOptions {
    ClusterOptions::default()
        .with("max_user_send_burst_size", 10_000)
        .with("max_user_send_per_minute", 10_000)
}

/// The cluster of all tests that leave it as they found it. It ends with the last of them.
pub(crate) fn shared_cluster() -> anyhow::Result<Arc<Cluster>> {
    static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut known = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = known.upgrade() {
        return Ok(running);
    }
    let started = Arc::new(Cluster::start(&unhurried())?);
    *known = Arc::downgrade(&started);
    Ok(started)
}

/// The backend that an account is pinned to, by the database.
pub(crate) fn backend_of(cluster: &Cluster, address: &Address) -> anyhow::Result<String> {
    let select = format!("SELECT backend FROM accounts WHERE address = '{address}'");
    cluster.databases[0].sql(&select)
}

/// Two new people whose mailboxes are on `back1` and `back2`, each known to both fronts and with an inbox.
pub(crate) async fn two_people(cluster: &Cluster) -> anyhow::Result<(Person, Person)> {
    let mut there: [Option<Person>; 2] = [None, None];
    // Others make accounts too.
    for _ in 0..100 {
        let person = Person::new(&cluster.fronts[0])?;
        for front in &cluster.fronts {
            person.inbox(front).await?.logout().await?;
        }
        let index = usize::from(backend_of(cluster, &person.address)? == "back2");
        there[index] = Some(person);
        if let [Some(one), Some(two)] = &there {
            return Ok((one.clone(), two.clone()));
        }
    }
    anyhow::bail!("all accounts are on one backend")
}

/// Somebody writes to somebody, by way of a front.
pub(crate) async fn writes(
    front: &Target,
    from: &Person,
    to: &Person,
) -> anyhow::Result<mail::Message> {
    let message = from.writes_to(to)?;
    let envelope = Envelope::new(&from.address, &to.address);
    let mut submission = from.submission(front).await?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    Ok(message)
}

/// Waits until an inbox holds `count` messages, of which the last is this one.
pub(crate) async fn arrived(
    front: &Target,
    person: &Person,
    message: &mail::Message,
    count: usize,
) -> anyhow::Result<()> {
    let mut inbox = person.inbox(front).await?;
    let found = messages(&mut inbox, count).await?;
    ensure!(found.len() == count, "{} messages", found.len());
    let last = found.last().context("an empty inbox")?;
    ensure!(last.message.ends_with(&message.body), "another message");
    Ok(())
}

#[test]
fn delta_chat_users_on_different_backends_chat() -> anyhow::Result<()> {
    let cluster = shared_cluster()?;
    let [one, two] = cluster.fronts.as_slice() else {
        anyhow::bail!("not two fronts")
    };
    cluster.run(async || {
        let folder = tempfile::tempdir()?;
        let clients = DeltaChat::start(folder.path()).await?;
        let (alices, mut alice) = delta_chat_account(&clients, one).await?;
        let alices_backend = backend_of(&cluster, &alices.address)?;
        let (bobs, mut bob) = loop {
            // Other tests make accounts as well.
            let (person, account) = delta_chat_account(&clients, two).await?;
            if backend_of(&cluster, &person.address)? != alices_backend {
                break (person, account);
            }
        };
        let (alices_chat, bobs_chat) = make_contact(&mut alice, &mut bob, PATIENCE).await?;
        alice.send_text(alices_chat, "Hello Bob").await?;
        let received = bob.receive(PATIENCE).await?;
        assert_eq!(received.text, "Hello Bob");
        assert!(received.show_padlock, "not encrypted end to end");
        bob.send_text(bobs_chat, "Hello Alice").await?;
        assert_eq!(alice.receive(PATIENCE).await?.text, "Hello Alice");

        for person in [&alices, &bobs] {
            let backend = backend_of(&cluster, &person.address)?;
            for host in cluster.fronts.iter().chain(&cluster.backends) {
                let mailbox = host.mailboxes_dir.join(person.address.to_string());
                assert_eq!(mailbox.exists(), host.name == backend, "{}", host.name);
            }
        }
        Ok(())
    })
}

#[test]
fn each_front_takes_mail_from_outside_for_each_backend() -> anyhow::Result<()> {
    let cluster = shared_cluster()?;
    cluster.run(async || {
        let (alice, bob) = two_people(&cluster).await?;
        let dns = cluster.fronts[0].dns.as_ref().context("no DNS")?;
        let domain = format!("{}.test", random_name(9));
        let manner = Manner {
            https: Some(classic::receiver()),
            certificate: Certificate::Right,
            smtp: false,
        };
        let peer = Peer::start(&cluster.fronts[0], &domain, manner).await?;
        let foreign = ForeignDomain::new(dns, &domain)?;
        let carol: Address = format!("carol@{domain}").parse()?;
        let mut count = 0;
        for front in &cluster.fronts {
            let host = format!("{}.test", front.name);
            let exchanger = Data::Mx(10, host);
            dns.set(&front.domain, 60, &[exchanger])?;
            // Who remembers no other.
            let sender = Peer::announce(front, &format!("{}.test", random_name(9)))?;
            count += 2;
            for person in [&alice, &bob] {
                // By SMTP.
                let message = mail::encrypted(&carol, &person.address, 3000)?;
                let message = foreign.sign(&message)?;
                let mut smtp = foreign::connect(front).await?;
                let envelope = Envelope::new(&carol, &person.address);
                accepted(&send(&mut smtp, &envelope, &message).await?)?;
                arrived(front, person, &message, count - 1).await?;
                // Over HTTPS.
                let message = mail::encrypted(&carol, &person.address, 3000)?;
                let message = foreign.sign(&message)?;
                let (from, recipient) = (carol.to_string(), person.address.to_string());
                let letter = Letter {
                    sender: &from,
                    recipients: &[&recipient],
                    message: &message.to_bytes(),
                };
                let before = front.posts(200)?;
                classic::send(&sender, &letter).await?;
                arrived(front, person, &message, count).await?;
                eventually("nginx to count it", || Ok(front.posts(200)? > before)).await?;
            }
            // Nobody gets a report for what was never taken.
            let nobody = format!("{}@{}", random_name(9), front.domain);
            let mut smtp = foreign::connect(front).await?;
            smtp.command(&format!("MAIL FROM:<{carol}>")).await?;
            let reply = smtp.command(&format!("RCPT TO:<{nobody}>")).await?;
            assert_eq!(reply.to_string(), "550 5.1.1 No such user here");

            // And out, over HTTPS.
            let received = peer.received().len();
            let message = mail::encrypted(&bob.address, &carol, 3000)?;
            let mut submission = bob.submission(front).await?;
            let envelope = Envelope::new(&bob.address, &carol);
            accepted(&send(&mut submission, &envelope, &message).await?)?;
            eventually("the answer", || Ok(peer.received().len() > received)).await?;
            let last = peer.received().pop().context("nothing")?;
            ensure!(last.by == By::Https && last.message.ends_with(&message.body));
        }
        Ok(())
    })
}

#[test]
fn while_the_database_is_away_those_who_are_known_go_on_and_nobody_is_told_of_a_wrong_password()
-> anyhow::Result<()> {
    let cluster = Cluster::start(&unhurried())?;
    let [one, two] = cluster.fronts.as_slice() else {
        anyhow::bail!("not two fronts")
    };
    cluster.run(async || {
        let (alice, bob) = two_people(&cluster).await?;
        let mut open = alice.submission(one).await?;
        let mut inbox = bob.inbox(two).await?;
        let message = writes(one, &alice, &bob).await?;
        arrived(two, &bob, &message, 1).await?;

        cluster.databases[0].stop()?;
        // Sessions go on.
        let envelope = Envelope::new(&alice.address, &bob.address);
        let message = alice.writes_to(&bob)?;
        accepted(&send(&mut open, &envelope, &message).await?)?;
        assert_eq!(messages(&mut inbox, 2).await?.len(), 2);
        // Who is known gets in.
        let message = writes(one, &bob, &alice).await?;
        arrived(two, &alice, &message, 1).await?;
        // Whether a password is wrong is known too.
        let stranger = Person {
            password: random_name(20),
            ..alice.clone()
        };
        let refused = stranger.log_in(one).await.err();
        ensure!(
            matches!(refused, Some(ImapError::AuthenticationFailed { .. })),
            "{refused:?}"
        );
        // Nobody else does, for the time being.
        let new = Person::new(one)?;
        let refused = new.log_in(two).await.err();
        ensure!(
            matches!(refused, Some(ImapError::Unavailable { .. })),
            "{refused:?}"
        );

        cluster.databases[0].start()?;
        new.inbox(two).await?;
        writes(two, &new, &alice).await.map(drop)
    })?;
    cluster.stop()
}
