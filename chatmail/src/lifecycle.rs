//! Start and end of a daemon: readiness, signals, the drain, exit statuses.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// How long a daemon goes on with work it has begun once it was told to stop.
///
/// Below Postfix's and Dovecot's patience of 30 s and systemd's of 90 s.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

/// How a daemon ended, as its exit status; the numbers are those of sysexits(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was told to stop and stopped.
    Stopped,
    /// Something failed that should not: see the log.
    Failure,
    /// A socket or port could not be had, or the system refused something else at the start.
    System,
    /// The configuration cannot be used.
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Stopped => 0,
            Exit::Failure => 70,
            Exit::System => 71,
            Exit::Configuration => 78,
        })
    }
}

/// The signals that tell a daemon to stop: `SIGTERM` and, at a terminal, `SIGINT`.
///
/// Made before [`notify_ready`], so that a signal which comes early is not lost.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes the signals over from their default action.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first of them.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Lets this process have as many files open as the system allows it. Every connection takes one,
/// and the usual soft limit of 1024 is soon reached.
pub fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Tells systemd, when it started us, that requests are answered from now on, and keeps telling it that
/// this is still so, when it wants to know (`WatchdogSec=`): from the runtime that answers them, so that
/// a daemon which hangs is killed and started again.
///
/// Called inside the runtime.
pub fn notify_ready() {
    notify(NotifyState::Ready);
    if let Some(patience) = sd_notify::watchdog_enabled() {
        tokio::spawn(keep_alive((patience / 3).max(Duration::from_millis(1))));
    }
}

async fn keep_alive(pause: Duration) {
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        notify(NotifyState::Watchdog);
    }
}

/// Tells systemd that no new work is taken.
pub fn notify_stopping() {
    notify(NotifyState::Stopping);
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd was not told of a change of state: {error}");
    }
}
