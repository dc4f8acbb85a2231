//! Removing a mailbox whose account is deleted.

use std::ffi::CStr;
use std::io::{self, ErrorKind};

use chatmail::accounts::PASSWORD_FILE;
use chatmail::accounts::deletion::EXPIRED_FILE;

use crate::directory::{Directory, Kind};
use crate::mailbox::{DEPTH_MAX, Room};

/// How often a mailbox is gone through into which something still comes.
const ROUNDS: usize = 3;

/// What a directory that lies too deep is called once it was moved up.
const MOVED_UP: &str = "expired.deep";

/// Removes a mailbox with everything in it. Its [`EXPIRED_FILE`] goes last, so that a run that was
/// killed on the way is followed by one that goes on. A file called `password`, which whoever gets the
/// address next may just have made, is never removed; then the mailbox stays.
///
/// # Errors
/// What the system says; as much as could be is removed.
pub fn remove(root: &Directory, name: &CStr, room: &mut Room) -> io::Result<()> {
    let mailbox = match root.open(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut removal = Removal {
        top: &mailbox,
        room,
        moved: 0,
        failed: None,
    };
    let mut round = 0;
    loop {
        let moved_before = removal.moved;
        removal.empty(&mailbox, 0);
        if let Some(error) = removal.failed {
            return Err(error);
        }
        if removal.moved > moved_before {
            continue;
        }
        round += 1;
        if mailbox.status(PASSWORD_FILE)?.is_some() {
            return Ok(());
        }
        mailbox.remove_file(EXPIRED_FILE)?;
        match root.remove_directory(name) {
            // A delivery that was under way.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && round < ROUNDS => {}
            removed => return removed.map(drop),
        }
    }
}

struct Removal<'a> {
    top: &'a Directory,
    room: &'a mut Room,
    /// Directories that were moved up so far, each to be removed in another round.
    moved: u32,
    /// The first error.
    failed: Option<io::Error>,
}

impl Removal<'_> {
    /// Removes what is in a directory.
    fn empty(&mut self, directory: &Directory, depth: usize) {
        let mut buffer = self.room.buffer();
        let listed = directory.list(&mut buffer).and_then(|mut names| {
            names.for_each(|name, kind| {
                if depth > 0 || !is_kept(name) {
                    let removed = self.remove(directory, name, kind, depth);
                    self.note(removed);
                }
            })
        });
        self.room.give_back(buffer);
        self.note(listed);
    }

    fn remove(
        &mut self,
        parent: &Directory,
        name: &CStr,
        kind: Kind,
        depth: usize,
    ) -> io::Result<()> {
        if !matches!(kind, Kind::Directory | Kind::Unknown) {
            return parent.remove_file(name).map(drop);
        }
        if kind == Kind::Unknown
            && let Some(status) = parent.status(name)?
            && status.kind != Kind::Directory
        {
            return parent.remove_file(name).map(drop);
        }
        if depth == DEPTH_MAX {
            return self.move_up(parent, name);
        }
        let directory = match parent.open(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        self.empty(&directory, depth + 1);
        parent.remove_directory(name).map(drop)
    }

    /// However deep directories lie in one another, no more than some are open at a time.
    fn move_up(&mut self, parent: &Directory, name: &CStr) -> io::Result<()> {
        self.moved += 1;
        let to = format!("{MOVED_UP}.{}.{}", std::process::id(), self.moved);
        parent.move_to(name, self.top, to).map(drop)
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}

fn is_kept(name: &CStr) -> bool {
    [PASSWORD_FILE, EXPIRED_FILE]
        .iter()
        .any(|kept| kept.as_bytes() == name.to_bytes())
}
