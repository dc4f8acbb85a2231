//! Where reads of small files run: on the calling thread while they are quick, else on threads that
//! may wait.
//!
//! What the kernel has cached is read in some microseconds, less than handing the work to another
//! thread takes. But after a restart of the machine every account is read from the disk, and then a
//! thread that serves everybody must not wait for each in turn.
//!
//! Time alone does not tell a slow disk from a busy processor, on which another thread would only
//! make it worse. So a read counts as slow when it took long *and* the kernel had to read blocks.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// A read that takes longer than this may have waited for a disk.
const SLOW: Duration = Duration::from_millis(1);

/// How long reads go to other threads after a slow one.
const SPELL: Duration = Duration::from_secs(1);

/// Remembers how quick the last reads were.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    /// Milliseconds since `began` until which reads are expected to be slow.
    slow_until: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

impl Pace {
    /// Expects quick reads.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            slow_until: AtomicU64::new(0),
        }
    }

    /// Whether a read may run on a thread that serves others as well.
    pub fn is_quick(&self) -> bool {
        milliseconds(self.began.elapsed()) >= self.slow_until.load(Relaxed)
    }

    /// Does a piece of work and takes note of how long it took.
    pub fn observe<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        if started.elapsed() >= SLOW && blocks_were_read() {
            let until = milliseconds(self.began.elapsed() + SPELL);
            self.slow_until.fetch_max(until, Relaxed);
        }
        result
    }
}

/// Whether the kernel read blocks for this thread since it was last asked (`ru_inblock`).
fn blocks_were_read() -> bool {
    thread_local!(static SEEN: Cell<i64> = const { Cell::new(0) });
    let read = getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.block_reads());
    SEEN.replace(read) != read
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_alone_is_no_slow_disk() {
        let pace = Pace::new();
        assert_eq!(pace.observe(|| 1), 1);
        blocks_were_read();
        pace.observe(|| std::thread::sleep(SLOW * 2));
        assert!(pace.is_quick());
    }

    #[test]
    fn a_slow_spell_ends() {
        let pace = Pace::new();
        pace.slow_until.store(60_000, Relaxed);
        assert!(!pace.is_quick());
        pace.slow_until.store(0, Relaxed);
        assert!(pace.is_quick());
    }
}
