//! What was counted and is not yet in the database.

use std::collections::HashMap;
use std::time::Duration;

use chatmail::Domain;

use super::histogram::Histogram;
use super::{Direction, Transport};

/// Most buckets that wait to be written. Each takes [`BUCKET_OCTETS_MAX`], so all of them take 10 MiB.
pub(super) const PENDING_MAX: usize = 4096;

/// The most memory that a bucket takes: the longest name, all classes of a histogram, the longest error.
#[cfg(test)]
const BUCKET_OCTETS_MAX: usize = 2560;

/// What a bucket counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) peer: Domain,
    pub(super) direction: Direction,
    pub(super) transport: Transport,
    /// Five minutes, numbered from 1970.
    pub(super) slot: i64,
}

/// What has been counted in a bucket since it was last written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) attempts: u64,
    /// Sum of the times of those that succeeded.
    pub(super) micros: u64,
    pub(super) times: Histogram,
    /// The last success, in seconds since 1970.
    pub(super) succeeded: Option<i64>,
    /// The last failure, and why.
    pub(super) failed: Option<(i64, String)>,
}

/// Buckets that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    buckets: HashMap<Key, Counts>,
    /// Attempts that were not counted for want of room.
    lost: u64,
}

impl Counts {
    /// Counts an attempt that took so long, or failed for this reason, at a time in seconds since 1970.
    pub(super) fn add(&mut self, outcome: Result<Duration, String>, now: i64) {
        self.attempts += 1;
        match outcome {
            Ok(took) => {
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.micros = self.micros.saturating_add(micros);
                self.times.add(took);
                self.succeeded = Some(now);
            }
            Err(why) => self.failed = Some((now, why)),
        }
    }

    /// Adds what was counted later.
    fn merge(&mut self, later: Self) {
        self.attempts += later.attempts;
        self.micros = self.micros.saturating_add(later.micros);
        self.times.merge(&later.times);
        self.succeeded = later.succeeded.or(self.succeeded);
        self.failed = later.failed.or(self.failed.take());
    }

    /// The last attempt.
    pub(super) fn contact(&self) -> i64 {
        let failed = self.failed.as_ref().map(|(at, _)| *at);
        self.succeeded.max(failed).unwrap_or_default()
    }
}

impl Pending {
    /// Where to count; `None` when there is no room, and then one attempt is lost.
    pub(super) fn bucket(&mut self, key: Key) -> Option<&mut Counts> {
        if self.buckets.len() >= PENDING_MAX && !self.buckets.contains_key(&key) {
            self.lost += 1;
            return None;
        }
        Some(self.buckets.entry(key).or_default())
    }

    /// How many buckets wait.
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Takes all of them, and the number of attempts that were lost since the last time.
    pub(super) fn take(&mut self) -> (HashMap<Key, Counts>, u64) {
        (
            std::mem::take(&mut self.buckets),
            std::mem::take(&mut self.lost),
        )
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&mut self, buckets: HashMap<Key, Counts>) {
        let later = std::mem::replace(&mut self.buckets, buckets);
        for (key, counts) in later {
            let attempts = counts.attempts;
            match self.bucket(key) {
                Some(bucket) => bucket.merge(counts),
                None => self.lost += attempts.saturating_sub(1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redaction::TEXT_MAX;

    fn key(number: usize) -> Key {
        Key {
            peer: format!("peer{number}.example").parse().unwrap(),
            direction: Direction::Outbound,
            transport: Transport::Smtp,
            slot: 1,
        }
    }

    #[test]
    fn room_is_bounded_and_what_is_lost_is_counted() {
        let mut pending = Pending::default();
        for number in 0..PENDING_MAX + 10 {
            if let Some(counts) = pending.bucket(key(number)) {
                counts.add(Ok(Duration::from_millis(1)), 1);
            }
        }
        assert_eq!(pending.len(), PENDING_MAX);
        pending.bucket(key(0)).unwrap().add(Err("no".into()), 2);
        let (taken, lost) = pending.take();
        assert_eq!((taken.len(), lost), (PENDING_MAX, 10));
        assert_eq!(taken[&key(0)].attempts, 2);
        assert_eq!(pending.take().1, 0);
        // What could not be written comes back, and what came meanwhile only as far as there is room.
        pending.bucket(key(0)).unwrap().add(Err("late".into()), 3);
        let new = pending.bucket(key(PENDING_MAX)).unwrap();
        (0..5).for_each(|_| new.add(Err("no".into()), 3));
        pending.put_back(taken);
        let (taken, lost) = pending.take();
        assert_eq!((taken.len(), lost), (PENDING_MAX, 5));
        let first = &taken[&key(0)];
        assert_eq!((first.attempts, first.succeeded), (3, Some(1)));
        assert_eq!(first.failed, Some((3, "late".into())));
    }

    #[test]
    fn a_bucket_is_small() {
        let mut counts = Counts::default();
        for class in 0..=120_i32 {
            counts.add(Ok(Duration::from_secs_f64(1e-4 * 1.2_f64.powi(class))), 1);
        }
        counts.add(Err("ä".repeat(TEXT_MAX)), 1);
        let (_, error) = counts.failed.unwrap();
        let name = 253;
        let octets = size_of::<(Key, Counts)>() + name + counts.times.octets() + error.capacity();
        assert!(octets <= BUCKET_OCTETS_MAX, "{octets}");
    }
}
