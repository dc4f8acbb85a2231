//! What a run has found and done, in numbers.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;

/// What was found and removed; on a dry run, what would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Mailboxes that were looked at.
    pub mailboxes: u64,
    /// Mailboxes of deleted accounts, and empty ones.
    pub removed_mailboxes: u64,
    /// Accounts that were to be deleted, and that somebody logged in to meanwhile.
    pub kept_accounts: u64,
    /// Messages in mailboxes that stay.
    pub messages: u64,
    /// Those of them that are gone.
    pub removed_messages: u64,
    /// Of these, by their age.
    pub removed_old: u64,
    /// By their age and size.
    pub removed_large: u64,
    /// Since the mailbox was too full.
    pub removed_over_quota: u64,
    /// Files that are gone from mailboxes that stay: messages and Dovecot's counts.
    pub removed_files: u64,
    /// Octets in messages that are gone from mailboxes that stay.
    pub removed_bytes: u64,
    /// What could not be read or removed.
    pub errors: u64,
}

/// A run as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Nothing was removed.
    pub dry_run: bool,
    /// It was told to stop before its end.
    pub stopped: bool,
    /// The numbers.
    #[serde(flatten)]
    pub counts: Counts,
    /// How long it took.
    pub seconds: f64,
}

impl Summary {
    /// The summary of a run that took so long.
    pub fn new(counts: Counts, dry_run: bool, stopped: bool, took: Duration) -> Self {
        Self {
            dry_run,
            stopped,
            counts,
            // To the millisecond.
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
        }
    }
}

/// The sentence that a classic relay's job ends with.
impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = match self.dry_run {
            true => "Would remove",
            false => "Removed",
        };
        let counts = &self.counts;
        write!(
            out,
            "{removed} {} out of {} mailboxes and {} out of {} files in existing mailboxes in {:.2} seconds",
            counts.removed_mailboxes,
            counts.mailboxes,
            counts.removed_files,
            counts.messages,
            self.seconds
        )?;
        if self.stopped {
            out.write_str("; stopped before the end")?;
        }
        if counts.errors > 0 {
            write!(out, "; {} could not be read or removed", counts.errors)?;
        }
        Ok(())
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.mailboxes += other.mailboxes;
        self.removed_mailboxes += other.removed_mailboxes;
        self.kept_accounts += other.kept_accounts;
        self.messages += other.messages;
        self.removed_messages += other.removed_messages;
        self.removed_old += other.removed_old;
        self.removed_large += other.removed_large;
        self.removed_over_quota += other.removed_over_quota;
        self.removed_files += other.removed_files;
        self.removed_bytes += other.removed_bytes;
        self.errors += other.errors;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_that_of_a_classic_relay() {
        let counts = Counts {
            mailboxes: 9,
            removed_mailboxes: 2,
            messages: 70,
            removed_files: 12,
            ..Counts::default()
        };
        let took = Duration::from_millis(1234);
        let shown = Summary::new(counts, false, false, took).to_string();
        let expected = "Removed 2 out of 9 mailboxes and 12 out of 70 files in existing mailboxes \
            in 1.23 seconds";
        assert_eq!(shown, expected);
        let errors = Counts {
            errors: 3,
            ..counts
        };
        let shown = Summary::new(errors, true, true, took).to_string();
        assert!(shown.starts_with("Would remove 2 out of 9"), "{shown}");
        let end = "seconds; stopped before the end; 3 could not be read or removed";
        assert!(shown.ends_with(end), "{shown}");
    }
}
