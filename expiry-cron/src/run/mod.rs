//! `expiry-cron run`: what is old goes.

mod deletion;
mod rows;
mod strays;
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
use tokio::runtime::{Builder, Runtime};

pub use summary::{Counts, Summary};

use self::deletion::Deletion;
use self::rows::Rows;
use self::strays::Strays;
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
    let deletion = Deletion {
        root: &root,
        until,
        window: options.login_window,
        stop,
        narrator: &narrator,
    };
    let rows = rows(config, options.acts, &rules, deletion).unwrap_or_else(|error| {
        tracing::error!("no account is deleted this time: {error}");
        counts.errors += 1;
        None
    });
    let (rows, strays) = rows.unzip();
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
            deletion,
            tombstones,
        }),
        // Of a host without a name nobody knows what is elsewhere.
        strays.filter(|strays| strays.postgres.backend_name().is_some()),
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

/// What deletes accounts in PostgreSQL, and the copies of mailboxes that are elsewhere; `None` if accounts are in files.
fn rows<'a>(
    config: &Config,
    acts: bool,
    rules: &Rules,
    deletion: Deletion<'a>,
) -> anyhow::Result<Option<(Rows<'a>, Strays<'a>)>> {
    // A pool for each: they work at the same time, each on a runtime of its own.
    let (Some(first), Some(second)) = (database(config)?, database(config)?) else {
        return Ok(None);
    };
    let rows = Rows {
        postgres: first.0,
        runtime: first.1,
        deletion,
        oldest_login: rules.oldest_login_day(),
    };
    let strays = Strays {
        postgres: second.0,
        runtime: second.1,
        deletion,
        acts,
    };
    Ok(Some((rows, strays)))
}

fn database(config: &Config) -> anyhow::Result<Option<(PostgresAccounts, Runtime)>> {
    let Some(postgres) = PostgresAccounts::from_config(config)? else {
        return Ok(None);
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(Some((postgres, runtime)))
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

/// The walk itself, with threads beside it that delete accounts, and what is elsewhere.
fn go_through(
    job: &Job<'_>,
    options: Options,
    stop: &AtomicBool,
    progress: &Progress,
    undertaker: Option<Undertaker<'_>>,
    strays: Option<Strays<'_>>,
) -> io::Result<Counts> {
    let pass = Pass {
        threads: options.threads,
        max: options.max,
    };
    let (sender, doomed) = sync_channel(WAITING_MAX);
    let sender = undertaker.is_some().then_some(sender);
    let (suspects_sender, suspects) = sync_channel(strays::WAITING_MAX);
    let suspects_sender = strays.is_some().then_some(suspects_sender);
    std::thread::scope(|scope| {
        let buried = undertaker.map(|undertaker| scope.spawn(move || undertaker.work(&doomed)));
        let cleared = strays.map(|strays| scope.spawn(move || strays.work(&suspects)));
        let walked = mailboxes::each(
            job.root,
            pass,
            stop,
            || Worker::new(job, sender.clone(), suspects_sender.clone()),
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
        drop((sender, suspects_sender));
        let died = |_| io::Error::other("a thread that deletes accounts died");
        let ended = [buried, cleared].map(|thread| {
            let counts = thread.map(|thread| thread.join()).transpose();
            counts.map_err(died)
        });
        let mut counts = walked?;
        for ended in ended {
            counts += ended?.unwrap_or_default();
        }
        Ok(counts)
    })
}
