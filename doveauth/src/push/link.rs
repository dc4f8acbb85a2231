//! How many posts may be under way at once. No I/O and no clock.
//!
//! All posts share one HTTP/2 connection. It is opened by a single post, and is good for many once that was
//! answered: several at once would open as many connections. After a post without an answer one goes alone again,
//! so that a server that is away is not asked for each notification at a time.

use std::time::{Duration, Instant};

use super::client::IDLE;

/// Posts that share an HTTP/2 connection.
const TOGETHER: usize = 64;

/// Posts at once to a server that has no HTTP/2, each with a connection of its own.
const CONNECTIONS: usize = 4;

/// A connection that was not used for so long may be closed.
const FRESH: Duration = IDLE.saturating_sub(Duration::from_secs(10));

/// What is known of the connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// When the last answer came, and whether over HTTP/2.
    answered: Option<(Instant, bool)>,
}

impl Link {
    /// How many posts may be under way.
    pub(super) fn limit(&self, now: Instant) -> usize {
        match self.answered {
            Some((at, is_http2)) if now.duration_since(at) < FRESH => match is_http2 {
                true => TOGETHER,
                false => CONNECTIONS,
            },
            _ => 1,
        }
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, now: Instant, is_http2: bool) {
        self.answered = Some((now, is_http2));
    }

    /// A post has come to nothing. `true` when those before did not.
    pub(super) fn failed(&mut self) -> bool {
        self.answered.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_first_and_many_follow() {
        let (mut link, now) = (Link::default(), Instant::now());
        assert_eq!(link.limit(now), 1);
        link.answered(now, true);
        assert_eq!(link.limit(now), TOGETHER);
        assert!(link.failed());
        assert!(!link.failed());
        assert_eq!(link.limit(now), 1);
        link.answered(now, false);
        assert_eq!(link.limit(now), CONNECTIONS);
    }

    #[test]
    fn a_connection_that_was_not_used_is_opened_by_one() {
        let (mut link, now) = (Link::default(), Instant::now());
        link.answered(now, true);
        assert_eq!(link.limit(now + FRESH), 1);
        assert_eq!(link.limit(now + FRESH - Duration::from_millis(1)), TOGETHER);
    }
}
