//! One relay on several machines, of which some are away, slow, or new.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use testbed::Target;
use testbed::client::{Envelope, ImapError};
use testbed::cluster::Cluster;
use tokio::time::sleep;

use crate::cluster::{arrived, backend_of, two_people, unhurried, writes};
use crate::fixture::{PATIENCE, Person, accepted, eventually, messages, random_name, send};

/// What a login came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoggedIn {
    Yes,
    /// Try again.
    NotNow,
    /// The password is wrong, it is said.
    No,
}

async fn logs_in(front: &Target, person: &Person) -> anyhow::Result<LoggedIn> {
    match person.log_in(front).await {
        Ok(client) => {
            client.logout().await?;
            Ok(LoggedIn::Yes)
        }
        Err(ImapError::Unavailable { .. } | ImapError::Client(_)) => Ok(LoggedIn::NotNow),
        Err(ImapError::AuthenticationFailed { .. }) => Ok(LoggedIn::No),
        Err(error) => Err(error.into()),
    }
}

/// Waits until somebody gets in, who is never told of a wrong password.
async fn gets_in(front: &Target, person: &Person) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match logs_in(front, person).await? {
            LoggedIn::Yes => return Ok(()),
            LoggedIn::NotNow => {}
            LoggedIn::No => anyhow::bail!("told of a wrong password"),
        }
        ensure!(std::time::Instant::now() < deadline, "not let in");
        sleep(Duration::from_millis(200)).await;
    }
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn mail_for_a_backend_that_is_away_waits_at_the_front_and_nobody_else_does() -> anyhow::Result<()> {
    let cluster = Cluster::start(&unhurried())?;
    let [one, two] = cluster.fronts.as_slice() else {
        anyhow::bail!("not two fronts")
    };
    cluster.run(async || {
        let (alice, bob) = two_people(&cluster).await?;
        let mut bobs = bob.submission(two).await?;
        cluster.unplug("back2")?;

        // His own mailbox is away, and he is told so; what he sends goes out.
        assert_eq!(logs_in(two, &bob).await?, LoggedIn::NotNow);
        let message = bob.writes_to(&alice)?;
        let envelope = Envelope::new(&bob.address, &alice.address);
        accepted(&send(&mut bobs, &envelope, &message).await?)?;
        arrived(one, &alice, &message, 1).await?;

        let waiting = writes(one, &alice, &bob).await?;
        let log = one.state_dir.join("log/postfix.log");
        eventually("Postfix keeps it", || {
            let text = std::fs::read_to_string(&log)?;
            let about = format!("to=<{}>", bob.address);
            let mut lines = text.lines();
            Ok(lines.any(|line| line.contains(&about) && line.contains("status=deferred")))
        })
        .await?;
        // Mail to the other one overtakes it.
        let message = writes(one, &alice, &alice).await?;
        arrived(two, &alice, &message, 2).await?;

        cluster.plug_in("back2")?;
        gets_in(two, &bob).await?;
        arrived(two, &bob, &waiting, 1).await
    })?;
    cluster.stop()
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn no_account_that_somebody_has_got_is_lost_when_the_database_fails_over() -> anyhow::Result<()> {
    let cluster = Cluster::start(&unhurried().with_standby())?;
    let [primary, standby] = cluster.databases.as_slice() else {
        anyhow::bail!("no standby")
    };
    cluster.run(async || {
        let before = Person::new(&cluster.fronts[0])?;
        for front in &cluster.fronts {
            gets_in(front, &before).await?;
        }
        let (made, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let makes = async |front: &Target| -> anyhow::Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let person = Person::new(front)?;
                match logs_in(front, &person).await? {
                    LoggedIn::Yes => made.lock().unwrap().push(person),
                    LoggedIn::NotNow => sleep(Duration::from_millis(100)).await,
                    LoggedIn::No => anyhow::bail!("told of a wrong password"),
                }
            }
            Ok(())
        };
        let count = || made.lock().unwrap().len();
        let fails_over = async {
            eventually("accounts are made", || Ok(count() >= 10)).await?;
            // As when the machine dies: with whatever it was doing.
            cluster.unplug(&primary.host)?;
            primary.kill()?;
            let so_far = count();
            gets_in(&cluster.fronts[0], &before).await?;
            standby.promote()?;
            eventually("accounts are made again", || Ok(count() >= so_far + 10)).await?;
            stop.store(true, Ordering::Relaxed);
            anyhow::Ok(())
        };
        let (first, second) = (&cluster.fronts[0], &cluster.fronts[1]);
        tokio::try_join!(makes(first), makes(second), fails_over)?;

        let made = made.into_inner().unwrap();
        println!("{} accounts were made", made.len());
        for person in made.iter().chain([&before]) {
            let select = format!(
                "SELECT count(*) FROM accounts WHERE address = '{}'",
                person.address
            );
            assert_eq!(standby.sql(&select)?, "1", "an account is lost");
        }
        // Whoever was made last is somebody to write to.
        let last = made.last().context("nobody")?;
        let message = writes(second, &before, last).await?;
        arrived(first, last, &message, 1).await
    })?;
    cluster.stop()
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn a_database_that_is_slow_or_out_of_connections_lets_those_in_who_are_known() -> anyhow::Result<()>
{
    let cluster = Cluster::start(&unhurried())?;
    let front = &cluster.fronts[0];
    let database = &cluster.databases[0];
    cluster.run(async || {
        let (alice, bob) = two_people(&cluster).await?;
        let message = writes(front, &alice, &bob).await?;
        arrived(front, &bob, &message, 1).await?;
        let troubles = ["slow", "silent", "out of connections"];
        for (count, trouble) in (1..).zip(troubles) {
            match trouble {
                // An answer takes many seconds.
                "slow" => cluster.slow_down(&database.host, 1000)?,
                "silent" => cluster.unplug(&database.host)?,
                _ => database.refuse_connections()?,
            }
            let context = || format!("while the database is {trouble}");
            for person in [&alice, &bob] {
                gets_in(front, person).await.with_context(context)?;
            }
            let stranger = Person {
                password: random_name(20),
                ..alice.clone()
            };
            let refused = logs_in(front, &stranger).await?;
            ensure!(refused != LoggedIn::Yes, "a wrong password is right");
            let new = Person::new(front)?;
            let refused = logs_in(front, &new).await?;
            assert_eq!(refused, LoggedIn::NotNow, "{trouble}");
            let message = writes(front, &bob, &alice).await.with_context(context)?;
            match trouble {
                "slow" => cluster.speed_up(&database.host)?,
                "silent" => cluster.plug_in(&database.host)?,
                _ => database.accept_connections()?,
            }
            gets_in(front, &new).await.with_context(context)?;
            let mut inbox = alice.inbox(front).await?;
            let found = messages(&mut inbox, count).await.with_context(context)?;
            assert_eq!(found.len(), count, "{trouble}");
            ensure!(found[count - 1].message.ends_with(&message.body));
        }
        Ok(())
    })?;
    cluster.stop()
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn each_backend_removes_its_own_mailboxes_and_rows_go_once() -> anyhow::Result<()> {
    let cluster = Cluster::start(&unhurried())?;
    cluster.run(async || {
        let (alice, bob) = two_people(&cluster).await?;
        let (old, older) = two_people(&cluster).await?;
        for person in [&old, &older] {
            let age = format!(
                "UPDATE accounts SET last_login = 1 WHERE address = '{}'",
                person.address
            );
            cluster.databases[0].sql(&age)?;
        }
        for (backend, gone) in cluster.backends.iter().zip([&old, &older]) {
            let mailbox = backend.mailboxes_dir.join(gone.address.to_string());
            ensure!(mailbox.exists(), "no mailbox to remove");
            let mut job = cluster.command(backend, "expiry-cron")?;
            let output = job
                .args(["run", "--remove", "--login-window", "0"])
                .output()?;
            ensure!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            ensure!(!mailbox.exists(), "a mailbox is left on {}", backend.name);
            assert_eq!(backend_of(&cluster, &gone.address)?, "");
        }
        for person in [&alice, &bob] {
            gets_in(&cluster.fronts[1], person).await?;
        }
        // They were told so, and not that anybody could have the address.
        for person in [&old, &older] {
            assert_eq!(logs_in(&cluster.fronts[0], person).await?, LoggedIn::No);
        }
        Ok(())
    })?;
    cluster.stop()
}
