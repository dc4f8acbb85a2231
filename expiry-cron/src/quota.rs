//! `expiry-cron quota`: what Dovecot starts when a mailbox gets full.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use chatmail::Config;
use chatmail::accounts::QUOTA_FILE;

use crate::directory::Directory;
use crate::mailbox::Room;
use crate::mailboxes::is_no_mailbox;
use crate::rules::Rules;
use crate::stamp::Stamp;
use crate::trim::{Candidate, Trimming, trim};

/// Why a mailbox cannot be made smaller.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// What was named is not a mailbox of this relay. The text does not repeat it: it may be an address.
    #[error(
        "MAILBOX is no mailbox in mailboxes_dir = {mailboxes}; give its path, or an address",
        mailboxes = mailboxes.display()
    )]
    NoMailbox {
        /// Where mailboxes are.
        mailboxes: PathBuf,
    },
    /// It cannot be read or changed.
    #[error("cannot {action}: {source}")]
    File {
        /// What was being done.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Removes the oldest messages of a mailbox until its INBOX has no more than `target` octets; how many
/// that were. The mailbox is named by its path or its address.
///
/// # Errors
/// See [`QuotaError`].
pub fn quota(
    config: &Config,
    rules: &Rules,
    target: u64,
    mailbox: &Path,
) -> Result<u64, QuotaError> {
    let mailbox = open(config, mailbox)?;
    let mut trimming = Quota {
        rules,
        mailbox: &mailbox,
        removed: 0,
    };
    let trimmed = trim(&mailbox, target, &mut Room::default(), &mut trimming);
    let removed = trimming.removed;
    if removed > 0 {
        // Dovecot may have counted while messages went.
        let counted = mailbox.remove_file(QUOTA_FILE);
        counted.map_err(cannot("remove the mailbox's quota file"))?;
    }
    trimmed.map_err(cannot("make room in the mailbox"))?;
    Ok(removed)
}

fn cannot(action: &'static str) -> impl Fn(io::Error) -> QuotaError {
    move |source| QuotaError::File { action, source }
}

/// Opens a mailbox by its name in the directory of all mailboxes, so that nothing else can be opened.
fn open(config: &Config, mailbox: &Path) -> Result<Directory, QuotaError> {
    let mailboxes = &config.mailboxes_dir;
    let no_mailbox = || QuotaError::NoMailbox {
        mailboxes: mailboxes.clone(),
    };
    let root = Directory::open_path(mailboxes).map_err(cannot("open mailboxes_dir"))?;
    let name = mailbox
        .file_name()
        .filter(|name| name.as_bytes().contains(&b'@'))
        .ok_or_else(no_mailbox)?;
    let parent = mailbox
        .parent()
        .filter(|parent| *parent.as_os_str() != *OsStr::new(""));
    if let Some(parent) = parent {
        let same = Directory::open_path(parent).and_then(|parent| parent.is_same(&root));
        if !same.unwrap_or(false) {
            return Err(no_mailbox());
        }
    }
    let name = CString::new(name.as_bytes()).map_err(|_| no_mailbox())?;
    match root.open(name.as_c_str()) {
        Ok(mailbox) => Ok(mailbox),
        Err(error) if is_no_mailbox(&error) => Err(no_mailbox()),
        Err(error) => Err(cannot("open the mailbox")(error)),
    }
}

struct Quota<'a> {
    rules: &'a Rules,
    mailbox: &'a Directory,
    removed: u64,
}

impl Trimming for Quota<'_> {
    fn is_protected(&self, stamp: Stamp) -> bool {
        self.rules.is_protected(stamp)
    }

    fn remove(&mut self, directory: &Directory, message: &Candidate) -> io::Result<bool> {
        if self.removed == 0 {
            // First, so that no command that is killed leaves a count of what is gone.
            self.mailbox.remove_file(QUOTA_FILE)?;
        }
        let removed = directory.remove_file(message.name.as_c_str())?;
        self.removed += u64::from(removed);
        Ok(removed)
    }
}
