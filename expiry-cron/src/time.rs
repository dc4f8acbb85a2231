//! Times of files, and the time of a run.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// Seconds in a day. Days are counted in them, whatever the calendar and the time zone say.
pub const DAY: i64 = 24 * 60 * 60;

/// A moment, as file systems have it: seconds since 1970 (UTC), which may be negative, and
/// nanoseconds after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    seconds: i64,
    nanoseconds: i64,
}

/// What is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is written 2026-01-31T12:00:00Z (UTC), or in seconds since 1970")]
pub struct TimeError;

impl Time {
    /// The beginning of 1970, which files have whose time was lost.
    pub const EPOCH: Self = Self::new(0, 0);

    /// A moment of this many seconds and nanoseconds.
    pub const fn new(seconds: i64, nanoseconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds,
        }
    }

    /// Now, by the clock of the machine.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// The moment that many days earlier.
    #[must_use]
    pub fn minus_days(self, days: u32) -> Self {
        Self {
            seconds: self.seconds.saturating_sub(i64::from(days) * DAY),
            ..self
        }
    }

    /// The same for the standard library; nothing before 1970.
    pub fn to_system(self) -> SystemTime {
        let seconds = u64::try_from(self.seconds).unwrap_or(0);
        let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        since.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The day, `2026-01-31`, in UTC.
    pub fn day(self) -> String {
        let time =
            humantime::format_rfc3339_seconds(self.to_system().min(last_known())).to_string();
        time.chars().take_while(|&letter| letter != 'T').collect()
    }
}

/// The end of the year 9999: later times have no form in RFC 3339.
fn last_known() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self::new(seconds, since.subsec_nanos().into())
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self::new(seconds, 0));
        }
        let parsed = humantime::parse_rfc3339_weak(text);
        parsed.map(Self::from).map_err(|_| TimeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", Some(0))]
    #[case("1775324677", Some(1_775_324_677))]
    #[case("-5", Some(-5))]
    #[case("1970-01-02T00:00:00Z", Some(DAY))]
    #[case("1970-01-02 00:00:01", Some(DAY + 1))]
    #[case("", None)]
    #[case("tomorrow", None)]
    #[case("1970-01-02T00:00:00+02:00", None)]
    fn times_are_read(#[case] text: &str, #[case] seconds: Option<i64>) {
        assert_eq!(text.parse().ok().map(Time::seconds), seconds);
    }

    #[rstest]
    #[case(Time::new(0, 0), "1970-01-01")]
    #[case(Time::new(-DAY, 0), "1970-01-01")]
    #[case(Time::new(1_775_324_677, 5), "2026-04-04")]
    #[case(Time::new(i64::MAX, 0), "9999-12-31")]
    fn days_are_shown(#[case] time: Time, #[case] day: &str) {
        assert_eq!(time.day(), day);
    }

    #[test]
    fn nothing_overflows() {
        let first = Time::new(i64::MIN, 0);
        assert_eq!(first.minus_days(u32::MAX), first);
        assert!(Time::new(5, 1) > Time::new(5, 0));
    }
}
