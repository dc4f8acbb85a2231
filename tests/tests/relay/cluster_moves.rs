//! An account goes from one backend to another.

use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use testbed::client::Envelope;
use testbed::client::imap::Argument;
use testbed::cluster::Cluster;
use testbed::mail::Message;
use tokio::time::sleep;

use crate::cluster::{arrived, backend_of, two_people, unhurried, writes};
use crate::fixture::{Person, accepted, messages, send};

fn moving(cluster: &Cluster, from: &str, person: &Person, to: &str) -> anyhow::Result<Command> {
    let mut command = cluster.command(cluster.backend(from)?, "doveauth")?;
    command.args(["accounts", "move", &person.address.to_string(), to]);
    Ok(command)
}

fn moved(output: &Output) -> anyhow::Result<()> {
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Where there is something of a mailbox.
fn mailboxes(cluster: &Cluster, person: &Person) -> Vec<String> {
    let address = person.address.to_string();
    let there = cluster
        .backends
        .iter()
        .filter(|backend| backend.mailboxes_dir.join(&address).exists());
    there.map(|backend| backend.name.clone()).collect()
}

/// Waits until a mailbox holds each of these messages exactly once, and nothing else.
async fn has_exactly(
    cluster: &Cluster,
    person: &Person,
    expected: &[Message],
) -> anyhow::Result<()> {
    let mut inbox = person.inbox(&cluster.fronts[0]).await?;
    let found = messages(&mut inbox, expected.len()).await?;
    for message in expected {
        let copies = found
            .iter()
            .filter(|one| one.message.ends_with(&message.body));
        ensure!(copies.count() == 1, "a message is not there once");
    }
    ensure!(found.len() == expected.len(), "{} messages", found.len());
    Ok(())
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn an_account_moves_with_its_mail_and_tokens_while_mail_comes_in() -> anyhow::Result<()> {
    let cluster = Cluster::start(&unhurried())?;
    let (one, two) = (&cluster.fronts[0], &cluster.fronts[1]);
    cluster.run(async || {
        let (alice, bob) = two_people(&cluster).await?;
        let seen = writes(one, &alice, &bob).await?;
        arrived(two, &bob, &seen, 1).await?;
        let mut inbox = bob.inbox(two).await?;
        inbox.command("UID STORE 1 +FLAGS (\\Flagged)").await?;
        let setting = "SETMETADATA INBOX (/private/devicetoken \"a-token\")";
        inbox.command(setting).await?;
        inbox
            .command("SETMETADATA INBOX (/private/devicetoken \"another\")")
            .await?;

        let sent = Mutex::new(vec![seen]);
        let stop = AtomicBool::new(false);
        let writes_all_the_time = async {
            let mut submission = alice.submission(one).await?;
            let envelope = Envelope::new(&alice.address, &bob.address);
            while !stop.load(Ordering::Relaxed) {
                let message = alice.writes_to(&bob)?;
                accepted(&send(&mut submission, &envelope, &message).await?)?;
                sent.lock().unwrap().push(message);
                sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        // There and back, twice: what is left of the time before does not come again.
        let moves = async {
            for (from, to) in [("back2", "back1"), ("back1", "back2"), ("back2", "back1")] {
                let command = moving(&cluster, from, &bob, to)?;
                moved(&tokio::process::Command::from(command).output().await?)?;
                assert_eq!(backend_of(&cluster, &bob.address)?, to);
                ensure!(!mailboxes(&cluster, &bob).contains(&from.to_owned()));
                sleep(Duration::from_millis(500)).await;
            }
            stop.store(true, Ordering::Relaxed);
            anyhow::Ok(())
        };
        tokio::try_join!(writes_all_the_time, moves)?;

        let sent = sent.into_inner().unwrap();
        println!("{} messages came in meanwhile", sent.len() - 1);
        has_exactly(&cluster, &bob, &sent).await?;
        // Whoever had a session has to log in again.
        ensure!(inbox.command("NOOP").await.is_err(), "a session goes on");
        let mut inbox = bob.inbox(two).await?;
        let flags = inbox.command("UID FETCH 1 (FLAGS)").await?;
        let flags = format!("{:?}", flags.untagged);
        ensure!(flags.contains("Flagged"), "{flags}");
        let asking = Argument::Text("GETMETADATA INBOX /private/devicetoken".to_owned());
        let told = inbox.compose(&[asking]).await?;
        let mut literals = told.untagged.iter().filter_map(|line| line.literal());
        let tokens = literals.next().context("no tokens")?;
        let mut tokens: Vec<_> = std::str::from_utf8(tokens)?.split(' ').collect();
        tokens.sort_unstable();
        assert_eq!(tokens, ["a-token", "another"]);
        Ok(())
    })?;
    cluster.stop()
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn a_move_that_was_killed_goes_on_or_is_given_up_and_no_mail_is_lost() -> anyhow::Result<()> {
    let cluster = Cluster::start(&unhurried())?;
    let one = &cluster.fronts[0];
    cluster.run(async || {
        let (alice, bob) = two_people(&cluster).await?;
        let mut sent = Vec::new();
        for _ in 0..20 {
            sent.push(writes(one, &alice, &bob).await?);
        }
        has_exactly(&cluster, &bob, &sent).await?;
        let mut at = "back2";
        // Whatever it is at by then: a call takes about half a second.
        for milliseconds in (10..600).step_by(60) {
            let to = if at == "back2" { "back1" } else { "back2" };
            let mut command = tokio::process::Command::from(moving(&cluster, at, &bob, to)?);
            let mut child = command.kill_on_drop(true).spawn()?;
            sleep(Duration::from_millis(milliseconds)).await;
            child.kill().await?;
            sent.push(writes(one, &alice, &bob).await?);
            if milliseconds % 120 == 10 {
                let again = moving(&cluster, at, &bob, to)?;
                moved(&tokio::process::Command::from(again).output().await?)?;
                at = to;
            } else if backend_of(&cluster, &bob.address)? == at {
                let given_up = moving(&cluster, at, &bob, at)?;
                moved(&tokio::process::Command::from(given_up).output().await?)?;
            } else {
                // It was over but for what is left here.
                let again = moving(&cluster, at, &bob, to)?;
                moved(&tokio::process::Command::from(again).output().await?)?;
                at = to;
            }
            has_exactly(&cluster, &bob, &sent)
                .await
                .with_context(|| format!("killed after {milliseconds} ms"))?;
        }
        Ok(())
    })?;
    cluster.stop()
}
