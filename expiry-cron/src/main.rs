//! `expiry-cron`: the command line of [`expiry_cron`].

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::anyhow;
use chatmail::Config;
use chatmail::accounts::deletion::LOGIN_WINDOW;
use chatmail::cli::{CheckConfigArgs, ConfigArgs};
use chatmail::documents::DocumentsArgs;
use chatmail::lifecycle::{Exit, StopSignals};
use clap::{Parser, Subcommand, ValueEnum};
use expiry_cron::mailboxes::THREADS;
use expiry_cron::progress::Progress;
use expiry_cron::report::{self, report, write_textfile};
use expiry_cron::rules::{Part, Rules};
use expiry_cron::run::{self, RunError, run};
use expiry_cron::time::Time;

/// The name in the log.
const NAME: &str = "expiry-cron";

/// Deletes old mail and unused accounts of a chatmail relay, makes room in full mailboxes, and reports
/// what is stored.
///
/// Run it as the mail user (vmail); a systemd timer does so each night. Ages and sizes come from
/// chatmail.ini; `expiry-cron check-config --describe` explains every key.
#[derive(Debug, Parser)]
#[command(name = "expiry-cron", version)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Go through all mailboxes and tell what is old; with --remove, delete it
    #[command(after_help = RUN_AFTER_HELP)]
    Run(RunArgs),
    /// Delete the oldest messages of a mailbox until it has no more than TARGET_MB
    #[command(after_help = QUOTA_AFTER_HELP)]
    Quota(QuotaArgs),
    /// Tell what the mailboxes hold, and how many accounts are used
    #[command(after_help = REPORT_AFTER_HELP)]
    Report(ReportArgs),
    /// Check the configuration file, or explain its keys
    CheckConfig(CheckConfigArgs),
    /// Write what systemd's units need beside what they have into FOLDER, for a generator
    #[command(hide = true)]
    Units {
        /// Where
        folder: PathBuf,
    },
    /// Write manual pages and shell completions, for a package
    #[command(hide = true)]
    Documents(DocumentsArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Delete; without this nothing is changed
    #[arg(long)]
    remove: bool,
    /// Tell each step on standard error. That shows addresses
    #[arg(long, short)]
    verbose: bool,
    /// No more mailboxes than this
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Count ages from another time than now: 2026-01-31T12:00:00Z (UTC), or seconds since 1970
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    now: Option<Time>,
    /// Threads that go through the mailboxes
    #[arg(long, value_name = "N", default_value_t = THREADS, hide = true)]
    threads: NonZeroUsize,
    /// Seconds for which an account waits for a login before it is deleted
    #[arg(long, value_name = "SECONDS", default_value_t = LOGIN_WINDOW.as_secs(), hide = true)]
    login_window: u64,
}

#[derive(Debug, clap::Args)]
struct QuotaArgs {
    /// Mebibytes that the mailbox may have
    #[arg(value_name = "TARGET_MB")]
    target: u64,
    /// The mailbox: its folder, or its address
    #[arg(value_name = "MAILBOX")]
    mailbox: PathBuf,
    /// Count ages from another time than now
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    now: Option<Time>,
}

#[derive(Debug, clap::Args)]
struct ReportArgs {
    /// Print one JSON object
    #[arg(long, conflicts_with = "textfile")]
    json: bool,
    /// Write metrics for Prometheus to `fsreport.prom` in a folder, or to a file, and print nothing
    #[arg(long, value_name = "DIR")]
    textfile: Option<PathBuf>,
    /// No more mailboxes than this
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Count days back from another time than now
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    now: Option<Time>,
    /// Sizes of messages only of accounts whose last login is at least that many days ago
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    min_login_age: u32,
    /// Sizes of messages only in directories of this name
    #[arg(long, value_name = "NAME")]
    mdir: Option<Mdir>,
    /// Tell on standard error what cannot be read. That shows addresses
    #[arg(long, short)]
    verbose: bool,
    /// Threads that go through the mailboxes
    #[arg(long, value_name = "N", default_value_t = THREADS, hide = true)]
    threads: NonZeroUsize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mdir {
    /// Messages that a client has seen
    Cur,
    /// Messages that no client has seen
    New,
    /// Messages that are being delivered
    Tmp,
}

const RUN_AFTER_HELP: &str = "\
Examples:
    expiry-cron run                          what would go tonight
    expiry-cron run --verbose --max 100      the same, step by step, for some mailboxes
    expiry-cron run --now 2026-12-24T00:02:00Z
    expiry-cron run --remove                 what the timer does

Messages go by their age (delete_mails_after), large ones that were seen earlier (delete_large_after);
accounts that nobody has logged in to for delete_inactive_users_after days go with all their mail, unless
somebody logs in before the run ends, and nobody can have their addresses for tombstone_days; of mailboxes
over 70 % of max_mailbox_size the oldest messages go, but none of the last 24 hours.

It prints a sentence and a line of JSON. One that is stopped or killed can be run again.
Exit status: 0 done, 70 not all could be read or removed, 75 it could not begin now (another run
is at it, or the clock has leapt) or was stopped, 78 configuration error.";

const QUOTA_AFTER_HELP: &str = "\
Examples:
    expiry-cron quota 350 /home/vmail/mail/chat.example/alice@chat.example
    expiry-cron quota 350 alice@chat.example

Dovecot starts it (quota_warning). Messages of the last 24 hours stay. Sizes and times are those in
the names of messages; only INBOX counts.
Exit status: 0 done, 70 the mailbox cannot be read or changed, 78 configuration error.";

const REPORT_AFTER_HELP: &str = "\
Examples:
    expiry-cron report
    expiry-cron report --textfile /var/lib/prometheus/node-exporter
    expiry-cron report --min-login-age 40 --mdir cur
    expiry-cron report --json | jq .accounts

Metrics have the names that the fsreport of classic relays gives them. With a database_url accounts are
those of this backend, counted in the database, and sizes are told of all mailboxes here; --min-login-age
is not possible. A last login is known by its day, and counts from the beginning of that day (UTC). While
the database is away there are neither numbers nor metrics of accounts.
Exit status: 0 done, 70 not all could be read, the database does not answer, or the file is not written,
75 stopped, 78 configuration error.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut status = ExitCode::SUCCESS;
    let mut ended = |result| {
        status = end(result);
        Exit::Stopped
    };
    let config = &arguments.config;
    let exit = match arguments.command {
        Command::CheckConfig(check) => check.run(config),
        Command::Documents(documents) => documents.run::<Arguments>(),
        Command::Units { folder } => config.run(NAME, |config| ended(units(config, &folder))),
        Command::Run(run) => config.run(NAME, |config| ended(run.run(config))),
        Command::Quota(quota) => config.run(NAME, |config| ended(quota.run(config))),
        Command::Report(report) => config.run(NAME, |config| ended(report.run(config))),
    };
    match exit {
        Exit::Stopped => status,
        exit => exit.into(),
    }
}

/// How a command ended.
enum End {
    Done,
    /// Not all could be done.
    Incomplete,
    /// It is worth trying again.
    Again,
}

/// `EX_TEMPFAIL` of sysexits(3).
const TEMPORARY_FAILURE: u8 = 75;

fn end(result: anyhow::Result<End>) -> ExitCode {
    match result {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Incomplete) => Exit::Failure.into(),
        Ok(End::Again) => TEMPORARY_FAILURE.into(),
        Err(error) => {
            tracing::error!("{error}");
            match error.downcast_ref() {
                Some(RunError::Locked { .. } | RunError::Clock { .. }) => TEMPORARY_FAILURE.into(),
                _ => Exit::Failure.into(),
            }
        }
    }
}

impl RunArgs {
    fn run(self, config: &Config) -> anyhow::Result<End> {
        let options = run::Options {
            acts: self.remove,
            verbose: self.verbose,
            max: self.max,
            now: self.now,
            threads: self.threads,
            login_window: Duration::from_secs(self.login_window),
        };
        let progress = progress(self.verbose);
        let summary = until_stopped(|stop| run(config, options, stop, &progress))??;
        let line = serde_json::to_string(&summary)?;
        writeln!(io::stdout(), "{summary}\n{line}").or_else(ignore_broken_pipe)?;
        Ok(match (summary.counts.errors, summary.stopped) {
            (0, false) => End::Done,
            (_, true) => End::Again,
            (_, false) => End::Incomplete,
        })
    }
}

impl QuotaArgs {
    fn run(self, config: &Config) -> anyhow::Result<End> {
        let rules = Rules::new(config, self.now.unwrap_or_else(Time::now));
        let target = self.target.saturating_mul(1 << 20);
        let removed = expiry_cron::quota::quota(config, &rules, target, &self.mailbox)?;
        if removed > 0 {
            // Operators' mtail programs count these lines.
            tracing::info!("quota-expire: removed {removed} message(s)");
        }
        Ok(End::Done)
    }
}

impl ReportArgs {
    fn run(self, config: &Config) -> anyhow::Result<End> {
        let options = report::Options {
            max: self.max,
            now: self.now.unwrap_or_else(Time::now),
            min_login_age: self.min_login_age,
            part: self.mdir.map(|mdir| match mdir {
                Mdir::Cur => Part::Cur,
                Mdir::New => Part::New,
                Mdir::Tmp => Part::Tmp,
            }),
            threads: self.threads,
            verbose: self.verbose,
        };
        let progress = progress(self.verbose);
        let found = until_stopped(|stop| report(config, options, stop, &progress))??;
        let Some(found) = found else {
            return Ok(End::Again);
        };
        if let Some(path) = &self.textfile {
            write_textfile(&found, path)?;
        } else {
            let written = match self.json {
                true => writeln!(io::stdout(), "{}", serde_json::to_string(&found)?),
                false => write!(io::stdout(), "{found}"),
            };
            written.or_else(ignore_broken_pipe)?;
        }
        Ok(match (found.errors, &found.accounts) {
            (0, Some(_)) => End::Done,
            _ => End::Incomplete,
        })
    }
}

fn units(config: &Config, folder: &Path) -> anyhow::Result<End> {
    expiry_cron::units::write_drop_ins(config, folder)?;
    Ok(End::Done)
}

fn progress(verbose: bool) -> Progress {
    match verbose {
        true => Progress::hidden(),
        false => Progress::at_terminal(),
    }
}

/// Does work on this thread; SIGTERM and SIGINT set the flag that ends it early.
fn until_stopped<T>(work: impl FnOnce(&AtomicBool) -> T) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| anyhow!("cannot start threads: {error}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals = {
        let _guard = runtime.enter();
        StopSignals::new().map_err(|error| anyhow!("cannot take signals: {error}"))?
    };
    let stopping = Arc::clone(&stop);
    runtime.spawn(async move {
        signals.received().await;
        stopping.store(true, Relaxed);
    });
    Ok(work(&stop))
}

/// Whoever read the output has seen enough, as `head` has.
fn ignore_broken_pipe(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    }
}
