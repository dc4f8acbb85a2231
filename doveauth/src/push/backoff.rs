//! When a notification that could not be sent is tried again, as classic relays do it. No clock.

/// How long a notification is tried for, in seconds: who hears of a message after five hours has long seen
/// it.
pub const DEADLINE: u64 = 5 * 60 * 60;

/// The pause after the first failure, and the factor from one pause to the next, in seconds.
const BASE: u64 = 8;

/// When to try again, after `attempts` failures the last of which is at `now`; `None` to give up. Times are
/// in Unix seconds; `queued` is since when the notification waits.
///
/// The pauses are 8, 64, 512 and 4096 seconds. The next one would be longer than [`DEADLINE`].
pub fn next_attempt(queued: u64, attempts: u32, now: u64) -> Option<u64> {
    let pause = BASE.checked_pow(attempts)?;
    let next = now.checked_add(pause)?;
    (pause <= DEADLINE && !is_late(queued, next)).then_some(next)
}

/// Whether a notification has waited too long.
pub fn is_late(queued: u64, now: u64) -> bool {
    now > queued.saturating_add(DEADLINE)
}

/// The longest pause there is, in seconds.
pub const LONGEST_PAUSE: u64 = BASE.pow(4);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pauses_grow_by_eight() {
        let pauses: Vec<_> = (1..6).map(|n| next_attempt(1000, n, 1000)).collect();
        let expected = [
            Some(1008),
            Some(1064),
            Some(1512),
            Some(1000 + LONGEST_PAUSE),
            None,
        ];
        assert_eq!(pauses, expected);
    }

    #[test]
    fn nothing_is_tried_after_five_hours() {
        let queued = 1_700_000_000;
        assert_eq!(
            next_attempt(queued, 1, queued + DEADLINE - 8),
            Some(queued + DEADLINE)
        );
        assert_eq!(next_attempt(queued, 1, queued + DEADLINE - 7), None);
        assert!(!is_late(queued, queued + DEADLINE));
        assert!(is_late(queued, queued + DEADLINE + 1));
    }

    proptest! {
        #[test]
        fn an_attempt_is_later_and_in_time(queued: u64, attempts: u32, now: u64) {
            if let Some(next) = next_attempt(queued, attempts, now) {
                prop_assert!(attempts == 0 || next > now);
                prop_assert!(next - now <= LONGEST_PAUSE && !is_late(queued, next));
            }
        }
    }
}
