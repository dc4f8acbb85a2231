//! What goes and what stays.
//!
//! Decisions are those of a classic relay's job on the same tree, so that an operator who changes over,
//! or back, sees the same mail go on the same day. `now` is the moment at which the run began; all
//! comparisons are with it, to the nanosecond, in days of 86 400 s, whatever the time zone. Each row has
//! a test of its own in `tests/rules.rs`, under the name in the first column.
//!
//! | row | what is found | what happens |
//! |---|---|---|
//! | `account-unused` | `password` older than `delete_inactive_users_after` days | the whole mailbox goes |
//! | `account-at-the-limit` | exactly that old | it stays |
//! | `account-without-time` | `password` of 1970-01-01 00:00 exactly, as a lost time looks | it stays |
//! | `no-password` | a mailbox without `password`, whose login is elsewhere | it stays; its messages are treated as any |
//! | `old` | a message older than `delete_mails_after` days, in `cur`, `new` or `tmp` | it goes |
//! | `old-at-the-limit` | exactly that old | it stays |
//! | `old-in-folder` | the same in `cur`, `new`, `tmp` of a folder, of a folder in it, and so on | it goes |
//! | `large-seen` | over 200 000 octets, older than `delete_large_after` days, in a `cur` | it goes |
//! | `large-unseen` | the same in a `new` or `tmp` | it stays |
//! | `large-at-the-limit` | exactly 200 000 octets, or exactly that old | it stays |
//! | `time-is-the-files` | a name that tells another time than the file has | the file's counts |
//! | `any-name` | a name in `cur` that is not Dovecot's, or not UTF-8 | it is a message |
//! | `not-a-file` | a directory in a `cur`, a link, a FIFO | it stays |
//! | `other-files` | old files elsewhere: Dovecot's indexes, `enforceE2EEincoming` | they stay |
//! | `other-directories` | in the directory of all mailboxes: a name without `@`, or a file | it stays |
//! | `over-quota` | INBOX (top `cur` and `new`) over 70 % of `max_mailbox_size`, by the sizes in the names | oldest first, by the times in the names, until it is not |
//! | `at-the-quota` | exactly 70 % | nothing more |
//! | `over-quota-after-age` | over 70 % only with messages that go by age | nothing more |
//! | `over-quota-young` | over 70 % with messages of the last 24 h by their names | those stay |
//! | `over-quota-other-names` | names without a size | they neither count nor go |
//! | `over-quota-folders` | folders, `tmp` | they neither count nor go |
//! | `over-quota-ties` | messages of the same second | the smaller one first, then by name |
//! | `maildirsize` | something goes from a mailbox | Dovecot's count goes before it, so that it counts anew |
//! | `maildirsize-unchanged` | nothing has gone | it stays |
//! | `empty` | a mailbox with nothing in it, changed over a day ago | it goes |
//!
//! With a `database_url` accounts are judged by their rows, in the same way, and there are two more, with tests in
//! `tests/rows.rs`:
//!
//! | what is found | what happens |
//! |---|---|
//! | a mailbox without messages, in which no file has changed for `delete_mails_after` days, of an account that is on another backend and not on its way here | it goes |
//! | the same of an account that has no row | it stays: rows may have been lost |
//!
//! Where a classic relay does something else it is a fault that was not taken over: its dry run removes
//! messages over quota; its run counts a large unseen message as removed, follows links out of the
//! mailboxes, takes a file `password` in any folder for the account's, and ends at the first directory that
//! it cannot read. It leaves empty mailboxes.

use std::time::Duration;

use chatmail::Config;
use chatmail::tombstones::Day;

use crate::stamp::Stamp;
use crate::time::{DAY, Time};

/// Larger messages can go earlier. In octets.
const LARGE: u64 = 200_000;

/// Days for which an empty mailbox stays, which may be one that is just being made.
const EMPTY_DAYS: u32 = 1;

/// Days for which a message stays however full the mailbox is: somebody's devices may have trouble, and
/// a mailbox that is full shows them.
const PROTECTED_DAYS: u32 = 1;

/// Which of a folder's directories a message is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `cur`: a client has seen that it is there.
    Cur,
    /// `new`: no client has.
    New,
    /// `tmp`: it is being delivered, or a delivery ended half-way.
    Tmp,
}

impl Part {
    /// The directory of this name, if it is one for messages.
    pub fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"cur" => Some(Self::Cur),
            b"new" => Some(Self::New),
            b"tmp" => Some(Self::Tmp),
            _ => None,
        }
    }

    /// The name of the directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cur => "cur",
            Self::New => "new",
            Self::Tmp => "tmp",
        }
    }
}

/// Why a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is older than any message may be.
    Old,
    /// It is older than a large message may be that was seen.
    Large,
    /// The mailbox is too full.
    OverQuota,
}

/// The rules at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    now: Time,
    oldest_message: Time,
    oldest_large_message: Time,
    oldest_login: Time,
    trim_to: u64,
}

impl Rules {
    /// The rules of a configuration, at this moment.
    pub fn new(config: &Config, now: Time) -> Self {
        let max = config.max_mailbox_size.bytes();
        Self {
            now,
            oldest_message: now.minus_days(config.delete_mails_after),
            oldest_large_message: now.minus_days(config.delete_large_after),
            oldest_login: now.minus_days(config.delete_inactive_users_after),
            // 70 %, rounded down, without overflow.
            trim_to: max / 10 * 7 + max % 10 * 7 / 10,
        }
    }

    /// The moment.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The first day on which a last login keeps an account, where logins are known by the day.
    pub fn oldest_login_day(&self) -> Day {
        let day = Duration::from_secs(DAY.unsigned_abs());
        Day::of(self.oldest_login.to_system() + day - Duration::from_secs(1))
    }

    /// Whether an account goes that was last logged in to then.
    pub fn account_goes(&self, last_login: Time) -> bool {
        last_login < self.oldest_login && last_login != Time::EPOCH
    }

    /// Whether a message goes by its age, and why.
    pub fn message_goes(&self, part: Part, modified: Time, size: u64) -> Option<Reason> {
        if modified < self.oldest_message {
            Some(Reason::Old)
        } else if size > LARGE && modified < self.oldest_large_message && part == Part::Cur {
            Some(Reason::Large)
        } else {
            None
        }
    }

    /// Messages go that are older.
    pub fn oldest_message(&self) -> Time {
        self.oldest_message
    }

    /// Octets that an INBOX may have before its oldest messages go.
    pub fn trim_to(&self) -> u64 {
        self.trim_to
    }

    /// Whether a message stays however full the mailbox is.
    pub fn is_protected(&self, stamp: Stamp) -> bool {
        let arrived = i64::try_from(stamp.arrived).unwrap_or(i64::MAX);
        Time::new(arrived, 0) > self.now.minus_days(PROTECTED_DAYS)
    }

    /// Whether a mailbox with nothing in it goes, which changed then.
    pub fn empty_goes(&self, modified: Time) -> bool {
        modified < self.now.minus_days(EMPTY_DAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn seventy_percent_of_any_size() {
        for (max, expected) in [
            ("500M", 367_001_600),
            ("0", 0),
            ("1", 0),
            ("3", 2),
            ("19", 13),
            ("18446744073709551615", 12_912_720_851_596_686_130),
        ] {
            let text = format!("[params]\nmail_domain = x.org\nmax_mailbox_size = {max}\n");
            let (config, _) = Config::parse(&text, Path::new("x")).unwrap();
            assert_eq!(Rules::new(&config, Time::EPOCH).trim_to(), expected);
        }
    }
}
