//! Deleting accounts, some time after it was decided.
//!
//! One thread takes them in the order in which they were [marked](chatmail::accounts::deletion), waits for
//! each until no login can be under way that began before, puts tombstones on their addresses, and removes
//! what nobody has taken back. Should the run be told to stop, all that still can be is taken back.

use std::ffi::CStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use chatmail::Address;
use chatmail::database::DatabaseError;
use chatmail::tombstones::Tombstones;

use super::deletion::{Deletion, PAUSE, address_of};
use super::summary::Counts;
use super::worker::Doomed;
use crate::account;
use crate::mailbox::Room;
use crate::removal;

/// Accounts that may wait for their deletion; workers wait when there are more.
pub(super) const WAITING_MAX: usize = 8192;

/// Accounts that are deleted with one transaction of tombstones.
const BATCH: usize = 512;

/// What it needs.
pub(super) struct Undertaker<'a> {
    pub(super) deletion: Deletion<'a>,
    pub(super) tombstones: Tombstones,
}

impl Undertaker<'_> {
    /// Works until nobody can send any more accounts. What could not be done is in the counts.
    pub(super) fn work(mut self, doomed: &Receiver<Doomed>) -> Counts {
        let mut counts = Counts::default();
        let mut room = Room::default();
        let mut batch = Vec::with_capacity(BATCH);
        let mut next = doomed.recv().ok();
        while let Some(first) = next.take() {
            if !self.wait(&first) {
                self.take_back(&first, &mut counts);
                for other in doomed {
                    self.take_back(&other, &mut counts);
                }
                break;
            }
            batch.push(first);
            while batch.len() < BATCH {
                match doomed.try_recv() {
                    Ok(other) if self.is_due(&other) => batch.push(other),
                    Ok(other) => {
                        next = Some(other);
                        break;
                    }
                    Err(_) => break,
                }
            }
            self.bury(&batch, &mut room, &mut counts);
            batch.clear();
            if next.is_none() {
                next = self.receive(doomed);
            }
        }
        counts
    }

    /// The next account, also when it is told to stop meanwhile: somebody has to take it back.
    fn receive(&self, doomed: &Receiver<Doomed>) -> Option<Doomed> {
        loop {
            match doomed.recv_timeout(PAUSE) {
                Ok(doomed) => return Some(doomed),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn is_due(&self, doomed: &Doomed) -> bool {
        doomed.since.is_none_or(|since| self.deletion.is_due(since))
    }

    /// Waits until an account may be deleted; `false` when told to stop.
    fn wait(&self, doomed: &Doomed) -> bool {
        match doomed.since {
            Some(since) => self.deletion.wait(since),
            None => !self.deletion.is_stopped(),
        }
    }

    fn bury(&mut self, batch: &[Doomed], room: &mut Room, counts: &mut Counts) {
        if let Err(error) = self.lay_tombstones(batch) {
            self.deletion
                .narrator
                .trouble("keep addresses from being taken over", &"", &error);
            for doomed in batch {
                counts.errors += 1;
                self.take_back(doomed, counts);
            }
            return;
        }
        for doomed in batch {
            let name = doomed.mailbox.as_c_str();
            match self.delete(doomed) {
                Ok(true) => self.remove(name, room, counts),
                Ok(false) => self.keep(name, counts),
                Err(error) => self.trouble("delete an account", name, &error, counts),
            }
        }
    }

    /// Removes the mailbox of a deleted account.
    fn remove(&self, name: &CStr, room: &mut Room, counts: &mut Counts) {
        match removal::remove(self.deletion.root, name, room) {
            Ok(()) => {
                counts.removed_mailboxes += 1;
                self.deletion
                    .narrator
                    .step(|| format!("removing {}", shown(name)));
            }
            Err(error) => self.trouble("remove a mailbox", name, &error, counts),
        }
    }

    /// Lets go of the address of an account that somebody has logged in to.
    fn keep(&mut self, name: &CStr, counts: &mut Counts) {
        counts.kept_accounts += 1;
        self.deletion
            .narrator
            .step(|| format!("keeping {}: a login", shown(name)));
        if let Err(error) = self.lift_tombstone(name) {
            self.trouble("let go of an address", name, &error, counts);
        }
    }

    fn trouble(&self, what: &str, name: &CStr, error: &dyn std::error::Error, counts: &mut Counts) {
        counts.errors += 1;
        self.deletion.narrator.trouble(what, &shown(name), error);
    }

    /// Deletes an account, if nobody has taken that back. Its mailbox is still there.
    fn delete(&self, doomed: &Doomed) -> std::io::Result<bool> {
        if doomed.since.is_none() {
            return Ok(true);
        }
        match self.deletion.root.open(doomed.mailbox.as_c_str()) {
            Ok(mailbox) => account::delete(&mailbox),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lay_tombstones(&mut self, batch: &[Doomed]) -> Result<(), DatabaseError> {
        let Some(until) = self.deletion.until else {
            return Ok(());
        };
        let marked = batch.iter().filter(|doomed| doomed.since.is_some());
        let addresses: Vec<Address> = marked
            .filter_map(|doomed| address_of(doomed.mailbox.as_c_str()))
            .collect();
        self.tombstones.lay(&addresses, until)
    }

    fn lift_tombstone(&mut self, name: &CStr) -> Result<(), DatabaseError> {
        match address_of(name) {
            Some(address) if self.deletion.until.is_some() => {
                self.tombstones.lift(&address).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn take_back(&self, doomed: &Doomed, counts: &mut Counts) {
        if doomed.since.is_none() {
            return;
        }
        let name = doomed.mailbox.as_c_str();
        let opened = self.deletion.root.open(name);
        if let Err(error) = opened.and_then(|mailbox| account::take_back(&mailbox)) {
            self.trouble("keep an account", name, &error, counts);
        }
    }
}

fn shown(name: &CStr) -> String {
    name.to_bytes().escape_ascii().to_string()
}
