//! The files of the account store.
//!
//! All of this blocks, for as long as the file system takes: some microseconds for what the
//! kernel has cached. Nothing is kept in memory, so that a change from outside, such as an operator's
//! new hash in a password file, holds at once.

use std::fs::{DirBuilder, DirEntry, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::deletion::{self, EXPIRED_FILE, EXPIRING_FILE};
use super::{PASSWORD_FILE, PasswordHash, QUOTA_FILE, quota};
use crate::Address;
use crate::postgres::PostgresError;

mod changes;
mod delete;
mod details;
mod records;

pub use changes::Change;
pub use details::Details;
pub use records::AccountRecord;

/// Where it is, the account takes no cleartext mail from outside.
const ENCRYPTED_ONLY_FILE: &str = "enforceE2EEincoming";
/// A password file before it is linked in place; random digits follow.
const TEMPORARY_PREFIX: &str = "password.new.";
/// A temporary file as old as this was left by a process that was killed.
const TEMPORARY_AGE: Duration = Duration::from_secs(600);

/// What the password file of a blocked account begins with; what it held before follows.
const BLOCKED: &[u8] = b"{BLOCKED}";

/// Longest password file that is looked at; a hash has 120 bytes.
const PASSWORD_FILE_MAX: usize = 1024;
/// Longest file name that Linux has.
const NAME_MAX: usize = 255;

/// Last logins are known by the day only.
const DAY: u64 = 24 * 60 * 60;

/// The store cannot be read or written. Temporary; the text names no address.
#[derive(Debug, thiserror::Error)]
#[error("account store: {0}")]
pub struct StoreError(Trouble);

/// With which of the two stores.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot {action}: {source}")]
    Files {
        action: &'static str,
        source: io::Error,
    },
    #[error(transparent)]
    Postgres(PostgresError),
}

impl From<PostgresError> for StoreError {
    fn from(error: PostgresError) -> Self {
        Self(Trouble::Postgres(error))
    }
}

impl StoreError {
    /// A thread that asked the store has died.
    pub(super) fn worker() -> Self {
        cannot("run a thread")(io::Error::other("it died"))
    }
}

/// For `map_err`: what was being done.
fn cannot(action: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError(Trouble::Files { action, source })
}

/// What the store has of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// Nothing, or a mailbox directory without a password file.
    Missing,
    /// A password file that is empty or holds no hash: takes mail, nobody can log in.
    Locked,
    /// An account that the operator has blocked: takes no mail, nobody can log in.
    Blocked,
    /// An account with this hash.
    Present(PasswordHash),
}

impl Account {
    /// What a password file says.
    fn of(content: &[u8]) -> Self {
        if content.starts_with(BLOCKED) {
            Self::Blocked
        } else if content.len() == PASSWORD_FILE_MAX {
            Self::Locked
        } else {
            PasswordHash::parse(content).map_or(Self::Locked, Self::Present)
        }
    }
}

/// What came of creating an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Creation {
    /// It is on disk.
    Created,
    /// Another process was first.
    Exists,
}

/// How mail to an account is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// It takes cleartext mail from outside.
    pub(super) cleartext: bool,
    /// The operator has blocked it.
    pub(super) blocked: bool,
    /// Bytes in it, if Dovecot has counted them.
    pub(super) bytes_used: Option<u64>,
}

/// The mailboxes directory.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in this directory, which must exist when it is used.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Makes the directory if it is missing; `true` if it was.
    ///
    /// For the start of a daemon only. Later a missing directory is a broken store: a file system
    /// that was unmounted must not look like a relay without accounts.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn prepare(&self) -> Result<bool, StoreError> {
        if self.root.is_dir() {
            return Ok(false);
        }
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root);
        made.map(|()| true)
            .map_err(cannot("make the mailboxes directory"))
    }

    /// The mailbox directory of an address; `None` for a name that cannot be one.
    pub fn home(&self, address: &Address) -> Option<PathBuf> {
        let name = address.to_string();
        // `/` is an ordinary character of an address.
        (name.len() <= NAME_MAX && !name.contains('/')).then(|| self.root.join(name))
    }

    /// What there is of an address.
    ///
    /// # Errors
    /// See [`StoreError`]; also when the directory of all mailboxes is missing.
    pub fn read(&self, address: &Address) -> Result<Account, StoreError> {
        let Some(home) = self.home(address) else {
            return Ok(Account::Missing);
        };
        // It may be going from the first name to the second, or back.
        for name in [PASSWORD_FILE, EXPIRING_FILE, PASSWORD_FILE] {
            match read_account(&home, name)? {
                Account::Missing => self.check_root()?,
                found => return Ok(found),
            }
        }
        Ok(Account::Missing)
    }

    /// What there is of an address, for somebody who logs in: an account that was about to be
    /// deleted stays.
    pub(super) fn read_for_login(&self, address: &Address) -> Result<Account, StoreError> {
        let Some(home) = self.home(address) else {
            return Ok(Account::Missing);
        };
        match read_account(&home, PASSWORD_FILE)? {
            Account::Missing => {
                self.check_root()?;
                deletion::take_back(&home).map_err(cannot("keep an account"))?;
                read_account(&home, PASSWORD_FILE)
            }
            found => Ok(found),
        }
    }

    /// Creates an account, unless there is one: then nothing changes. On return it is on disk.
    pub(super) fn create(
        &self,
        address: &Address,
        hash: &PasswordHash,
        now: SystemTime,
    ) -> Result<Creation, StoreError> {
        self.check_root()?;
        let missing = || io::Error::from(ErrorKind::InvalidFilename);
        let home = self
            .home(address)
            .ok_or_else(missing)
            .map_err(cannot("name a mailbox"))?;
        let made = match DirBuilder::new().mode(0o700).create(&home) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                check_not_expired(&home).map_err(cannot("create an account"))?;
                remove_leftovers(&home, now).map_err(cannot("clean a mailbox directory"))?;
                false
            }
            Err(error) => return Err(cannot("make a mailbox directory")(error)),
        };
        let created = self
            .check_open()
            .and_then(|()| fill_mailbox(&home, hash, now));
        let created = created.and_then(|creation| {
            if creation == Creation::Created
                && let Err(closed) = self.check_open()
            {
                std::fs::remove_file(home.join(PASSWORD_FILE))?;
                return Err(closed);
            }
            if made {
                sync_directory(&self.root)?;
            }
            Ok(creation)
        });
        created.map_err(|error| {
            if made {
                // Fails, as it should, once there is an account or mail in it.
                let _ = std::fs::remove_file(home.join(ENCRYPTED_ONLY_FILE))
                    .and_then(|()| std::fs::remove_dir(&home));
            }
            cannot("write a password file")(error)
        })
    }

    /// Notes a login, by its day only. `false` when there is no such account.
    ///
    /// The day never moves back, and a file is written at most once a day.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn record_login(&self, address: &Address, at: SystemTime) -> Result<bool, StoreError> {
        let Some(home) = self.home(address) else {
            return Ok(false);
        };
        let note = || move_modified_to_day(&home.join(PASSWORD_FILE), at);
        let noted = match note() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.check_root()?;
                // Whoever asked for the hash before the account was about to be deleted.
                deletion::take_back(&home).and_then(|_| note())
            }
            noted => noted,
        };
        match noted {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(cannot("note a login")(error)),
        }
    }

    /// How mail to an address is to be treated; `None` when it has no account.
    pub(super) fn mailbox(&self, address: &Address) -> Result<Option<Mailbox>, StoreError> {
        let Some(home) = self.home(address) else {
            return Ok(None);
        };
        let account = self.read(address)?;
        if account == Account::Missing {
            return Ok(None);
        }
        let bytes_used = self.bytes_used(address)?;
        Ok(Some(Mailbox {
            cleartext: !std::fs::exists(home.join(ENCRYPTED_ONLY_FILE))
                .map_err(cannot("look at a mailbox"))?,
            blocked: account == Account::Blocked,
            bytes_used,
        }))
    }

    /// Bytes in the mailbox of an address, if Dovecot has counted them.
    pub(super) fn bytes_used(&self, address: &Address) -> Result<Option<u64>, StoreError> {
        let Some(home) = self.home(address) else {
            return Ok(None);
        };
        let mut content = [0; quota::FILE_MAX];
        match read_start(&home.join(QUOTA_FILE), &mut content) {
            Ok(content) if content.len() == quota::FILE_MAX => Ok(None),
            Ok(content) => Ok(std::str::from_utf8(content)
                .ok()
                .and_then(quota::bytes_used)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("read a quota file")(error)),
        }
    }

    /// All addresses that have an account, in no order.
    ///
    /// # Errors
    /// See [`StoreError`]; the directory can also become unreadable on the way.
    pub fn accounts(
        &self,
    ) -> Result<impl Iterator<Item = Result<Address, StoreError>> + use<>, StoreError> {
        let unreadable = cannot("list the mailboxes");
        let entries = std::fs::read_dir(&self.root).map_err(&unreadable)?;
        Ok(entries.filter_map(move |entry| match entry {
            Ok(entry) => account_of(&entry).map(Ok),
            Err(error) => Some(Err(unreadable(error))),
        }))
    }

    fn check_root(&self) -> Result<(), StoreError> {
        let is_directory = |found: std::fs::Metadata| match found.is_dir() {
            true => Ok(()),
            false => Err(ErrorKind::NotADirectory.into()),
        };
        let found = std::fs::metadata(&self.root).and_then(is_directory);
        found.map_err(cannot("find the mailboxes directory"))
    }
}

/// What a password file of this name says.
fn read_account(home: &Path, name: &str) -> Result<Account, StoreError> {
    let mut content = [0; PASSWORD_FILE_MAX];
    match read_start(&home.join(name), &mut content) {
        Ok(content) => Ok(Account::of(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Account::Missing),
        Err(error) => Err(cannot("read a password file")(error)),
    }
}

/// An error while the mailbox of a deleted account is being removed: what is made there would be
/// removed too.
fn check_not_expired(home: &Path) -> io::Result<()> {
    match std::fs::exists(home.join(EXPIRED_FILE))? {
        true => Err(io::Error::other("its old mailbox is being removed")),
        false => Ok(()),
    }
}

/// The bytes of a file, as many as there is room for.
fn read_start<'a>(path: &Path, room: &'a mut [u8]) -> io::Result<&'a [u8]> {
    // Without waiting for the other end, should it be a FIFO.
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    // One read gets all there is of a regular file, and asking again for its end would cost as
    // much. Linux does not interrupt such reads by signals.
    let length = file.read(room)?;
    Ok(room.get(..length).unwrap_or_default())
}

/// Everything that makes an account, in an order that leaves none if we are killed on the way.
fn fill_mailbox(home: &Path, hash: &PasswordHash, now: SystemTime) -> io::Result<Creation> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(home.join(ENCRYPTED_ONLY_FILE))?;
    let temporary = temporary_file(home)?;
    let created = write_synced(&temporary, hash.as_str().as_bytes(), day_of(now))
        // Of several that link, also from other processes, exactly one succeeds.
        .and_then(|()| std::fs::hard_link(&temporary, home.join(PASSWORD_FILE)));
    let removed = std::fs::remove_file(&temporary);
    match created {
        Ok(()) => {
            removed?;
            sync_directory(home)?;
            Ok(Creation::Created)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Creation::Exists),
        Err(error) => Err(error),
    }
}

/// A name for a password file that is to be.
fn temporary_file(home: &Path) -> io::Result<PathBuf> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    Ok(home.join(format!("{TEMPORARY_PREFIX}{random:016x}")))
}

fn write_synced(path: &Path, content: &[u8], modified: SystemTime) -> io::Result<()> {
    write_with_time(path, content, modified)?.sync_all()
}

/// Writes a new file, which is not on disk yet.
fn write_with_time(path: &Path, content: &[u8], modified: SystemTime) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.set_modified(modified)?;
    Ok(file)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes temporary files of creations that were killed. Those of other processes that are at it
/// come and go meanwhile.
fn remove_leftovers(home: &Path, now: SystemTime) -> io::Result<()> {
    let now = seconds(now);
    for entry in std::fs::read_dir(home)? {
        let entry = entry?;
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(TEMPORARY_PREFIX.as_bytes())
        {
            continue;
        }
        // The modification time is the day of the login that made it.
        let old = entry.metadata().map(|found| {
            let changed = u64::try_from(found.ctime()).unwrap_or(0);
            now.saturating_sub(changed) >= TEMPORARY_AGE.as_secs()
        });
        let removed = match old {
            Ok(true) => std::fs::remove_file(entry.path()),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn move_modified_to_day(path: &Path, at: SystemTime) -> io::Result<()> {
    let found = std::fs::metadata(path)?.modified()?;
    let (found_day, day) = (day_of(found), day_of(at));
    // A file of today with a time of day, as other software leaves it, loses that.
    if day > found_day || (day == found_day && found != day) {
        File::open(path)?.set_modified(day)?;
    }
    Ok(())
}

/// The midnight (UTC) before a time.
fn day_of(time: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds(time) / DAY * DAY)
}

/// Seconds since 1970; none before.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// The account in a directory of this name.
fn account_of(entry: &DirEntry) -> Option<Address> {
    let name = entry.file_name();
    let name = name.to_str()?;
    let address: Address = name.parse().ok()?;
    // A directory with capitals belongs to nobody: addresses are lower case.
    let is_account =
        address.to_string() == name && deletion::is_account(&entry.path()).unwrap_or(false);
    is_account.then_some(address)
}
