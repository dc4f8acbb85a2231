//! Being the mail user while something is done with its files.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{anyhow, bail};
use chatmail::Config;
use nix::unistd::{Gid, Uid, User, geteuid, setegid, seteuid};

/// Whose rights the files of accounts are changed with: root's would lead through links that the mail user
/// has made, and would make files that it cannot use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MailUser(Option<Ids>);

#[derive(Clone, Copy, Debug)]
struct Ids {
    user: Uid,
    group: Gid,
}

impl MailUser {
    /// The user of a configuration, whom we must be or be able to become.
    pub(crate) fn of(config: &Config) -> anyhow::Result<Self> {
        let name = &config.mail_user;
        let user = User::from_name(name);
        let user = user.map_err(|error| anyhow!("mail_user = {name}: {error}"))?;
        let me = geteuid();
        match user {
            Some(user) if user.uid == me => Ok(Self(None)),
            Some(user) if me.is_root() => Ok(Self(Some(Ids {
                user: user.uid,
                group: user.gid,
            }))),
            Some(_) => bail!("run it as root or as mail_user = {name}"),
            None => bail!("there is no user mail_user = {name}"),
        }
    }

    /// Does something as this user.
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> anyhow::Result<T> {
        self.enter()?;
        let done = work();
        self.leave()?;
        Ok(done)
    }

    /// Has a program run as this user, for good.
    pub(crate) fn become_in(self, command: &mut Command) {
        if let Some(ids) = self.0 {
            command.uid(ids.user.as_raw()).gid(ids.group.as_raw());
        }
    }

    /// Does something as who we were, in the middle of [`run`](Self::run).
    pub(crate) fn pause<T>(self, work: impl FnOnce() -> T) -> anyhow::Result<T> {
        self.leave()?;
        let done = work();
        self.enter()?;
        Ok(done)
    }

    /// The group first: only root may.
    fn enter(self) -> anyhow::Result<()> {
        let Some(ids) = self.0 else {
            return Ok(());
        };
        let entered = setegid(ids.group).and_then(|()| seteuid(ids.user));
        entered.map_err(|error| anyhow!("cannot become mail_user: {error}"))
    }

    fn leave(self) -> anyhow::Result<()> {
        if self.0.is_none() {
            return Ok(());
        }
        let left = seteuid(Uid::from_raw(0)).and_then(|()| setegid(Gid::from_raw(0)));
        left.map_err(|error| anyhow!("cannot be root again: {error}"))
    }
}
