//! The account of a mailbox, by the files that [`chatmail::accounts`] keeps.

use std::io;

use chatmail::accounts::PASSWORD_FILE;
use chatmail::accounts::deletion::{EXPIRED_FILE, EXPIRING_FILE};

use crate::directory::{Directory, Kind};
use crate::time::Time;

/// What a mailbox says of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// There is one, last logged in to then.
    Present(Time),
    /// It was about to be deleted when a run ended half-way; last logged in to then.
    Expiring(Time),
    /// It has been deleted; the rest of the mailbox was left by a run that ended half-way.
    Expired,
    /// There is none: its login is elsewhere, or it was only half made.
    None,
}

impl Account {
    /// Looks at a mailbox.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(mailbox: &Directory) -> io::Result<Self> {
        // It may be going from the first name to the second, or back.
        for name in [PASSWORD_FILE, EXPIRING_FILE, PASSWORD_FILE] {
            if let Some(last_login) = last_login(mailbox, name)? {
                return Ok(match name {
                    EXPIRING_FILE => Self::Expiring(last_login),
                    _ => Self::Present(last_login),
                });
            }
        }
        Ok(match last_login(mailbox, EXPIRED_FILE)? {
            Some(_) => Self::Expired,
            None => Self::None,
        })
    }
}

/// Begins the deletion of an account, unless somebody has logged in since it was looked at: then,
/// and when it is not there, `false`.
///
/// # Errors
/// What the system says.
pub fn begin_deletion(mailbox: &Directory, goes: impl FnOnce(Time) -> bool) -> io::Result<bool> {
    if !mailbox.rename(PASSWORD_FILE, EXPIRING_FILE)? {
        return Ok(false);
    }
    let still_goes = last_login(mailbox, EXPIRING_FILE)?.is_some_and(goes);
    if !still_goes {
        take_back(mailbox)?;
    }
    Ok(still_goes)
}

/// Ends the deletion of an account as if it had not begun.
///
/// # Errors
/// What the system says.
pub fn take_back(mailbox: &Directory) -> io::Result<()> {
    mailbox.rename(EXPIRING_FILE, PASSWORD_FILE).map(drop)
}

/// Deletes an account whose time is over; `false` when somebody has logged in.
///
/// # Errors
/// What the system says.
pub fn delete(mailbox: &Directory) -> io::Result<bool> {
    mailbox.rename(EXPIRING_FILE, EXPIRED_FILE)
}

/// The time of a password file; `None` when there is none.
fn last_login(mailbox: &Directory, name: &str) -> io::Result<Option<Time>> {
    let found = mailbox.status(name)?;
    let file = found.filter(|status| status.kind == Kind::File);
    Ok(file.map(|status| status.modified))
}
