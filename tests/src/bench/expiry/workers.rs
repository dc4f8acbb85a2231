//! Threads that make large trees and look at them, and stop when somebody wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::ensure;
use nix::unistd::{setfsgid, setfsuid};
use tokio::signal::unix::{SignalKind, signal};

use crate::host::users::Owner;

/// Threads, more than processors: some of them wait for the disk.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    /// Who the files belong to.
    owner: Option<Owner>,
    interrupt: Interrupt,
}

impl Workers {
    /// Threads that do to files what this user may do.
    pub(super) fn new(owner: Owner, interrupt: Interrupt) -> Self {
        Self {
            owner: Some(owner),
            interrupt,
        }
    }

    /// Threads that may do what we may.
    #[cfg(test)]
    pub(super) fn as_we_are() -> Self {
        Self {
            owner: None,
            interrupt: Interrupt::default(),
        }
    }

    /// Does something to each number below `count`, about in order.
    ///
    /// # Errors
    /// The error of the thread that failed first, or somebody wants us to end.
    pub(super) fn each(
        &self,
        count: usize,
        work: impl Fn(usize) -> anyhow::Result<()> + Sync,
    ) -> anyhow::Result<()> {
        let next = AtomicUsize::new(0);
        let labour = || {
            // Of this thread alone, and only in what concerns files.
            if let Some(owner) = self.owner {
                setfsgid(owner.gid);
                setfsuid(owner.uid);
            }
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                let done = self.interrupt.check().and_then(|()| work(number));
                if done.is_err() {
                    // Nobody begins anything more.
                    next.fetch_max(count, Ordering::Relaxed);
                    return done;
                }
            }
        };
        let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(labour)).collect();
            let ended = running.into_iter().map(|thread| match thread.join() {
                Ok(outcome) => outcome,
                Err(_) => anyhow::bail!("a thread has panicked"),
            });
            // All are waited for, then the first error counts.
            ended.collect::<Vec<_>>().into_iter().collect()
        })
    }
}

/// Whether somebody wants us to end: Ctrl-C, or a signal that says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt {
    wanted: Arc<AtomicBool>,
}

impl Interrupt {
    /// Looks out for signals from now on. Whoever has this has to end after the first one; the second
    /// one ends the process.
    ///
    /// # Errors
    /// No handler can be set.
    pub(super) fn watch() -> anyhow::Result<Self> {
        let this = Self::default();
        let runtime = tokio::runtime::Handle::current();
        let _context = runtime.enter();
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let mut signals = signal(kind)?;
            let wanted = Arc::downgrade(&this.wanted);
            runtime.spawn(async move {
                while signals.recv().await.is_some() {
                    // When nobody is left to look, this is for another bench.
                    let seen = wanted.upgrade();
                    if seen.is_none_or(|wanted| wanted.swap(true, Ordering::Relaxed)) {
                        std::process::exit(128 + kind.as_raw_value());
                    }
                    eprintln!("clearing up; once more to leave everything as it is");
                }
            });
        }
        Ok(this)
    }

    /// An error when we are wanted to end.
    ///
    /// # Errors
    /// As said.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.is_wanted(), "interrupted");
        Ok(())
    }

    /// Whether we are wanted to end.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }
}
