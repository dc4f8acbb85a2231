//! Directories by their descriptors.
//!
//! Everything is named relative to a directory that is open, by one name without a slash, and nothing
//! follows a link. So whatever a mailbox holds, and whatever is moved about meanwhile, no step leads out
//! of the directory of all mailboxes.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::time::Time;

/// Octets in which the kernel lists names: some hundred at a time.
const BUFFER: usize = 32 * 1024;

/// A directory that is open.
#[derive(Debug)]
pub struct Directory(OwnedFd);

/// Room for the names that the kernel lists. Used again and again.
#[derive(Debug)]
pub struct Buffer(Box<[MaybeUninit<u8>]>);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, a device, a socket or a FIFO.
    Other,
    /// The file system does not list kinds: [`Directory::status`] tells.
    Unknown,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Never [`Kind::Unknown`].
    pub kind: Kind,
    /// When its content changed.
    pub modified: Time,
    /// Octets in it.
    pub size: u64,
}

/// The names in a directory, without `.` and `..`, in no order. What comes and goes meanwhile may be
/// among them or not; what stays is.
pub struct Listing<'a>(RawDir<'a, BorrowedFd<'a>>);

impl Buffer {
    /// An empty one.
    pub fn new() -> Self {
        Self(vec![MaybeUninit::uninit(); BUFFER].into_boxed_slice())
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Directory {
    /// Opens a directory by its path, which may lead over links: for the one that the operator names.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_path(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens a directory in this one.
    ///
    /// # Errors
    /// What the system says; a link is [`io::ErrorKind::NotADirectory`] or a loop of links.
    pub fn open(&self, name: impl Arg) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(
            &self.0,
            name,
            flags,
            Mode::empty(),
        )?))
    }

    /// Lists the names from the first one on. A directory can be listed once at a time.
    ///
    /// # Errors
    /// What the system says.
    pub fn list<'a>(&'a self, buffer: &'a mut Buffer) -> io::Result<Listing<'a>> {
        rustix::fs::seek(&self.0, SeekFrom::Start(0))?;
        Ok(Listing(RawDir::new(self.0.as_fd(), &mut buffer.0)))
    }

    /// What a name stands for; `None` when there is no such name.
    ///
    /// # Errors
    /// What the system says.
    pub fn status(&self, name: impl Arg) -> io::Result<Option<Status>> {
        let found = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
        let found = if_found(found)?;
        Ok(found.map(|found| Status {
            kind: FileType::from_raw_mode(found.st_mode).into(),
            modified: Time::new(
                found.st_mtime,
                i64::try_from(found.st_mtime_nsec).unwrap_or(0),
            ),
            size: u64::try_from(found.st_size).unwrap_or(0),
        }))
    }

    /// Removes a file or a link; `false` when there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_file(&self, name: impl Arg) -> io::Result<bool> {
        let removed = rustix::fs::unlinkat(&self.0, name, AtFlags::empty());
        Ok(if_found(removed)?.is_some())
    }

    /// Removes an empty directory; `false` when there is none.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::DirectoryNotEmpty`] when something is in it.
    pub fn remove_directory(&self, name: impl Arg) -> io::Result<bool> {
        let removed = rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR);
        Ok(if_found(removed)?.is_some())
    }

    /// Gives a file another name, in place of what had it; `false` when there is no such file.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&self, from: impl Arg, to: impl Arg) -> io::Result<bool> {
        self.move_to(from, self, to)
    }

    /// Moves a name to another directory.
    ///
    /// # Errors
    /// As [`rename`](Self::rename).
    pub fn move_to(&self, from: impl Arg, target: &Self, to: impl Arg) -> io::Result<bool> {
        let renamed = rustix::fs::renameat(&self.0, from, &target.0, to);
        Ok(if_found(renamed)?.is_some())
    }

    /// Takes the lock that only one process can have (`flock(2)`), until this directory is closed;
    /// `false` when another process has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether both are the same directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        let (one, other) = (rustix::fs::fstat(&self.0)?, rustix::fs::fstat(&other.0)?);
        Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
    }
}

impl Listing<'_> {
    /// Goes on to the next name for which `look` has something; `None` after the last name.
    ///
    /// # Errors
    /// What the system says.
    pub fn find_map<T>(
        &mut self,
        mut look: impl FnMut(&CStr, Kind) -> Option<T>,
    ) -> io::Result<Option<T>> {
        while let Some(entry) = self.0.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if let Some(found) = look(name, entry.file_type().into()) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Goes through the names that are left.
    ///
    /// # Errors
    /// What the system says.
    pub fn for_each(&mut self, mut look: impl FnMut(&CStr, Kind)) -> io::Result<()> {
        let all = self.find_map(|name, kind| {
            look(name, kind);
            None::<()>
        });
        all.map(drop)
    }
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Unknown => Self::Unknown,
            _ => Self::Other,
        }
    }
}

/// `None` when there is no such name.
fn if_found<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
