//! Accounts in PostgreSQL: those of this backend that nobody has used for long are marked before the walk through the
//! mailboxes, and deleted after it, when no login can be under way that began before. A mailbox goes when its account
//! has gone; what a killed run leaves of that, and what operators have deleted on other hosts, the next run removes.

use std::time::Instant;

use chatmail::Address;
use chatmail::postgres::{PostgresAccounts, PostgresError};
use chatmail::tombstones::Day;
use tokio::runtime::Runtime;

use super::deletion::Deletion;
use super::summary::Counts;
use crate::mailbox::Room;

/// What deletes accounts.
pub(super) struct Rows<'a> {
    pub(super) postgres: PostgresAccounts,
    pub(super) runtime: Runtime,
    pub(super) deletion: Deletion<'a>,
    /// Accounts go that were last used before.
    pub(super) oldest_login: Day,
}

impl Rows<'_> {
    /// What would go.
    pub(super) fn count(&self) -> Result<u64, PostgresError> {
        self.runtime
            .block_on(self.postgres.count_inactive(self.oldest_login))
    }

    /// Removes tombstones that are over, and marks accounts: how many, and when.
    pub(super) fn mark(&self, today: Day) -> Result<(u64, Instant), PostgresError> {
        let expired = self.postgres.postgres().remove_expired_tombstones(today);
        self.runtime.block_on(expired)?;
        let marked = self.postgres.mark_inactive(self.oldest_login);
        Ok((self.runtime.block_on(marked)?, Instant::now()))
    }

    /// Deletes what is still marked, and removes the mailboxes of what is gone.
    pub(super) fn delete(&self, marked: u64, since: Instant) -> Counts {
        let mut counts = Counts::default();
        let done = self.delete_rows(marked, since, &mut counts);
        let done = done.and_then(|()| self.remove_mailboxes(&mut counts));
        if let Err(error) = done {
            counts.errors += 1;
            self.deletion
                .narrator
                .trouble("delete accounts", &"", &error);
        }
        counts
    }

    fn delete_rows(
        &self,
        marked: u64,
        since: Instant,
        counts: &mut Counts,
    ) -> Result<(), PostgresError> {
        if marked == 0 {
            return Ok(());
        }
        self.deletion.wait(since);
        let mut deleted = 0;
        while !self.deletion.is_stopped() {
            let (oldest_login, until) = (self.oldest_login, self.deletion.until);
            let batch = self.postgres.delete_marked(oldest_login, until);
            let gone = self.runtime.block_on(batch)?;
            if gone.is_empty() {
                break;
            }
            deleted += gone.len() as u64;
            for address in &gone {
                self.remove(address, counts)?;
            }
        }
        let kept = self.runtime.block_on(self.postgres.keep_marked())?;
        counts.kept_accounts += marked.saturating_sub(deleted).saturating_sub(kept);
        Ok(())
    }

    /// What others have left to be removed.
    fn remove_mailboxes(&self, counts: &mut Counts) -> Result<(), PostgresError> {
        let here = self.postgres.backend_name();
        let left = self.postgres.postgres().removals(here);
        for address in self.runtime.block_on(left)? {
            if self.deletion.is_stopped() {
                break;
            }
            self.remove(&address, counts)?;
        }
        Ok(())
    }

    /// Removes a mailbox, and then lets go of its name. The row stays when the mailbox does.
    fn remove(&self, address: &Address, counts: &mut Counts) -> Result<(), PostgresError> {
        let removed = self.deletion.remove_mailbox(address, &mut Room::default());
        match removed {
            Ok(()) => {
                counts.removed_mailboxes += 1;
                self.runtime
                    .block_on(self.postgres.mailbox_is_gone(address))
            }
            Err(error) => {
                counts.errors += 1;
                let narrator = self.deletion.narrator;
                narrator.trouble("remove a mailbox", address, &error);
                Ok(())
            }
        }
    }
}
