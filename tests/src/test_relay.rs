//! A relay for a test: it lives as long as the value, or the process, that started it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binaries;
use crate::dns::Dns;
use crate::relay::RelayOptions;
use crate::target::Target;
use crate::up::numbered;

/// How long a relay may take to come up, on a machine that runs other tests as well.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How much of each log a failed test shows.
const LOG_LINES: usize = 30;

/// How long it may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A running relay, or several that know each other.
///
/// A supervisor process runs it, and stops everything at the end of its standard input. So nothing
/// is left behind, even when the test is killed.
#[derive(Debug)]
pub struct TestRelay {
    /// The relay; the first one, if there are several.
    pub target: Target,
    /// The others.
    pub peers: Vec<Target>,
    supervisor: Child,
}

impl TestRelay {
    /// Starts a relay and waits until it is ready. Blocks for about a second.
    ///
    /// # Errors
    /// Not root, something is not installed or not built, or the relay does not come up; the
    /// supervisor has said why on standard error.
    pub fn start(options: RelayOptions) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the relay's description")?;
        let file = folder.path().join("target.json");
        let mut supervisor = command(&options, &file)?
            .spawn()
            .context("starting the testbed")?;
        wait_for(&file, &mut supervisor)?;
        let target = Target::read(&file)?;
        let peers = (2..=options.kinds().count())
            .map(|number| Target::read(&numbered(&file, number)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            target,
            peers,
            supervisor,
        })
    }

    /// The DNS that the relays ask.
    ///
    /// # Errors
    /// The relays were not started by this version of the testbed.
    pub fn dns(&self) -> anyhow::Result<&Dns> {
        self.target.dns.as_ref().context("a testbed without DNS")
    }

    /// The log file of `postfix`, `dovecot` or a daemon, of the first relay.
    pub fn log(&self, process: &str) -> PathBuf {
        self.target
            .state_dir
            .join("log")
            .join(format!("{process}.log"))
    }

    /// Sends a signal to a process of the first relay and returns its process id.
    ///
    /// # Errors
    /// The relay has no such process, or it does not run at the moment.
    pub fn signal(&self, process: &str, signal: Signal) -> anyhow::Result<i32> {
        let pid = self.pid(process)?;
        kill(Pid::from_raw(pid), signal)
            .with_context(|| format!("sending {signal} to {process}"))?;
        Ok(pid)
    }

    /// The process id of a process of the first relay.
    ///
    /// # Errors
    /// The relay has no such process, or has not written its pid file.
    pub fn pid(&self, process: &str) -> anyhow::Result<i32> {
        let known = self.target.procs.get(process);
        known
            .with_context(|| format!("the relay runs no `{process}`"))?
            .pid()
    }

    /// Waits until a process of the first relay runs with another process id than `before`, and
    /// returns the new one. It may need another moment before it answers.
    ///
    /// # Errors
    /// It does not within `patience`.
    pub fn wait_restarted(
        &self,
        process: &str,
        before: i32,
        patience: Duration,
    ) -> anyhow::Result<i32> {
        let deadline = Instant::now() + patience;
        loop {
            let pid = self.pid(process)?;
            if pid != before {
                return Ok(pid);
            }
            ensure!(Instant::now() < deadline, "{process} is not started again");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops everything and waits until no process is left. Dropping does the same, silently.
    ///
    /// # Errors
    /// The supervisor did not end in time, or not well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        end(&mut self.supervisor)
    }
}

impl Drop for TestRelay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // They would be gone with the relay.
            self.target.show_logs(LOG_LINES);
        }
        if let Err(error) = end(&mut self.supervisor) {
            eprintln!("warning: {error:#}");
        }
    }
}

fn command(options: &RelayOptions, file: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(binaries::release("testbed")?);
    command
        .args(["up", "--no-build", "--until-stdin-closes"])
        .args(["--name", &new_name()])
        .args(options.arguments())
        .arg("--target")
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    Ok(command)
}

/// A name for a testbed: tests of one process run at the same time and want relays of their own.
pub(crate) fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("t{}-{count}", std::process::id())
}

/// Waits until a supervisor has written the file that says all is ready, and ends it if it does not.
///
/// # Errors
/// It does not in time, or has ended; it has said why on standard error.
pub(crate) fn wait_for(file: &Path, supervisor: &mut Child) -> anyhow::Result<()> {
    let Err(error) = wait(file, supervisor) else {
        return Ok(());
    };
    Err(match end(supervisor) {
        Ok(()) => error,
        Err(also) => error.context(also),
    })
}

fn wait(file: &Path, supervisor: &mut Child) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    while !file.exists() {
        if let Some(status) = supervisor.try_wait()? {
            bail!("the relay did not come up ({status}); the reason stands above");
        }
        ensure!(
            Instant::now() < deadline,
            "the relay is not ready after {} seconds",
            START_PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Ends a supervisor, and all that it runs. Idempotent: one that has ended is only asked for its status again.
///
/// # Errors
/// It did not end in time, or not well.
pub(crate) fn end(supervisor: &mut Child) -> anyhow::Result<()> {
    end_within(STOP_PATIENCE, supervisor)
}

/// As [`end`], of a relay that may take longer.
///
/// # Errors
/// As [`end`].
pub(crate) fn end_within(patience: Duration, supervisor: &mut Child) -> anyhow::Result<()> {
    drop(supervisor.stdin.take());
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = supervisor.try_wait()? {
            ensure!(status.success(), "the testbed ended with {status}");
            return Ok(());
        }
        if Instant::now() >= deadline {
            supervisor.kill()?;
            supervisor.wait()?;
            bail!(
                "the testbed did not end within {} seconds",
                patience.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
