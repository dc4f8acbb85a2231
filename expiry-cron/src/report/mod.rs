//! `expiry-cron report`: what the mailboxes hold, and how many accounts are used.
//!
//! The numbers are those of a classic relay's `fsreport`, found in the same way: an account is a mailbox
//! with a `password` file, whose time is the last login; names that begin with `ci-` are tests; files that
//! are not messages are "other"; the sizes of messages are told for accounts only.
//!
//! With a `database_url` accounts are rows: those that are pinned to this backend are counted there, and the sizes of
//! messages are told for all mailboxes. While the database is away there is a report without accounts, and not one that
//! says that there are none.

mod metrics;
mod rows;
mod text;

use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use chatmail::Config;
use serde::Serialize;

pub use metrics::{TextfileError, write_textfile};

use crate::account::Account;
use crate::directory::{Directory, Status};
use crate::mailbox::{Message, Room, Trail, Visitor, walk};
use crate::mailboxes::{self, Pass};
use crate::narrator::Narrator;
use crate::progress::Progress;
use crate::rules::Part;
use crate::time::Time;

/// Days within which logins are counted.
const DAYS: [u32; 7] = [1, 10, 30, 40, 80, 100, 150];

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Sizes from which messages are counted, in octets.
const SIZES: [u64; 7] = [0, 100 * KIB, MIB / 2, MIB, 2 * MIB, 5 * MIB, 10 * MIB];

/// Names of accounts that are made by tests begin so.
const TEST_PREFIX: &str = "ci-";

/// How to look.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// No more mailboxes than this.
    pub max: Option<u64>,
    /// The time from which days are counted back.
    pub now: Time,
    /// Sizes are told for accounts only whose last login is that many days ago. Not with a database: mailboxes do not know.
    pub min_login_age: u32,
    /// Sizes are told for messages in directories of this name only.
    pub part: Option<Part>,
    /// Threads that go through the mailboxes.
    pub threads: NonZeroUsize,
    /// Whether it is told what cannot be read.
    pub verbose: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Mailboxes, with an account or not.
    pub mailboxes: u64,
    /// What is stored.
    pub storage: Storage,
    /// Messages by their size, each counted in every line up to it.
    pub messages: [Sizes; SIZES.len()],
    /// Accounts; `None` when the database that has them does not answer.
    pub accounts: Option<Accounts>,
    /// What could not be read.
    pub errors: u64,
}

/// Octets in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// Messages.
    pub messages: u64,
    /// All other files.
    pub other: u64,
}

/// Messages of a size and above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Octets that a message has at least.
    pub min_size: u64,
    /// How many there are.
    pub count: u64,
    /// Octets in all of them.
    pub bytes: u64,
}

/// Numbers of accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// All.
    pub all: u64,
    /// Those that tests have made.
    pub ci: u64,
    /// The others.
    pub user: u64,
    /// Of the others, those that were used within so many days.
    pub active: [Active; DAYS.len()],
}

/// Accounts that were used lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Active {
    /// Days.
    pub days: u32,
    /// How many were used within them.
    pub accounts: u64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The directory of all mailboxes cannot be read.
    #[error("cannot read mailboxes_dir = {path}: {source}", path = path.display())]
    Mailboxes {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Sizes were asked for by the age of logins.
    #[error(
        "--min-login-age is not possible with a database_url: last logins are not in the mailboxes"
    )]
    LoginAge,
}

impl Accounts {
    fn empty() -> Self {
        let mut accounts = Self::default();
        for (active, days) in accounts.active.iter_mut().zip(DAYS) {
            active.days = days;
        }
        accounts
    }

    /// Counts accounts that were last used at this time.
    fn count(&mut self, number: u64, are_tests: bool, last_login: Time, now: Time) {
        self.all += number;
        if are_tests {
            self.ci += number;
            return;
        }
        self.user += number;
        for active in &mut self.active {
            if last_login >= now.minus_days(active.days) {
                active.accounts += number;
            }
        }
    }

    fn add(&mut self, other: &Self) {
        self.all += other.all;
        self.ci += other.ci;
        self.user += other.user;
        for (active, more) in self.active.iter_mut().zip(&other.active) {
            active.accounts += more.accounts;
        }
    }
}

impl Report {
    fn empty() -> Self {
        let mut report = Self::default();
        for (sizes, min_size) in report.messages.iter_mut().zip(SIZES) {
            sizes.min_size = min_size;
        }
        report
    }

    /// Adds what another worker has found in mailboxes.
    fn add(&mut self, other: &Self) {
        self.mailboxes += other.mailboxes;
        self.storage.messages += other.storage.messages;
        self.storage.other += other.storage.other;
        for (sizes, more) in self.messages.iter_mut().zip(&other.messages) {
            sizes.count += more.count;
            sizes.bytes += more.bytes;
        }
        self.errors += other.errors;
    }
}

/// Looks at all mailboxes; `None` when told to stop before the end.
///
/// # Errors
/// See [`ReportError`]. What cannot be read of single mailboxes is counted, and that the database does not answer is
/// logged.
pub fn report(
    config: &Config,
    options: Options,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Option<Report>, ReportError> {
    let path = &config.mailboxes_dir;
    let unreadable = |source| ReportError::Mailboxes {
        path: path.clone(),
        source,
    };
    let in_rows = config.database_url.is_some();
    if in_rows && options.min_login_age > 0 {
        return Err(ReportError::LoginAge);
    }
    let root = Directory::open_path(path).map_err(unreadable)?;
    let narrator = Narrator::new(options.verbose);
    progress.begin(&root, options.max).map_err(unreadable)?;
    let pass = Pass {
        threads: options.threads,
        max: options.max,
    };
    let worker = || Worker {
        root: &root,
        options,
        in_rows,
        narrator: &narrator,
        room: Room::default(),
        trail: Trail::default(),
        report: Report::empty(),
        accounts: Accounts::empty(),
    };
    let workers = mailboxes::each(&root, pass, stop, worker, |worker, name| {
        worker.mailbox(name);
        progress.step();
    });
    progress.end();
    let (mut report, mut accounts) = (Report::empty(), Accounts::empty());
    for worker in workers.map_err(unreadable)? {
        report.add(&worker.report);
        accounts.add(&worker.accounts);
    }
    if stop.load(Relaxed) {
        return Ok(None);
    }
    report.accounts = match in_rows {
        false => Some(accounts),
        true => rows::count(config, options.now)
            .map_err(|error| tracing::error!("accounts are not counted: {error}"))
            .ok(),
    };
    Ok(Some(report))
}

struct Worker<'a> {
    root: &'a Directory,
    options: Options,
    /// Whether a database tells of accounts, and mailboxes do not.
    in_rows: bool,
    narrator: &'a Narrator,
    room: Room,
    trail: Trail,
    report: Report,
    accounts: Accounts,
}

impl Worker<'_> {
    fn mailbox(&mut self, name: &CStr) {
        self.trail.begin(name);
        let found = self.root.open(name).and_then(|mailbox| {
            let account = Account::of(&mailbox)?;
            Ok((mailbox, account))
        });
        let (mailbox, account) = match found {
            Ok(found) => found,
            Err(error) if mailboxes::is_no_mailbox(&error) => return,
            Err(error) => {
                self.report.errors += 1;
                return self.narrator.trouble("read a mailbox", &self.trail, &error);
            }
        };
        self.report.mailboxes += 1;
        let last_login = match account {
            Account::Present(last_login) | Account::Expiring(last_login) => Some(last_login),
            Account::Expired | Account::None => None,
        };
        let last_login = last_login.filter(|&time| time != Time::EPOCH);
        let now = self.options.now;
        if let Some(last_login) = last_login {
            let is_test = name.to_bytes().starts_with(TEST_PREFIX.as_bytes());
            self.accounts.count(1, is_test, last_login, now);
        }
        let newest = now.minus_days(self.options.min_login_age);
        let mut visitor = Content {
            tells_sizes: self.in_rows || last_login.is_some_and(|time| time <= newest),
            part: self.options.part,
            narrator: self.narrator,
            report: &mut self.report,
        };
        walk(&mailbox, &mut self.trail, &mut self.room, &mut visitor);
    }
}

struct Content<'a> {
    tells_sizes: bool,
    part: Option<Part>,
    narrator: &'a Narrator,
    report: &'a mut Report,
}

impl Visitor for Content<'_> {
    fn message(&mut self, _at: &Trail, message: Message<'_>) {
        let size = message.status.size;
        self.report.storage.messages += size;
        if !self.tells_sizes || self.part.is_some_and(|part| part != message.part) {
            return;
        }
        for sizes in &mut self.report.messages {
            if size >= sizes.min_size {
                sizes.count += 1;
                sizes.bytes += size;
            }
        }
    }

    fn other_file(&mut self, status: Status) {
        self.report.storage.other += status.size;
    }

    fn wants_other_files(&self) -> bool {
        true
    }

    fn trouble(&mut self, at: &Trail, error: &io::Error) {
        self.report.errors += 1;
        self.narrator.trouble("read a mailbox", at, error);
    }
}
