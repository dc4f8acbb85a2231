//! Making room in a mailbox that is too full: the oldest messages of its INBOX go.
//!
//! Sizes and times are those in the names, as Dovecot counts them. What goes is found in rounds, each of
//! which picks the oldest [`PICKED`] messages, so that memory does not grow with the mailbox.

use std::collections::BinaryHeap;
use std::ffi::{CStr, CString};
use std::io::{self, ErrorKind};

use crate::directory::{Directory, Kind, Status};
use crate::mailbox::Room;
use crate::rules::Part;
use crate::stamp::Stamp;

/// Messages that are picked in a round; each takes some hundred octets of memory.
const PICKED: usize = 4096;

/// How often it begins anew because messages have vanished.
const RESTARTS: usize = 5;

/// Where the messages that count are.
const PARTS: [Part; 2] = [Part::Cur, Part::New];

/// A message that could go. The order is that in which they do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// What its name says.
    pub stamp: Stamp,
    /// Where it is.
    pub part: Part,
    /// Its name.
    pub name: CString,
}

/// Says which messages take part, and what becomes of those that go.
pub trait Trimming {
    /// Whether a message neither counts nor goes, for example since it goes anyway.
    fn leaves_out(&self, part: Part, directory: &Directory, name: &CStr) -> bool {
        let _ = (part, directory, name);
        false
    }

    /// Whether a message stays, and with it all that are younger.
    fn is_protected(&self, stamp: Stamp) -> bool;

    /// Lets a message go. `false` when it has vanished, or has another name now.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&mut self, directory: &Directory, message: &Candidate) -> io::Result<bool>;
}

/// Removes the oldest messages until those that are left have no more than `target` octets.
///
/// # Errors
/// What the system says; then less is removed.
pub fn trim(
    mailbox: &Directory,
    target: u64,
    room: &mut Room,
    trimming: &mut impl Trimming,
) -> io::Result<()> {
    let inbox = Inbox::open(mailbox)?;
    for _ in 0..=RESTARTS {
        if inbox.trim(target, room, trimming)? == Outcome::Done {
            break;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// There is room, or nothing more may go.
    Done,
    /// Some were not there any more: what is left has to be counted anew.
    Vanished,
}

/// The directories of an INBOX that are there.
struct Inbox(Vec<(Part, Directory)>);

impl Inbox {
    fn open(mailbox: &Directory) -> io::Result<Self> {
        let mut parts = Vec::with_capacity(PARTS.len());
        for part in PARTS {
            match mailbox.open(part.as_str()) {
                Ok(directory) => parts.push((part, directory)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(parts))
    }

    fn trim(
        &self,
        target: u64,
        room: &mut Room,
        trimming: &mut impl Trimming,
    ) -> io::Result<Outcome> {
        let mut total = 0_u64;
        self.each(room, trimming, |candidate| {
            total = total.saturating_add(candidate.0.size);
        })?;
        let mut last: Option<Candidate> = None;
        while total > target {
            let picked = self.oldest_after(last.as_ref(), room, trimming)?;
            if picked.is_empty() {
                break;
            }
            for candidate in picked {
                if total <= target || trimming.is_protected(candidate.stamp) {
                    return Ok(Outcome::Done);
                }
                let found = self.0.iter().find(|(part, _)| *part == candidate.part);
                if let Some((_, directory)) = found
                    && !trimming.remove(directory, &candidate)?
                {
                    return Ok(Outcome::Vanished);
                }
                total = total.saturating_sub(candidate.stamp.size);
                last = Some(candidate);
            }
        }
        Ok(Outcome::Done)
    }

    /// The oldest messages of those that come after one, in order.
    fn oldest_after(
        &self,
        last: Option<&Candidate>,
        room: &mut Room,
        trimming: &impl Trimming,
    ) -> io::Result<Vec<Candidate>> {
        let mut oldest: BinaryHeap<Candidate> = BinaryHeap::with_capacity(PICKED + 1);
        self.each(room, trimming, |(stamp, part, name)| {
            let is_younger = |other: &Candidate| {
                (stamp, part, name) >= (other.stamp, other.part, other.name.as_c_str())
            };
            let full = oldest.len() >= PICKED;
            if full && oldest.peek().is_some_and(is_younger) {
                return;
            }
            let is_new = |last: &Candidate| {
                (stamp, part, name) > (last.stamp, last.part, last.name.as_c_str())
            };
            if !last.is_none_or(is_new) {
                return;
            }
            let name = name.to_owned();
            oldest.push(Candidate { stamp, part, name });
            if full {
                oldest.pop();
            }
        })?;
        Ok(oldest.into_sorted_vec())
    }

    fn each(
        &self,
        room: &mut Room,
        trimming: &impl Trimming,
        mut look: impl FnMut((Stamp, Part, &CStr)),
    ) -> io::Result<()> {
        let mut buffer = room.buffer();
        let mut listed = Ok(());
        for (part, directory) in &self.0 {
            let mut names = directory.list(&mut buffer)?;
            listed = names.for_each(|name, kind| {
                let Some(stamp) = Stamp::parse(name.to_bytes()) else {
                    return;
                };
                let is_file = match kind {
                    Kind::File => true,
                    Kind::Directory | Kind::Other => false,
                    Kind::Unknown => {
                        let status = directory.status(name);
                        matches!(
                            status,
                            Ok(Some(Status {
                                kind: Kind::File,
                                ..
                            }))
                        )
                    }
                };
                if is_file && !trimming.leaves_out(*part, directory, name) {
                    look((stamp, *part, name));
                }
            });
            if listed.is_err() {
                break;
            }
        }
        room.give_back(buffer);
        listed
    }
}
