//! Trees of mailboxes, and runs over them.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test fails by panicking, and each uses a part of this"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use chatmail::Config;
use expiry_cron::progress::Progress;
use expiry_cron::run::{Counts, Options, RunError, Summary, run};
use expiry_cron::time::Time;
use tempfile::TempDir;

/// Seconds in a day.
pub(crate) const DAY: i64 = 86_400;

/// When the runs of tests take place: a moment in 2096, long after whatever they make by the clock.
pub(crate) const NOW: i64 = 4_000_000_000;

/// A directory of mailboxes and a configuration.
pub(crate) struct Tree {
    dir: TempDir,
    settings: String,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With lines for `chatmail.ini`.
    pub(crate) fn with(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("mail")).unwrap();
        let settings = settings.to_owned();
        Self { dir, settings }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("mail").join(path)
    }

    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A file of a size, that many seconds before the run.
    pub(crate) fn file(&self, path: &str, size: u64, seconds: i64) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        set_time(&path, NOW - seconds);
        self
    }

    /// A small message that many days old.
    pub(crate) fn message(&self, path: &str, days: i64) -> &Self {
        self.file(path, 100, days * DAY)
    }

    /// An account that was last used that many days ago.
    pub(crate) fn account(&self, address: &str, days: i64) -> &Self {
        self.file(&format!("{address}/password"), 120, days * DAY)
    }

    /// An empty directory, changed that many seconds ago.
    pub(crate) fn directory(&self, path: &str, seconds: i64) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(&path).unwrap();
        set_time(&path, NOW - seconds);
        self
    }

    /// All that is in the tree but directories that hold something.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        collect(&self.path(""), "", &mut names);
        names
    }

    pub(crate) fn ini(&self) -> PathBuf {
        let (dir, settings) = (self.dir.path().display(), &self.settings);
        let path = self.dir.path().join("chatmail.ini");
        let text = format!(
            "[params]\nmail_domain = x.org\nmailboxes_dir = {dir}/mail\n\
            database_path = {dir}/tables/tables\n{settings}\n"
        );
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn config(&self) -> Config {
        Config::load(&self.ini()).unwrap().0
    }

    pub(crate) fn try_run(&self, options: Options) -> Result<Summary, RunError> {
        let stop = AtomicBool::new(false);
        run(&self.config(), options, &stop, &Progress::hidden())
    }

    pub(crate) fn run(&self, options: Options) -> Counts {
        self.try_run(options).unwrap().counts
    }

    /// Runs the real program.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        let mut command = self.unstarted(arguments);
        command.output().unwrap()
    }

    pub(crate) fn unstarted(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--config").arg(self.ini()).args(arguments);
        command
    }
}

/// Options of a run at [`NOW`].
pub(crate) fn at_now(acts: bool) -> Options {
    Options {
        acts,
        verbose: false,
        max: None,
        now: Some(Time::new(NOW, 0)),
        threads: 4.try_into().unwrap(),
        login_window: Duration::ZERO,
    }
}

/// Runs dry, which must change nothing, and then for real. Both must find the same, and exactly these
/// names must go.
pub(crate) fn assert_goes(tree: &Tree, goes: &[&str]) -> Counts {
    let before = tree.names();
    let dry = tree.run(at_now(false));
    assert_eq!(tree.names(), before, "a dry run changed something");
    let counts = tree.run(at_now(true));
    assert_eq!(dry, counts, "a dry run found something else");
    assert_eq!(counts.errors, 0);
    let after = tree.names();
    let gone: Vec<_> = before.difference(&after).map(String::as_str).collect();
    assert_eq!(gone, goes);
    counts
}

/// Files and links, and directories with nothing in them (with a slash).
fn collect(directory: &Path, prefix: &str, names: &mut BTreeSet<String>) {
    let mut any = false;
    for entry in fs::read_dir(directory).unwrap() {
        any = true;
        let entry = entry.unwrap();
        let name = entry
            .file_name()
            .as_encoded_bytes()
            .escape_ascii()
            .to_string();
        let name = format!("{prefix}{name}");
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&entry.path(), &format!("{name}/"), names);
        } else {
            assert!(kind.is_file() || kind.is_symlink() || kind.is_fifo());
            names.insert(name);
        }
    }
    if !any {
        names.insert(prefix.to_owned());
    }
}

pub(crate) fn set_time(path: &Path, seconds: i64) {
    let since = Duration::from_secs(seconds.try_into().unwrap());
    let time = SystemTime::UNIX_EPOCH + since;
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// The program, which lies elsewhere for a test that runs as another user.
fn program() -> PathBuf {
    std::env::var_os("EXPIRY_CRON")
        .map_or_else(|| env!("CARGO_BIN_EXE_expiry-cron").into(), PathBuf::from)
}
