//! The nightly job on a relay that runs: what users notice of it, and what they do not. Each on a relay
//! of its own, since there is one run at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use testbed::client::ImapError;
use testbed::host::users::{MAIL_USER, Owner};
use testbed::{Target, TestRelay, binaries};

use crate::fixture::{
    Correspondents, Outsider, Person, accepted, eventually, messages, send, unhurried,
};

const DAY: u64 = 86_400;

fn home(target: &Target, person: &Person) -> PathBuf {
    target.mailboxes_dir.join(person.address.to_string())
}

/// The program as the timer starts it, as the mail user.
fn expiry_cron(target: &Target, arguments: &[&str]) -> anyhow::Result<Command> {
    use std::os::unix::process::CommandExt as _;

    let owner = Owner::of(MAIL_USER)?;
    let mut command = Command::new(binaries::release("expiry-cron")?);
    command
        .arg("--config")
        .arg(&target.chatmail_ini)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .uid(owner.uid.as_raw())
        .gid(owner.gid.as_raw());
    Ok(command)
}

/// What a run that must succeed has counted.
fn counts(output: &Output) -> anyhow::Result<serde_json::Value> {
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {told}", output.status);
    let shown = std::str::from_utf8(&output.stdout)?;
    let line = shown.lines().nth(1).context("a second line")?;
    Ok(serde_json::from_str(line)?)
}

fn set_age(path: &Path, days: u64) -> anyhow::Result<()> {
    let time = SystemTime::now() - Duration::from_secs(days * DAY);
    fs::File::open(path)?.set_modified(time)?;
    Ok(())
}

/// The messages of an inbox on disk.
fn files(home: &Path) -> Vec<PathBuf> {
    let parts = ["cur", "new"].map(|part| home.join(part));
    let entries = parts.iter().filter_map(|part| fs::read_dir(part).ok());
    let entries = entries.flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[tokio::test]
async fn old_mail_goes_from_under_a_client_that_is_logged_in() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    for before in 0..3 {
        people.send_good(before).await?;
    }
    let bob = home(target, &people.bob);
    let all = files(&bob);
    ensure!(all.len() == 3, "{all:?}");
    for old in &all[..2] {
        set_age(old, 21)?;
    }
    let dry = counts(&expiry_cron(target, &["run"])?.output()?)?;
    ensure!(dry["removed_old"] == 2, "{dry}");
    ensure!(files(&bob).len() == 3, "a dry run removed something");

    let done = counts(&expiry_cron(target, &["run", "--remove"])?.output()?)?;
    ensure!(done["removed_old"] == 2, "{done}");
    ensure!(files(&bob) == [all[2].clone()], "{:?}", files(&bob));
    // The session goes on: the next look shows what is there, and new mail comes.
    let left = messages(&mut people.inbox, 1).await?;
    ensure!(left.len() == 1, "{} messages", left.len());
    people.send_good(1).await?;
    // Dovecot has counted anew, by what is on disk.
    let used = people.inbox.command("GETQUOTA \"User quota\"").await?;
    ensure!(bob.join("maildirsize").exists(), "not counted: {used:?}");
    relay.stop()
}

#[tokio::test]
async fn an_unused_account_goes_and_nobody_gets_its_address() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let mut outsider = Outsider::new(&relay).await?;
    let bob = outsider.bob.clone();
    let message = outsider.domain.sign(&outsider.writes()?)?;
    outsider.delivers(&message, 0).await?;
    set_age(&home(target, &bob).join("password"), 91)?;
    let arguments = ["run", "--remove", "--login-window", "0"];
    let done = counts(&expiry_cron(target, &arguments)?.output()?)?;
    ensure!(done["removed_mailboxes"] == 1, "{done}");
    ensure!(!home(target, &bob).exists());

    match bob.log_in(target).await {
        Err(ImapError::AuthenticationFailed { .. }) => {}
        other => anyhow::bail!("the address was taken over: {:?}", other.map(|_| ())),
    }
    ensure!(!home(target, &bob).exists());
    let refused = outsider.send(&message).await?;
    let [reply] = refused.recipients.as_slice() else {
        anyhow::bail!("not one reply")
    };
    assert_eq!(reply.to_string(), "550 5.1.1 No such user here");
    // Everybody else is there.
    let carol = Person::new(target)?;
    carol.log_in(target).await?;
    relay.stop()
}

#[tokio::test]
async fn a_login_while_an_account_is_being_deleted_keeps_it() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    people.send_good(0).await?;
    let bob = home(target, &people.bob);
    set_age(&bob.join("password"), 91)?;

    // Told to stop, the run would take back the deletion by itself: so it has to come to its end.
    let arguments = ["run", "--remove", "--login-window", "40"];
    let running = expiry_cron(target, &arguments)?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let marked = || Ok(bob.join("password.expiring").exists());
    eventually("an account that is about to be deleted", marked).await?;
    // Mail still comes in.
    people.send_good(1).await?;
    let again = people.bob.inbox(target).await?;
    let output = tokio::task::spawn_blocking(|| running.wait_with_output()).await??;
    let done = counts(&output)?;
    ensure!(done["kept_accounts"] == 1, "{done}");

    again.logout().await?;
    people.send_good(2).await?;
    let file = fs::metadata(bob.join("password"))?;
    let age = SystemTime::now().duration_since(file.modified()?)?;
    ensure!(age.as_secs() < 2 * DAY, "the login was not noted: {age:?}");
    relay.stop()
}

#[tokio::test]
async fn a_mailbox_that_gets_full_loses_its_oldest_messages() -> anyhow::Result<()> {
    const MEBIBYTE: u64 = 1 << 20;
    let relay = TestRelay::start(unhurried().with("max_mailbox_size", 10 * MEBIBYTE))?;
    let target = &relay.target;
    let (alice, bob) = (Person::new(target)?, Person::new(target)?);
    bob.log_in(target).await?.logout().await?;
    // Eight messages of a mebibyte, from nine days ago to two.
    let inbox = home(target, &bob);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let owner = Owner::of(MAIL_USER)?;
    for days in 2..10 {
        let arrived = now - days * DAY;
        let name = format!("{arrived}.M1P1.test,S={MEBIBYTE},W={MEBIBYTE}:2,S");
        let path = inbox.join("cur").join(name);
        fs::create_dir_all(inbox.join("cur"))?;
        fs::write(&path, vec![b'x'; usize::try_from(MEBIBYTE)?])?;
        owner.own(&path)?;
        set_age(&path, days)?;
    }
    owner.own(&inbox.join("cur"))?;
    // As if they had been delivered: Dovecot counts what is there.
    match fs::remove_file(inbox.join("maildirsize")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut submission = alice.submission(target).await?;
    let envelope = testbed::client::Envelope::new(&alice.address, &bob.address);
    let size = usize::try_from(3 * MEBIBYTE / 2)?;
    let message = testbed::mail::encrypted(&alice.address, &bob.address, size)?;
    accepted(&send(&mut submission, &envelope, &message).await?)?;

    let trimmed = || {
        let left = files(&inbox);
        let sizes = left.iter().map(|path| Ok(fs::metadata(path)?.len()));
        let total: u64 = sizes.sum::<std::io::Result<u64>>().unwrap_or(u64::MAX);
        Ok(total <= 7 * MEBIBYTE && left.len() > 1)
    };
    eventually("room in the mailbox", trimmed).await?;
    let left = files(&inbox);
    let oldest = left.iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        name.split('.').next()?.parse::<u64>().ok()
    });
    let oldest = oldest.min().context("an empty mailbox")?;
    ensure!(
        oldest >= now - 7 * DAY - 60,
        "the oldest are there: {left:?}"
    );
    // The new one has arrived, and more can.
    let mut inbox = bob.inbox(target).await?;
    let before = left.len();
    accepted(&send(&mut submission, &envelope, &message).await?)?;
    let all = messages(&mut inbox, before + 1).await?;
    let last = all.last().context("no message")?;
    ensure!(last.message.ends_with(&message.body), "another message");
    relay.stop()
}
