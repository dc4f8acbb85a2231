//! The mailboxes cannot be read or written: clients are told to try again, never that their
//! password is wrong, and what works for others goes on working.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use testbed::client::{ImapError, Security, SmtpClient};
use testbed::{Target, TestRelay};

use crate::fixture::{Correspondents, Person, unhurried};

/// An error unless IMAP calls the login a temporary failure, and SMTP refuses it. (Dovecot says
/// that it is temporary, but Postfix up to 3.7 has 535 for all that Dovecot does not let in.)
async fn told_to_try_again(target: &Target, person: &Person) -> anyhow::Result<()> {
    match person.log_in(target).await {
        Ok(_) => bail!("IMAP: let in"),
        Err(ImapError::Unavailable { .. }) => {}
        Err(other) => return Err(other).context("IMAP"),
    }
    let mut client = SmtpClient::connect(&target.smtps, Security::TLS).await?;
    client.hello().await?;
    let login = person.address.to_string();
    let reply = client.auth_plain(&login, &person.password).await?;
    ensure!([454, 535].contains(&reply.code), "SMTP: {reply}");
    Ok(())
}

fn home(target: &Target, person: &Person) -> PathBuf {
    target.mailboxes_dir.join(person.address.to_string())
}

#[tokio::test]
async fn a_mailbox_that_is_a_file() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    let doveauth = relay.pid("doveauth")?;
    let carol = Person::new(target)?;
    fs::write(home(target, &carol), "this is no folder")?;

    told_to_try_again(target, &carol).await?;
    people.send_good(0).await?;

    fs::remove_file(home(target, &carol))?;
    carol.log_in(target).await?;
    assert_eq!(relay.pid("doveauth")?, doveauth);
    relay.stop()
}

#[tokio::test]
async fn mailboxes_that_cannot_be_written() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    let doveauth = relay.pid("doveauth")?;
    let folder = &target.mailboxes_dir;
    let vmail = nix::unistd::User::from_name("vmail")?.context("no user vmail")?;

    // vmail may pass through the folder and write nothing into it.
    chown(folder, Some(0), None)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    let carol = Person::new(target)?;
    told_to_try_again(target, &carol).await?;
    assert!(!home(target, &carol).exists());
    people
        .bob
        .log_in(target)
        .await
        .context("an account that was there")?;
    people.send_good(0).await?;

    // vmail may not even look.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    told_to_try_again(target, &people.bob)
        .await
        .context("an account that was there")?;
    told_to_try_again(target, &carol).await?;

    chown(folder, Some(vmail.uid.as_raw()), None)?;
    carol.log_in(target).await?;
    people.bob.log_in(target).await?;
    people.send_good(1).await?;
    assert_eq!(relay.pid("doveauth")?, doveauth);
    relay.stop()
}

/// A small file system of its own, taken away at the end whatever happens.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(bytes: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let status = std::process::Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={bytes},mode=755"),
                "tmpfs",
            ])
            .arg(folder.path())
            .status()?;
        ensure!(status.success(), "cannot mount a tmpfs: {status}");
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all space that is left.
    fn fill(&self) -> anyhow::Result<PathBuf> {
        use std::io::Write as _;

        let path = self.path().join("filler");
        let mut file = fs::File::create(&path)?;
        let block = [0x55; 512];
        let full = loop {
            if let Err(error) = file.write_all(&block) {
                break error;
            }
        };
        ensure!(full.kind() == std::io::ErrorKind::StorageFull, "{full}");
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.folder.path();
        // At once for the path, and for the rest when the last process has closed its files.
        let status = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(path)
            .status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("warning: {} stays mounted", path.display());
        }
    }
}

#[tokio::test]
async fn a_full_disk() -> anyhow::Result<()> {
    let disk = SmallDisk::mount(4 << 20)?;
    let mailboxes = disk.path().join("mail");
    let options = unhurried()
        .with("mailboxes_dir", mailboxes.display())
        // Otherwise nobody would get far enough to find the disk full.
        .with("min_free_disk_space", 0);
    let relay = TestRelay::start(options)?;
    let target = &relay.target;
    let mut people = Correspondents::new(target).await?;
    people.send_good(0).await?;
    let doveauth = relay.pid("doveauth")?;

    let filler = disk.fill()?;
    let carol = Person::new(target)?;
    told_to_try_again(target, &carol).await?;
    // To send one needs no space there, and an acknowledged message waits until there is some.
    let message = people.alice.writes_to(&people.bob)?;
    people.submission = people.alice.submission(target).await?;
    crate::fixture::accepted(&people.send(&message).await?)?;

    fs::remove_file(filler)?;
    carol.log_in(target).await?;
    let arrived = crate::fixture::messages(&mut people.bob.inbox(target).await?, 2).await?;
    let found = arrived
        .iter()
        .any(|found| found.message.ends_with(&message.body));
    assert!(found, "acknowledged on a full disk, and lost");
    assert_eq!(relay.pid("doveauth")?, doveauth);
    relay.stop()
}
