//! How an account is deleted while people log in.
//!
//! expiry-cron deletes accounts that nobody has used for long. Between its look at the last login and
//! the deletion somebody may log in, and must then find everything as it was. A login has two steps, the
//! question for the password hash and, once Dovecot has verified the password, the note of the day; the
//! account must not go between them either. So the deletion has steps too, each of which is one rename:
//!
//! | file in the mailbox directory | the account |
//! |---|---|
//! | `password` | is there |
//! | `password.expiring` | is there, and about to be deleted |
//! | `password.expired` | is gone; what is left of the mailbox is being removed, this file last |
//!
//! 1. `password` becomes `password.expiring`. Its modification time stays: the last login.
//! 2. For [`LOGIN_WINDOW`] nothing happens. Whoever asks for the hash, or notes a login whose hash was
//!    asked for before, makes it `password` again, and the account is as it was. A wrong password
//!    does so too; then the account is looked at again the next day.
//! 3. The address gets a tombstone, so that nobody can take it over.
//! 4. `password.expiring` becomes `password.expired`, unless it is gone. From here on there is no account.
//!
//! Whoever is killed on the way leaves a state from which the next run goes on, and in which logins work
//! or are refused, but never create an account.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use super::PASSWORD_FILE;

/// The password file of an account that is about to be deleted.
pub const EXPIRING_FILE: &str = "password.expiring";

/// What is left of a password file while the rest of the mailbox is being removed.
pub const EXPIRED_FILE: &str = "password.expired";

/// How long an account stays [expiring](EXPIRING_FILE): longer than a login takes from the question
/// for the hash to the note of the day. Dovecot waits up to 30 s for either.
pub const LOGIN_WINDOW: Duration = Duration::from_secs(30);

/// Takes back the deletion of an account that is [expiring](EXPIRING_FILE); `false` when it is not.
pub(super) fn take_back(home: &Path) -> io::Result<bool> {
    // There is no `password` that this could replace: it would have been found before.
    match std::fs::rename(home.join(EXPIRING_FILE), home.join(PASSWORD_FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether there is an account, which may be about to be deleted.
pub(super) fn is_account(home: &Path) -> io::Result<bool> {
    Ok(std::fs::exists(home.join(PASSWORD_FILE))? || std::fs::exists(home.join(EXPIRING_FILE))?)
}
