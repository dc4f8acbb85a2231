//! What time it is, for what is kept over restarts.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment: milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) u64);

/// Goes on evenly from the system's time at the start, also when that is set to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Moment,
    began: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            // A clock before 1970 is as good as one that stands there.
            start: Moment::default().after(now.unwrap_or_default()),
            began: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.start.after(self.began.elapsed())
    }
}

impl Moment {
    /// This much later.
    pub(super) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(millis(time)))
    }

    /// How long after the other one this is; zero when it is before.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The system's kind of time.
    pub(super) fn system(self) -> SystemTime {
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(self.0))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
