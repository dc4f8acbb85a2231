//! The programs that are measured: expiry-cron, and what it is compared with.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::ground::Ground;
use super::tree::{DELETE_INACTIVE_USERS_AFTER, DELETE_MAILS_AFTER, DOMAIN, Tree};
use super::workers::Interrupt;
use crate::binaries;
use crate::host::users::MAIL_USER;
use crate::measured_run::Measured;

/// Between two looks whether a program has ended; it is not what tells the time.
const PAUSE: Duration = Duration::from_millis(20);

/// What expiry-cron says of a run, on the last line of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Summary {
    pub(super) removed_mailboxes: usize,
    pub(super) mailboxes: usize,
    pub(super) removed_messages: usize,
    pub(super) messages: usize,
    pub(super) removed_files: usize,
    pub(super) errors: usize,
}

/// Whether a run acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It only looks.
    Dry,
    /// It removes what is to be removed.
    Remove,
}

/// Runs programs on a tree, as the user that owns it.
pub(super) struct Runs<'a> {
    tree: &'a Tree,
    interrupt: &'a Interrupt,
    config: PathBuf,
    output: PathBuf,
    measured: PathBuf,
}

impl<'a> Runs<'a> {
    /// Writes the configuration.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn new(
        ground: &Ground,
        tree: &'a Tree,
        database: &Path,
        quota: &str,
        interrupt: &'a Interrupt,
    ) -> anyhow::Result<Self> {
        let config = ground.outside("chatmail.ini");
        let text = format!(
            "[params]\n\
             mail_domain = {DOMAIN}\n\
             mailboxes_dir = {}\n\
             database_path = {}\n\
             mail_user = {MAIL_USER}\n\
             delete_mails_after = {DELETE_MAILS_AFTER}\n\
             delete_large_after = 7\n\
             delete_inactive_users_after = {DELETE_INACTIVE_USERS_AFTER}\n\
             max_mailbox_size = {quota}\n",
            tree.root.display(),
            database.display(),
        );
        fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
        Ok(Self {
            tree,
            interrupt,
            config,
            output: ground.outside("output"),
            measured: ground.outside("measured.json"),
        })
    }

    /// expiry-cron.
    ///
    /// # Errors
    /// It is not built, fails, or does not say what it did.
    pub(super) fn expiry(&self, mode: Mode) -> anyhow::Result<(Measured, Summary)> {
        let now = self.tree.now.to_string();
        let binary = binaries::release("expiry-cron")?;
        let mut command: Vec<OsString> = vec![binary.into(), "--config".into()];
        command.push((&self.config).into());
        command.extend(["run", "--now", &now].map(OsString::from));
        command.extend((mode == Mode::Remove).then(|| "--remove".into()));
        let output = File::create(&self.output)?;
        let measured = self.run(&command, Stdio::null(), output.into())?;
        let output = fs::read_to_string(&self.output)?;
        let summary = output.lines().last().unwrap_or_default();
        let summary = serde_json::from_str(summary)
            .with_context(|| format!("expiry-cron's last line is no summary: {output:?}"))?;
        Ok((measured, summary))
    }

    /// Looks at each file once.
    ///
    /// # Errors
    /// find fails.
    pub(super) fn find(&self) -> anyhow::Result<Measured> {
        let [before, after] = [&["find"][..], &["-type", "f", "-printf", "%T@ %s\\n"]];
        let mut command: Vec<OsString> = before.iter().map(OsString::from).collect();
        command.push((&self.tree.root).into());
        command.extend(after.iter().map(OsString::from));
        self.run(&command, Stdio::null(), Stdio::null())
    }

    /// Removes the files that are listed.
    ///
    /// # Errors
    /// One of them cannot be removed.
    pub(super) fn rm(&self, list: &Path) -> anyhow::Result<Measured> {
        let command = ["xargs", "-0", "-P2", "-n1000", "rm", "--"].map(OsString::from);
        self.run(&command, File::open(list)?.into(), Stdio::null())
    }

    fn run(&self, command: &[OsString], input: Stdio, output: Stdio) -> anyhow::Result<Measured> {
        // What an earlier program has written is not for this one to wait for.
        nix::unistd::sync();
        let mut runner = Command::new(binaries::release("testbed")?);
        runner
            .args(["measured-run", "--user", MAIL_USER, "--to"])
            .arg(&self.measured)
            .arg("--")
            .args(command)
            .stdin(input)
            .stdout(output);
        let mut runner = runner.spawn().context("starting the testbed")?;
        let status = loop {
            if let Some(status) = runner.try_wait()? {
                break status;
            }
            if self.interrupt.is_wanted() {
                let pid = i32::try_from(runner.id())?;
                kill(Pid::from_raw(pid), Signal::SIGTERM)?;
                runner.wait()?;
            }
            thread::sleep(PAUSE);
        };
        self.interrupt.check()?;
        ensure!(status.success(), "what was to be measured has failed");
        let text = fs::read_to_string(&self.measured)?;
        fs::remove_file(&self.measured)?;
        let measured: Measured = serde_json::from_str(&text)?;
        println!("{}: {measured}", name(command));
        Ok(measured)
    }
}

/// What a command is called in what we print.
fn name(command: &[OsString]) -> String {
    let program = command.first().map(Path::new).and_then(Path::file_name);
    program.unwrap_or_default().to_string_lossy().into_owned()
}
