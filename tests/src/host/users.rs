//! The system users that a relay's parts run as.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::unistd::{Gid, Group, Uid, User};

/// Owns the mailboxes; doveauth and Dovecot's mail processes run as it.
pub const MAIL_USER: &str = "vmail";

/// The milter's user, which may not read a mailbox.
pub const FILTER_USER: &str = "filtermail";

/// Makes the users that are missing, without home, password or shell.
///
/// # Errors
/// `useradd` failed.
pub fn ensure_exist() -> anyhow::Result<()> {
    for name in [MAIL_USER, FILTER_USER] {
        if User::from_name(name)?.is_some() {
            continue;
        }
        let status = Command::new("useradd")
            .args(["--system", "--user-group", "--no-create-home"])
            .args([
                "--home-dir",
                "/nonexistent",
                "--shell",
                "/usr/sbin/nologin",
                name,
            ])
            .status()
            .context("running useradd")?;
        ensure!(
            status.success(),
            "`useradd --system {name}` failed: {status}"
        );
    }
    Ok(())
}

/// A user and its primary group, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user id.
    pub uid: Uid,
    /// The group id.
    pub gid: Gid,
}

impl Owner {
    /// The superuser.
    pub const ROOT: Self = Self {
        uid: Uid::from_raw(0),
        gid: Gid::from_raw(0),
    };

    /// Looks a user up by name.
    ///
    /// # Errors
    /// There is no such user.
    pub fn of(name: &str) -> anyhow::Result<Self> {
        let user = User::from_name(name)?.with_context(|| format!("there is no user `{name}`"))?;
        Ok(Self {
            uid: user.uid,
            gid: user.gid,
        })
    }

    /// The same user with another group.
    ///
    /// # Errors
    /// There is no such group.
    pub fn with_group(self, name: &str) -> anyhow::Result<Self> {
        let group =
            Group::from_name(name)?.with_context(|| format!("there is no group `{name}`"))?;
        Ok(Self {
            gid: group.gid,
            ..self
        })
    }

    /// Gives a file or folder to this user and group.
    ///
    /// # Errors
    /// The path does not exist, or we are not root.
    pub fn own(self, path: &Path) -> anyhow::Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
            .with_context(|| format!("changing the owner of {}", path.display()))
    }
}
