//! Deleting an account with its mailbox, at an operator's word.
//!
//! The states on the way are those of [`deletion`](crate::accounts::deletion), but for the one that a login takes
//! back: the account goes at once. So where we are killed on the way nobody gets an account in what is left, and
//! expiry-cron does the rest, or the next call.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;

use super::{Change, EXPIRED_FILE, EXPIRING_FILE, PASSWORD_FILE, Store, StoreError, cannot};
use crate::Address;

impl Store {
    /// Deletes an account with its mailbox, or a mailbox without account. `unreachable` is called in the
    /// middle: when nobody can log in any more, and before the mailbox goes. Tombstones are the caller's.
    ///
    /// No symbolic link is followed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn delete(
        &self,
        address: &Address,
        unreachable: impl FnOnce(),
    ) -> Result<Change, StoreError> {
        self.check_root()?;
        let Some(home) = self.home(address) else {
            return Ok(Change::Missing);
        };
        match make_unreachable(&home) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Change::Missing),
            made => made.map_err(cannot("take away a password file"))?,
        }
        unreachable();
        let removed = remove(&home);
        removed.map_err(cannot("remove a mailbox"))?;
        Ok(Change::Done)
    }
}

/// Leaves nothing by which one could log in, and what keeps a new account out. `NotFound` when there is no mailbox.
pub(super) fn make_unreachable(home: &Path) -> io::Result<()> {
    let not_through_links = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let folder: File = OpenOptions::new()
        .read(true)
        .custom_flags(not_through_links.bits())
        .open(home)?;
    for name in [PASSWORD_FILE, EXPIRING_FILE] {
        match renameat(folder.as_fd(), name, folder.as_fd(), EXPIRED_FILE) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let make = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(
        folder.as_fd(),
        EXPIRED_FILE,
        make,
        Mode::S_IRUSR | Mode::S_IWUSR,
    ) {
        // A link will be removed like everything else.
        Ok(_) | Err(Errno::ELOOP) => folder.sync_all(),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a mailbox, the file that keeps a new account out last. Links are removed, not followed.
fn remove(home: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(home)? {
        let entry = entry?;
        if entry.file_name() == EXPIRED_FILE {
            continue;
        }
        let removed = match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path()),
            false => std::fs::remove_file(entry.path()),
        };
        not_found_is_fine(removed)?;
    }
    not_found_is_fine(std::fs::remove_file(home.join(EXPIRED_FILE)))?;
    match std::fs::remove_dir(home) {
        // A server that has not heard of it, or a new account: whose it is, we do not know.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => not_found_is_fine(removed),
    }
}

fn not_found_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
