//! When the job last ran, to notice a clock that has gone wrong.
//!
//! To a clock that is years ahead all mail is old and no account was used for long. So a run that finds
//! itself more than a [`WEEK`] after the one before deletes nothing and says so; the next one, the night
//! after, goes by the clock again. A relay that was switched off for so long loses nothing by that, and an
//! operator has a day to see what the log says. With a clock that is behind, less is old: nothing can go
//! too early.

use chatmail::database::{Database, DatabaseError};
use rusqlite::OptionalExtension as _;

use crate::time::{DAY, Time};

/// The name of the job in the table.
const JOB: &str = "expiry";

/// The longest time between two runs, in days, after which the clock is still believed.
pub const WEEK: i64 = 7;

/// What the time of the last run says of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// It can be believed.
    Plausible,
    /// It is that many days ahead of the last run.
    Ahead(i64),
}

/// Notes that a run begins now, and compares with the one before.
///
/// # Errors
/// See [`DatabaseError`].
pub fn note(database: &mut Database, now: Time) -> Result<Clock, DatabaseError> {
    const SELECT: &str = "SELECT began FROM job_runs WHERE job = ?1";
    const REPLACE: &str = "INSERT OR REPLACE INTO job_runs VALUES (?1, ?2)";
    database.change(|transaction| {
        let last: Option<i64> = transaction
            .query_row(SELECT, [JOB], |row| row.get(0))
            .optional()?;
        transaction.execute(REPLACE, (JOB, now.seconds()))?;
        let days = last.map_or(0, |last| now.seconds().saturating_sub(last) / DAY);
        Ok(Ok(match days {
            days if days >= WEEK => Clock::Ahead(days),
            _ => Clock::Plausible,
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chatmail::database::SCHEMA;
    use std::time::Duration;

    #[test]
    fn a_leap_ahead_is_noticed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tables");
        let mut database =
            Database::open_or_create(&SCHEMA, &path, Duration::from_secs(5), None).unwrap();
        for (day, expected) in [
            (100, Clock::Plausible),
            (101, Clock::Plausible),
            (101 + WEEK, Clock::Ahead(WEEK)),
            (102 + WEEK, Clock::Plausible),
            (5000, Clock::Ahead(5000 - 102 - WEEK)),
            // Back again: nothing is old by that.
            (103, Clock::Plausible),
            (104, Clock::Plausible),
        ] {
            let found = note(&mut database, Time::new(day * DAY, 0)).unwrap();
            assert_eq!(found, expected, "day {day}");
        }
    }
}
