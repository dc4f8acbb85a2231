//! Keeps a flood of bad input from becoming a flood of log lines.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Lets one line of a kind through per [`LogLimit::INTERVAL`] and counts the others.
#[derive(Debug)]
pub struct LogLimit {
    began: Instant,
    /// Milliseconds since `began` from which the next line may be written.
    next: AtomicU64,
    suppressed: AtomicU64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl LogLimit {
    /// How long a line keeps the next ones back.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// The first line may be written at once.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            next: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// `Some` when a line may be written now, with the number of those that were not.
    pub fn allow(&self) -> Option<u64> {
        self.allow_at(self.began.elapsed())
    }

    fn allow_at(&self, elapsed: Duration) -> Option<u64> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(elapsed);
        let next = self.next.load(Relaxed);
        let after = now.saturating_add(millis(Self::INTERVAL));
        if now >= next
            && self
                .next
                .compare_exchange(next, after, Relaxed, Relaxed)
                .is_ok()
        {
            return Some(self.suppressed.swap(0, Relaxed));
        }
        self.suppressed.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_tells_of_the_others() {
        let limit = LogLimit::new();
        assert_eq!(limit.allow_at(Duration::ZERO), Some(0));
        assert_eq!(limit.allow_at(Duration::from_secs(1)), None);
        assert_eq!(limit.allow_at(Duration::from_secs(9)), None);
        assert_eq!(limit.allow_at(LogLimit::INTERVAL), Some(2));
        assert_eq!(limit.allow_at(LogLimit::INTERVAL), None);
    }
}
