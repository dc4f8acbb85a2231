//! Runs a program, and tells how long that took and how much memory it had at most.
//!
//! The kernel counts a process's peak to the page, and tells it to whoever waits for the process.
//! It counts from the fork on, when the child still is a copy of its parent: so that has to be a
//! small process, which a bench with its runtime and its lists is not. Hence a process of its own.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// Arguments of `measured-run`.
#[derive(Clone, Debug, clap::Args)]
pub struct MeasuredRunArgs {
    /// The file that what was measured is written to (JSON)
    #[arg(long)]
    to: PathBuf,

    /// The user to run as
    #[arg(long)]
    user: String,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// What a run has taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// From the start of the program to its end.
    pub time: Duration,
    /// The processor time of the program and of those it has waited for.
    pub processor_time: Duration,
    /// The most resident memory that the program, or one that it has waited for, had at a time, in
    /// bytes. Never less than ours: a few MiB.
    pub peak: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [time, processor] = [self.time, self.processor_time].map(|time| time.as_secs_f64());
        let mib = self.peak as f64 / 1_048_576.0;
        write!(
            out,
            "{time:.2} s, {processor:.2} s of processors, {mib:.1} MiB"
        )
    }
}

/// Runs the program to its end, which comes with ours at the latest.
///
/// # Errors
/// It cannot be started, or it fails.
pub fn run(args: &MeasuredRunArgs) -> anyhow::Result<()> {
    prctl::set_pdeathsig(Signal::SIGTERM).context("asking to end with the parent")?;
    // setpriv becomes the program.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "--init-groups"])
        .args(["--reuid", &args.user, "--regid", &args.user, "--"])
        .args(&args.command);
    let (status, measured) = measure(&mut command)?;
    ensure!(status.success(), "{}: {status}", display(&args.command));
    let text = serde_json::to_string(&measured)?;
    fs::write(&args.to, text).with_context(|| format!("writing {}", args.to.display()))
}

/// Only right for the first child of a process, since the kernel keeps the most of all.
fn measure(command: &mut Command) -> anyhow::Result<(ExitStatus, Measured)> {
    let begun = Instant::now();
    let status = command.status();
    let time = begun.elapsed();
    let status = status.with_context(|| format!("running {:?}", command.get_program()))?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking for the usage")?;
    let processor_time = [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| {
            Duration::from_micros(
                u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0),
            )
        })
        .sum();
    let measured = Measured {
        time,
        processor_time,
        // getrusage(2): in kilobytes, which are of 1024 bytes.
        peak: u64::try_from(usage.max_rss())? * 1024,
    };
    Ok((status, measured))
}

fn display(command: &[OsString]) -> String {
    let words = command.iter().map(|word| word.to_string_lossy());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_child_and_of_its_children_is_found() {
        // dd fills a buffer of 40 MiB; the shell waits for it, as xargs does for rm.
        let script = "dd if=/dev/zero of=/dev/null bs=40M count=1 status=none; true";
        let (status, measured) = measure(Command::new("sh").args(["-c", script])).unwrap();
        assert!(status.success());
        assert!(measured.peak >= 40 << 20, "{measured}");
    }

    #[test]
    fn a_failure_is_one() {
        let (status, _) = measure(&mut Command::new("false")).unwrap();
        assert!(!status.success());
        assert!(measure(&mut Command::new("/nonexistent")).is_err());
    }
}
