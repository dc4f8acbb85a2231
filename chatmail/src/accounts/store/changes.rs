//! What operators change of an account that is there.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::{
    BLOCKED, PASSWORD_FILE, PASSWORD_FILE_MAX, Store, StoreError, cannot, read_start,
    sync_directory, temporary_file, write_synced,
};
use crate::Address;
use crate::accounts::{PasswordHash, deletion};

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is made, and on disk.
    Done,
    /// It was so already.
    Unchanged,
    /// There is no such account.
    Missing,
}

impl Store {
    /// Blocks an account: from now on nobody can log in, and it gets no mail. Its hash is kept.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn block(&self, address: &Address) -> Result<Change, StoreError> {
        self.change_password_file(address, |content| {
            let is_blocked = content.starts_with(BLOCKED);
            (!is_blocked).then(|| [BLOCKED, content].concat())
        })
    }

    /// Ends the blocking of an account: the password from before holds again.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn unblock(&self, address: &Address) -> Result<Change, StoreError> {
        self.change_password_file(address, |content| {
            content.strip_prefix(BLOCKED).map(<[u8]>::to_vec)
        })
    }

    /// Gives an account another password. One that is blocked stays so.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::accounts) fn set_password(
        &self,
        address: &Address,
        hash: &PasswordHash,
    ) -> Result<Change, StoreError> {
        self.change_password_file(address, |content| {
            let blocked = content.starts_with(BLOCKED).then_some(BLOCKED);
            Some([blocked.unwrap_or_default(), hash.as_str().as_bytes()].concat())
        })
    }

    /// Replaces what a password file holds; not when `change` gives nothing.
    fn change_password_file(
        &self,
        address: &Address,
        change: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Change, StoreError> {
        let Some(home) = self.home(address) else {
            return Ok(Change::Missing);
        };
        self.check_root()?;
        // What is about to be deleted has another name; whoever changes it wants to keep it.
        deletion::take_back(&home).map_err(cannot("keep an account"))?;
        match replace(&home, change) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Change::Missing),
            changed => changed.map_err(cannot("change a password file")),
        }
    }
}

/// In one step: who reads sees the old file or the new one, also after a crash.
fn replace(home: &Path, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> io::Result<Change> {
    let file = home.join(PASSWORD_FILE);
    let mut content = [0; PASSWORD_FILE_MAX];
    let content = read_start(&file, &mut content)?;
    // The day of the last login stays.
    let modified = std::fs::metadata(&file)?.modified()?;
    if content.len() == PASSWORD_FILE_MAX {
        let text = "it is far too long";
        return Err(io::Error::new(ErrorKind::InvalidData, text));
    }
    let Some(content) = change(content) else {
        return Ok(Change::Unchanged);
    };
    let temporary = temporary_file(home)?;
    let replaced = write_synced(&temporary, &content, modified)
        .and_then(|()| std::fs::rename(&temporary, &file));
    if replaced.is_err() {
        // It is of no use any more; the next creation would remove it, too.
        let _ = std::fs::remove_file(&temporary);
    }
    replaced?;
    sync_directory(home)?;
    Ok(Change::Done)
}
