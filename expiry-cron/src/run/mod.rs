//! `expiry-cron run`: what is old goes.

mod rows;
mod summary;
mod undertaker;
mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use chatmail::Config;
use chatmail::database::{Database, DatabaseError, SCHEMA};
use chatmail::postgres::PostgresAccounts;
use chatmail::tombstones::{Day, Tombstones};
use tokio::runtime::Builder;

pub use summary::{Counts, Summary};

use self::rows::Rows;
use self::undertaker::{Undertaker, WAITING_MAX};
use self::worker::{Job, Worker};
use crate::directory::Directory;
use crate::last_run::{self, Clock};
use crate::mailboxes::{self, Pass};
use crate::narrator::Narrator;
use crate::progress::Progress;
use crate::rules::Rules;
use crate::time::Time;

/// How long to wait for another process that changes the file of the small tables.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether anything is removed.
    pub acts: bool,
    /// Whether each step is told.
    pub verbose: bool,
    /// No more mailboxes than this.
    pub max: Option<u64>,
    /// Another time than that of the clock.
    pub now: Option<Time>,
    /// Threads that go through the mailboxes.
    pub threads: NonZeroUsize,
    /// How long an account waits for logins before it is deleted.
    pub login_window: Duration,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The directory of all mailboxes cannot be read. A file system that is not mounted looks so.
    #[error("cannot read mailboxes_dir = {path}: {source}", path = path.display())]
    Mailboxes {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another run is at it.
    #[error("another run is at it, in {path}; this one does nothing", path = path.display())]
    Locked {
        /// The directory of all mailboxes.
        path: PathBuf,
    },
    /// The clock is implausible.
    #[error(
        "the clock is {days} days ahead of the last run, so nothing is deleted this time: \
        if it is right, the next run goes by it; now at once with --now TIME"
    )]
    Clock {
        /// How far it is ahead.
        days: i64,
    },
}

/// Goes through all mailboxes once.
///
/// # Errors
/// See [`RunError`]. What cannot be done with single mailboxes is counted in the summary.
pub fn run(
    config: &Config,
    options: Options,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Summary, RunError> {
    let began = Instant::now();
    let path = &config.mailboxes_dir;
    let unreadable = |source| RunError::Mailboxes {
        path: path.clone(),
        source,
    };
    let root = Directory::open_path(path).map_err(unreadable)?;
    let narrator = Narrator::new(options.verbose);
    let now = options.now.unwrap_or_else(Time::now);
    let rules = Rules::new(config, now);
    let until = Day::of(now.to_system()).plus(config.tombstone_days);
    let until = (config.tombstone_days > 0).then_some(until);
    let mut counts = Counts::default();
    let mut tombstones = None;
    if options.acts {
        if !root.try_lock().map_err(unreadable)? {
            return Err(RunError::Locked { path: path.clone() });
        }
        let database = open_database(config)
            .and_then(|database| prepare(database, now, options.now.is_none()));
        match database {
            Ok((Clock::Ahead(days), _)) => return Err(RunError::Clock { days }),
            // Accounts in PostgreSQL are not deleted by what the mailboxes say of them.
            Ok((Clock::Plausible, _)) if config.database_url.is_some() => {}
            Ok((Clock::Plausible, database)) => tombstones = Some(Tombstones::new(database)),
            Err(error) => {
                // On a full disk, for example: then mail has to go all the more.
                tracing::error!("no account is deleted this time: {error}");
                counts.errors += 1;
            }
        }
    }
    let rows = rows(config, options, &root, &rules, until, stop, &narrator).transpose();
    let rows = rows.unwrap_or_else(|error| {
        tracing::error!("no account is deleted this time: {error}");
        counts.errors += 1;
        None
    });
    let mut marked = None;
    if let Some(rows) = &rows {
        let begun = match options.acts {
            true => rows.mark(Day::of(now.to_system())).map(Some),
            false => rows.count().map(|count| {
                counts.removed_mailboxes += count;
                None
            }),
        };
        marked = begun.unwrap_or_else(|error| {
            tracing::error!("no account is deleted this time: {error}");
            counts.errors += 1;
            None
        });
    }
    progress.begin(&root, options.max).map_err(unreadable)?;
    let job = Job {
        root: &root,
        rules,
        acts: options.acts,
        accounts: config.database_url.is_none(),
        narrator: &narrator,
    };
    let done = go_through(
        &job,
        options,
        stop,
        progress,
        tombstones.map(|tombstones| Undertaker {
            root: &root,
            tombstones,
            until,
            window: options.login_window,
            stop,
            narrator: &narrator,
        }),
    );
    counts += done.map_err(unreadable)?;
    if let (Some(rows), Some((marked, since))) = (&rows, marked) {
        counts += rows.delete(marked, since);
    }
    let stopped = stop.load(Relaxed);
    Ok(Summary::new(
        counts,
        !options.acts,
        stopped,
        began.elapsed(),
    ))
}

/// What deletes accounts in PostgreSQL, if they are there.
#[allow(clippy::too_many_arguments, reason = "it is a part of `run`")]
fn rows<'a>(
    config: &Config,
    options: Options,
    root: &'a Directory,
    rules: &Rules,
    until: Option<Day>,
    stop: &'a AtomicBool,
    narrator: &'a Narrator,
) -> Option<Result<Rows<'a>, anyhow::Error>> {
    let postgres = PostgresAccounts::from_config(config).transpose()?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let made = postgres.map_err(anyhow::Error::from).and_then(|postgres| {
        Ok(Rows {
            postgres,
            runtime: runtime?,
            root,
            oldest_login: rules.oldest_login_day(),
            until,
            window: options.login_window,
            stop,
            narrator,
        })
    });
    Some(made)
}

fn open_database(config: &Config) -> Result<Database, DatabaseError> {
    let path: &Path = &config.database_path;
    Database::open_or_create(&SCHEMA, path, PATIENCE, Some(&config.mail_user))
}

/// Looks at the clock, unless the time is one that somebody has set, and removes tombstones that are
/// over.
fn prepare(
    mut database: Database,
    now: Time,
    by_the_clock: bool,
) -> Result<(Clock, Database), DatabaseError> {
    if by_the_clock && let Clock::Ahead(days) = last_run::note(&mut database, now)? {
        return Ok((Clock::Ahead(days), database));
    }
    let mut tombstones = Tombstones::new(database);
    tombstones.remove_expired(Day::of(now.to_system()))?;
    Ok((Clock::Plausible, tombstones.into_database()))
}

/// The walk itself, with a thread beside it that deletes accounts.
fn go_through(
    job: &Job<'_>,
    options: Options,
    stop: &AtomicBool,
    progress: &Progress,
    undertaker: Option<Undertaker<'_>>,
) -> io::Result<Counts> {
    let pass = Pass {
        threads: options.threads,
        max: options.max,
    };
    let (sender, doomed) = sync_channel(WAITING_MAX);
    let sender = undertaker.is_some().then_some(sender);
    std::thread::scope(|scope| {
        let buried = undertaker.map(|undertaker| scope.spawn(move || undertaker.work(&doomed)));
        let walked = mailboxes::each(
            job.root,
            pass,
            stop,
            || Worker::new(job, sender.clone()),
            |worker, name| {
                worker.mailbox(name);
                progress.step();
            },
        );
        let walked = walked.map(|workers| {
            let mut counts = Counts::default();
            for worker in workers {
                counts += worker.counts;
            }
            counts
        });
        progress.end();
        drop(sender);
        let buried = buried.map(|thread| thread.join()).transpose();
        let buried = buried.map_err(|_| io::Error::other("the thread that deletes accounts died"));
        let mut counts = walked?;
        counts += buried?.unwrap_or_default();
        Ok(counts)
    })
}
