//! What operators see of an account.

use std::io::ErrorKind;
use std::time::SystemTime;

use super::{Account, EXPIRING_FILE, PASSWORD_FILE, Store, StoreError, cannot, seconds};
use crate::Address;

/// What there is to know of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// Whether one can log in; never [`Account::Missing`].
    pub account: Account,
    /// Days from 1970 to the last login.
    pub last_login_day: u64,
    /// Whether it takes cleartext mail from outside.
    pub cleartext: bool,
    /// Octets in its mailbox, if Dovecot has counted them.
    pub bytes_used: Option<u64>,
    /// The backend that has its mailbox, on a relay of several hosts.
    pub backend: Option<Box<str>>,
}

impl Store {
    /// What there is to know of an account; `None` when there is no such account.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn details(&self, address: &Address) -> Result<Option<Details>, StoreError> {
        let account = self.read(address)?;
        let (Some(home), Some(mailbox)) = (self.home(address), self.mailbox(address)?) else {
            return Ok(None);
        };
        let modified = |name| std::fs::metadata(home.join(name)).and_then(|file| file.modified());
        let modified = modified(PASSWORD_FILE).or_else(|_| modified(EXPIRING_FILE));
        let modified: SystemTime = match modified {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            modified => modified.map_err(cannot("look at a password file"))?,
        };
        Ok((account != Account::Missing).then(|| Details {
            account,
            last_login_day: seconds(modified) / super::DAY,
            cleartext: mailbox.cleartext,
            bytes_used: mailbox.bytes_used,
            backend: None,
        }))
    }
}
