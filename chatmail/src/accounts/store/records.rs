//! Accounts on their way to PostgreSQL or back; see [`moving`](crate::postgres::moving).

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::delete::make_unreachable;
use super::{
    BLOCKED, DAY, ENCRYPTED_ONLY_FILE, EXPIRED_FILE, EXPIRING_FILE, PASSWORD_FILE,
    PASSWORD_FILE_MAX, Store, StoreError, cannot, read_start, seconds, sync_directory,
    temporary_file, write_with_time,
};
use crate::Address;
use crate::tombstones::Day;

/// Where it is no account is made: accounts are in PostgreSQL, or on their way there.
const MOVED_FILE: &str = ".accounts-are-in-postgresql";

/// All that a store has of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Whose.
    pub address: Address,
    /// What its password file holds, but for the mark of a blocked account.
    pub content: Box<[u8]>,
    /// Whether it is blocked.
    pub blocked: bool,
    /// Whether it takes cleartext mail from outside.
    pub cleartext: bool,
    /// The day of the last login.
    pub last_login: Day,
}

impl Store {
    /// Lets nobody make an account any more, from whichever process. Whoever is just making one has made it when
    /// this returns, or will not.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn close(&self) -> Result<(), StoreError> {
        let closed = File::create(self.moved_file()).and_then(|file| file.sync_all());
        let closed = closed.and_then(|()| sync_directory(&self.root));
        closed.map_err(cannot("close the mailboxes directory for new accounts"))
    }

    /// Ends what [`close`](Self::close) began. On return everything that was written is on disk.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(&self) -> Result<(), StoreError> {
        nix::unistd::sync();
        let opened = match std::fs::remove_file(self.moved_file()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => sync_directory(&self.root),
        };
        opened.map_err(cannot("open the mailboxes directory for new accounts"))
    }

    /// An error where no account is made. To be asked when an account has been made, too: whoever closes the store
    /// looks for accounts afterwards, so that one of the two sees the other.
    pub(super) fn check_open(&self) -> io::Result<()> {
        match std::fs::exists(self.moved_file())? {
            false => Ok(()),
            true => Err(io::Error::other(format!(
                "accounts are in PostgreSQL, says {MOVED_FILE} (set database_url)"
            ))),
        }
    }

    /// Whether accounts of this directory are in PostgreSQL; an empty directory becomes one of which they are.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn is_moved(&self) -> Result<bool, StoreError> {
        let look = cannot("look into the mailboxes directory");
        if std::fs::exists(self.moved_file()).map_err(look)? {
            return Ok(true);
        }
        if self.accounts()?.next().transpose()?.is_some() {
            return Ok(false);
        }
        self.close().map(|()| true)
    }

    fn moved_file(&self) -> PathBuf {
        self.root.join(MOVED_FILE)
    }

    /// All there is of an account; `None` when it is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn record(&self, address: &Address) -> Result<Option<AccountRecord>, StoreError> {
        let Some(home) = self.home(address) else {
            return Ok(None);
        };
        let mut room = [0; PASSWORD_FILE_MAX];
        for name in [PASSWORD_FILE, EXPIRING_FILE, PASSWORD_FILE] {
            let path = home.join(name);
            let read = read_start(&path, &mut room).and_then(|content| {
                let modified = std::fs::metadata(&path)?.modified()?;
                Ok((content, modified))
            });
            let (content, modified) = match read {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                read => read.map_err(cannot("read a password file"))?,
            };
            let hidden = content.strip_prefix(BLOCKED);
            let cleartext = !std::fs::exists(home.join(ENCRYPTED_ONLY_FILE))
                .map_err(cannot("look at a mailbox"))?;
            // What is too long for a hash locks the account; so does nothing.
            let is_whole = content.len() < PASSWORD_FILE_MAX;
            let rest = hidden.unwrap_or(content);
            return Ok(Some(AccountRecord {
                address: address.clone(),
                content: if is_whole {
                    rest.into()
                } else {
                    Box::default()
                },
                blocked: hidden.is_some(),
                cleartext,
                last_login: Day::of(modified),
            }));
        }
        Ok(None)
    }

    /// Has this of an account, whatever was there. It is on disk after [`open`](Self::open).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn put_record(&self, record: &AccountRecord) -> Result<(), StoreError> {
        let Some(home) = self.home(&record.address) else {
            let unnamed = io::Error::from(ErrorKind::InvalidFilename);
            return Err(cannot("name a mailbox")(unnamed));
        };
        put(&home, record).map_err(cannot("write a password file"))
    }

    /// Leaves nothing by which one could log in to a mailbox that has yet to be removed. expiry-cron removes it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn expire(&self, address: &Address) -> Result<(), StoreError> {
        let Some(home) = self.home(address) else {
            return Ok(());
        };
        match make_unreachable(&home) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            made => made.map_err(cannot("take away a password file")),
        }
    }

    /// Names of mailboxes that a job was removing when it was killed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn half_removed(&self) -> Result<Vec<Address>, StoreError> {
        let unreadable = cannot("list the mailboxes");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(&unreadable)? {
            let entry = entry.map_err(&unreadable)?;
            if !entry.path().join(EXPIRED_FILE).exists() {
                continue;
            }
            let address = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            found.extend(address);
        }
        Ok(found)
    }
}

fn put(home: &Path, record: &AccountRecord) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(home) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let encrypted_only = home.join(ENCRYPTED_ONLY_FILE);
    if !record.cleartext {
        let mut file = std::fs::OpenOptions::new();
        file.create(true).truncate(false).write(true).mode(0o600);
        file.open(encrypted_only)?;
    } else {
        match std::fs::remove_file(encrypted_only) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mark = if record.blocked { BLOCKED } else { b"" };
    let day = u64::try_from(record.last_login.number()).unwrap_or(0);
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(day.saturating_mul(DAY));
    debug_assert_eq!(seconds(modified) % DAY, 0);
    let temporary = temporary_file(home)?;
    let content = [mark, &record.content].concat();
    let written = write_with_time(&temporary, &content, modified)
        .and_then(|_| std::fs::rename(&temporary, home.join(PASSWORD_FILE)));
    if written.is_err() {
        // It is of no use any more.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
