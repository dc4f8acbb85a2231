//! The system users that a relay's parts run as.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::unistd::{Gid, Group, Uid, User};

/// Owns the mailboxes; doveauth and Dovecot's mail processes run as it.
pub const MAIL_USER: &str = "vmail";

/// The milter's user, which may not read a mailbox.
pub const FILTER_USER: &str = "filtermail";

/// The bridge's user, which may not read a mailbox either.
pub const BRIDGE_USER: &str = "mxdeliv";

/// iroh-relay's user, which may read nothing.
pub const IROH_USER: &str = "iroh";

/// Who may look at Postfix's queue, which the bridge shows to operators.
const QUEUE_GROUP: &str = "postdrop";

/// Makes the users that are missing, without home, password or shell.
///
/// # Errors
/// `useradd` or `usermod` failed.
pub fn ensure_exist() -> anyhow::Result<()> {
    for name in [MAIL_USER, FILTER_USER, BRIDGE_USER, IROH_USER] {
        if User::from_name(name)?.is_some() {
            continue;
        }
        run(Command::new("useradd")
            .args(["--system", "--user-group", "--no-create-home"])
            .args(["--home-dir", "/nonexistent"])
            .args(["--shell", "/usr/sbin/nologin", name]))?;
    }
    let group = Group::from_name(QUEUE_GROUP)?;
    let group = group.with_context(|| format!("there is no group `{QUEUE_GROUP}`"))?;
    if !group.mem.iter().any(|member| member == BRIDGE_USER) {
        run(Command::new("usermod").args(["--append", "--groups", QUEUE_GROUP, BRIDGE_USER]))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("running {name}"))?;
    ensure!(status.success(), "`{name}` failed: {status}");
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
