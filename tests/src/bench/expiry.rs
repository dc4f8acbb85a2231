//! expiry-cron on a relay of 100 000 mailboxes with a million messages, on a disk, where the work is.
//!
//! What only looks is compared with find, which looks at each file once and does nothing else; what
//! removes, with two processes that are told which files to remove. All run as the user that owns the
//! mailboxes, one after the other, on the same files.

mod contents;
mod ground;
mod runs;
mod tree;
mod workers;

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::thread;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, anyhow, ensure};

use super::interleave::{Rounds, in_turn, interleaved};
use super::stats::Sample;
use super::{Figure, Goal, Report, runtime};
use crate::host::users::{MAIL_USER, Owner};
use crate::measured_run::Measured;
use contents::Expected;
use ground::{Ground, Room};
use runs::{Mode, Runs, Summary};
use tree::Tree;
use workers::{Interrupt, Workers};

const MAILBOXES: usize = 100_000;

/// Messages of each, and how many of them are too old.
const MESSAGES: usize = 10;
const EXPIRED: usize = 3;

/// Messages of the one mailbox that is over its quota.
const MESSAGES_OF_FULL: usize = 300_000;

/// Its quota: about half of what it holds.
const QUOTA_MIB: u64 = 90;

/// What both trees take, and some more. The space is taken as it is used.
const ROOM: Room = Room {
    space: 12 << 30,
    inodes: 2_600_000,
};

const WARM_ROUNDS: usize = 5;
const COLD_ROUNDS: usize = 3;
const REMOVALS: usize = 3;

/// How many times longer find must take on a cold cache before that counts as cold.
const COLD: f64 = 1.25;

/// What empties the caches of the kernel, and the word for all of them.
const DROP_CACHES: (&str, &str) = ("/proc/sys/vm/drop_caches", "3\n");

const MIB: f64 = 1_048_576.0;

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let interrupt = Interrupt::watch()?;
    // What is mounted is seen by one thread only, which ends here.
    thread::scope(|scope| {
        let measuring = scope.spawn(|| measure(report, &interrupt));
        let outcome = measuring.join();
        outcome.map_err(|_| anyhow!("the bench has panicked"))?
    })
}

fn measure(report: &mut Report, interrupt: &Interrupt) -> anyhow::Result<()> {
    let owner = Owner::of(MAIL_USER)?;
    let workers = Workers::new(owner, interrupt.clone());
    let ground = Ground::new(owner, ROOM)?;
    let database = ground.folder("tables")?.join("chatmail.sqlite");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let large = Tree {
        root: ground.folder("mailboxes")?,
        mailboxes: MAILBOXES,
        messages: MESSAGES,
        expired: EXPIRED,
        large: true,
        now: now.as_secs(),
    };
    let full = Tree {
        root: ground.folder("full")?,
        mailboxes: 1,
        messages: MESSAGES_OF_FULL,
        expired: 0,
        large: false,
        ..large
    };
    for tree in [&large, &full] {
        make(tree, &workers)?;
    }
    let bench = Bench {
        runs: Runs::new(&ground, &large, &database, "500M", interrupt)?,
        tree: &large,
        workers: &workers,
    };
    let peak = runtime()?.block_on(bench.measure(&ground, report))?;
    let memory = |name: &str, peak: u64| {
        let value = peak as f64 / MIB;
        Figure::new(name, value, "MiB", None, Goal::Below(48.0))
    };
    report.figure(memory("expiry/memory", peak));
    let quota = format!("{QUOTA_MIB}M");
    let runs = Runs::new(&ground, &full, &database, &quota, interrupt)?;
    let peak = trim(&full, &runs)?;
    report.figure(memory("expiry/memory-full-mailbox", peak));
    Ok(())
}

fn make(tree: &Tree, workers: &Workers) -> anyhow::Result<()> {
    let what = format!(
        "{} mailbox(es) with {} messages made",
        tree.mailboxes,
        tree.all_messages()
    );
    timed(&what, || {
        workers.each(tree.mailboxes, |mailbox| tree.write(mailbox))?;
        nix::unistd::sync();
        Ok(())
    })
}

fn timed<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let begun = Instant::now();
    let done = work()?;
    println!("{what} in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(done)
}

/// The tree of many mailboxes, and what runs on it.
struct Bench<'a> {
    runs: Runs<'a>,
    tree: &'a Tree,
    workers: &'a Workers,
}

/// What removes.
#[derive(Clone, Copy)]
enum Remover {
    Expiry,
    /// rm, with a list of what expiry-cron would remove.
    Told,
}

impl Bench<'_> {
    /// All figures but those of memory; gives the most that expiry-cron took, in bytes.
    async fn measure(&self, ground: &Ground, report: &mut Report) -> anyhow::Result<u64> {
        println!("what is read is in the caches:");
        // After this, what find needs is in the caches, and so is what expiry-cron needs.
        self.runs.find()?;
        let warm = interleaved(WARM_ROUNDS, async || self.look(), async || self.runs.find());
        let warm = warm.await?;
        report.figure(speed("expiry/dry-warm", &warm, Goal::RatioAtMost(1.3)));

        let cold = self.cold().await?;
        report.figure(cold_figure(&cold, &warm));

        let removed = self.removals(&ground.outside("list")).await?;
        report.figure(speed("expiry/remove", &removed, Goal::RatioAtMost(1.5)));

        let cold = cold.map(|rounds| rounds.measured).unwrap_or_default();
        let all = [warm.measured, cold, removed.measured].concat();
        all.iter()
            .map(|run| run.peak)
            .max()
            .context("nothing was measured")
    }

    /// Both on cold caches; or why the caches cannot be emptied.
    async fn cold(&self) -> anyhow::Result<Result<Rounds<Measured>, String>> {
        if let Err(error) = drop_caches() {
            return Ok(Err(format!("{error:#}")));
        }
        println!("the caches are empty:");
        let measure = async || drop_caches().and_then(|()| self.look());
        let refer = async || drop_caches().and_then(|()| self.runs.find());
        Ok(Ok(interleaved(COLD_ROUNDS, measure, refer).await?))
    }

    async fn removals(&self, list: &Path) -> anyhow::Result<Rounds<Measured>> {
        println!("what is old is removed:");
        write_list(list, self.tree)?;
        let mut full = true;
        let removers = [Remover::Expiry, Remover::Told];
        let [measured, reference] = in_turn(REMOVALS, removers, async |&mut remover| {
            if !full {
                timed("what was removed made again", || self.refill())?;
            }
            full = false;
            let measured = match remover {
                Remover::Expiry => self.remove()?,
                Remover::Told => self.runs.rm(list)?,
            };
            contents::check(self.tree, Expected::Expired, self.workers)?;
            Ok(measured)
        })
        .await?;
        Ok(Rounds {
            measured,
            reference,
        })
    }

    fn refill(&self) -> anyhow::Result<()> {
        self.workers
            .each(self.tree.mailboxes, |mailbox| self.tree.restore(mailbox))
    }

    /// A dry run.
    fn look(&self) -> anyhow::Result<Measured> {
        self.expiry(Mode::Dry)
    }

    /// A run that removes.
    fn remove(&self) -> anyhow::Result<Measured> {
        self.expiry(Mode::Remove)
    }

    fn expiry(&self, mode: Mode) -> anyhow::Result<Measured> {
        let (measured, summary) = self.runs.expiry(mode)?;
        let expected = Summary {
            removed_mailboxes: 0,
            mailboxes: self.tree.mailboxes,
            removed_messages: self.tree.expired_messages(),
            messages: self.tree.all_messages(),
            removed_files: self.tree.files_that_go(),
            errors: 0,
        };
        ensure!(
            summary == expected,
            "{mode:?}: {summary:?} instead of {expected:?}"
        );
        Ok(measured)
    }
}

fn drop_caches() -> anyhow::Result<()> {
    // What is not on disk yet stays in the caches.
    nix::unistd::sync();
    let (path, all) = DROP_CACHES;
    fs::write(path, all).with_context(|| format!("writing {path}"))
}

fn write_list(path: &Path, tree: &Tree) -> anyhow::Result<()> {
    let mut list = BufWriter::new(File::create(path)?);
    for path in tree.paths_that_go() {
        list.write_all(path.as_os_str().as_bytes())?;
        list.write_all(b"\0")?;
    }
    list.flush()?;
    Ok(())
}

fn median(runs: &[Measured]) -> f64 {
    let seconds = runs.iter().map(|run| run.time.as_secs_f64());
    seconds.collect::<Sample>().median()
}

fn speed(name: &str, rounds: &Rounds<Measured>, goal: Goal) -> Figure {
    let [value, reference] = [&rounds.measured, &rounds.reference].map(|runs| median(runs));
    Figure::new(name, value, "s", Some(reference), goal)
}

/// Without a cold cache the figure has no reference, and so misses its goal.
fn cold_figure(cold: &Result<Rounds<Measured>, String>, warm: &Rounds<Measured>) -> Figure {
    let goal = Goal::RatioBelow(1.0);
    let unknown = |why: &str, value| {
        let name = format!("expiry/dry-cold (could not drop caches: {why})");
        Figure::new(name, value, "s", None, goal)
    };
    match cold {
        Err(why) => unknown(why, f64::NAN),
        Ok(cold) if median(&cold.reference) < COLD * median(&warm.reference) => {
            unknown("find is as fast as before", median(&cold.measured))
        }
        Ok(cold) => speed("expiry/dry-cold", cold, goal),
    }
}

/// Has the mailbox that is over its quota trimmed; gives the most memory that took, in bytes.
fn trim(tree: &Tree, runs: &Runs<'_>) -> anyhow::Result<u64> {
    let size = || {
        let messages = tree.home(0);
        let mut size = 0;
        for folder in ["cur", "new"] {
            for entry in fs::read_dir(messages.join(folder))? {
                size += entry?.metadata()?.len();
            }
        }
        anyhow::Ok(size)
    };
    let quota = QUOTA_MIB << 20;
    let before = size()?;
    let (measured, summary) = runs.expiry(Mode::Remove)?;
    let after = size()?;
    ensure!(
        before > quota && after <= quota && after > 0 && summary.errors == 0,
        "a mailbox of {before} bytes was trimmed to {after}, its quota is {quota}: {summary:?}"
    );
    println!(
        "{} of {} messages trimmed in {:.1} s",
        summary.removed_messages,
        summary.messages,
        measured.time.as_secs_f64()
    );
    Ok(measured.peak)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rounds(measured: u64, reference: u64) -> Rounds<Measured> {
        let [measured, reference] = [measured, reference].map(|seconds| {
            vec![Measured {
                time: Duration::from_secs(seconds),
                processor_time: Duration::ZERO,
                peak: 0,
            }]
        });
        Rounds {
            measured,
            reference,
        }
    }

    #[test]
    fn caches_that_stay_are_a_miss() {
        let warm = rounds(4, 5);
        let figure = |cold| cold_figure(&cold, &warm);
        assert!(figure(Ok(rounds(8, 9))).pass);
        assert!(!figure(Ok(rounds(9, 9))).pass);
        for figure in [figure(Ok(rounds(4, 6))), figure(Err("why".into()))] {
            assert!(!figure.pass, "{figure:?}");
            assert!(figure.name.contains("could not drop caches"), "{figure:?}");
        }
    }
}
