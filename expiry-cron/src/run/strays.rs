//! Copies of mailboxes that are on another backend: what a move leaves that was given up, or whose account was deleted
//! on its way and made again elsewhere.
//!
//! No mistake here is to cost anybody mail, whatever the database says: it may have been restored from a time before an
//! account came here, or this host be called by another's name. So only mailboxes go that hold no message (those of a copy
//! are gone by their age first), in which nothing has changed for as long as messages are kept, and whose row says
//! that they are elsewhere and not on their way. A mailbox whose account has no row stays: rows may have been lost.

use std::ffi::CString;
use std::io;
use std::sync::mpsc::Receiver;

use chatmail::Address;
use chatmail::postgres::{PostgresAccounts, PostgresError};
use tokio::runtime::Runtime;

use super::deletion::{Deletion, address_of};
use super::summary::Counts;
use crate::directory::{Directory, Status};
use crate::mailbox::{Message, Room, Trail, Visitor, walk};
use crate::time::Time;

/// Mailboxes that may wait for the database; workers wait when there are more.
pub(super) const WAITING_MAX: usize = 1024;

/// Mailboxes that the database is asked about at a time.
const BATCH: usize = 512;

/// What removes them.
pub(super) struct Strays<'a> {
    pub(super) postgres: PostgresAccounts,
    pub(super) runtime: Runtime,
    pub(super) deletion: Deletion<'a>,
    /// Whether anything is removed.
    pub(super) acts: bool,
}

impl Strays<'_> {
    /// Works until nobody can send any more mailboxes. What could not be done is in the counts.
    pub(super) fn work(&self, suspects: &Receiver<CString>) -> Counts {
        let mut counts = Counts::default();
        let mut batch = Vec::with_capacity(BATCH);
        let mut is_away = false;
        for suspect in suspects {
            // Else whoever sends would wait.
            if is_away || self.deletion.is_stopped() {
                continue;
            }
            batch.extend(address_of(&suspect));
            if batch.len() == BATCH {
                is_away = !self.judge(&batch, &mut counts);
                batch.clear();
            }
        }
        if !batch.is_empty() && !is_away {
            self.judge(&batch, &mut counts);
        }
        counts
    }

    /// `false` when the database does not answer.
    fn judge(&self, batch: &[Address], counts: &mut Counts) -> bool {
        let judged = self.try_judge(batch, counts);
        if let Err(error) = &judged {
            counts.errors += 1;
            let what = "find copies of mailboxes that are elsewhere";
            self.deletion.narrator.trouble(what, &"", error);
        }
        judged.is_ok()
    }

    fn try_judge(&self, batch: &[Address], counts: &mut Counts) -> Result<(), PostgresError> {
        let elsewhere = self.runtime.block_on(self.postgres.elsewhere(batch))?;
        for address in elsewhere {
            if self.deletion.is_stopped() {
                break;
            }
            if !self.acts {
                counts.removed_mailboxes += 1;
                let step = || format!("would remove {address} (it is on another backend)");
                self.deletion.narrator.step(step);
                continue;
            }
            let remove = || self.deletion.remove_mailbox(&address, &mut Room::default());
            let removed = self.postgres.while_elsewhere(&address, remove);
            match self.runtime.block_on(removed)? {
                None => {}
                Some(Ok(())) => counts.removed_mailboxes += 1,
                Some(Err(error)) => {
                    counts.errors += 1;
                    let what = "remove a mailbox";
                    self.deletion.narrator.trouble(what, &address, &error);
                }
            }
        }
        Ok(())
    }
}

/// Whether a mailbox, whose name the trail begins with, holds no message and no file that was changed since.
pub(super) fn is_still(
    mailbox: &Directory,
    trail: &mut Trail,
    room: &mut Room,
    since: Time,
) -> bool {
    let mut visitor = Still { since, is: true };
    walk(mailbox, trail, room, &mut visitor);
    visitor.is
}

struct Still {
    since: Time,
    is: bool,
}

impl Visitor for Still {
    fn message(&mut self, _at: &Trail, _message: Message<'_>) {
        self.is = false;
    }

    fn other_file(&mut self, status: Status) {
        self.is &= status.modified < self.since;
    }

    fn wants_other_files(&self) -> bool {
        true
    }

    fn trouble(&mut self, _at: &Trail, _error: &io::Error) {
        self.is = false;
    }
}
