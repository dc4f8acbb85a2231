//! A mailboxes directory of many mailboxes, written by code: what is in it follows from numbers.
//!
//! Nothing of it is kept in memory. What has to be there is computed when it is written, when it is
//! written again after a removal, and when it is compared with what is there.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

/// The domain of the mailboxes.
pub(super) const DOMAIN: &str = "chat.test";

/// The settings that the trees are made for.
pub(super) const DELETE_MAILS_AFTER: u64 = 20;
pub(super) const DELETE_INACTIVE_USERS_AFTER: u64 = 90;

pub(super) const DAY: u64 = 24 * 60 * 60;

/// Above this many bytes a message is a large one.
const LARGE: u64 = 200_000;

/// What is in files; what is larger than this is a hole.
const TEXT: [u8; 4096] = text();

/// A mailboxes directory.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// The directory.
    pub(super) root: PathBuf,
    /// Its mailboxes.
    pub(super) mailboxes: usize,
    /// Messages of each mailbox.
    pub(super) messages: usize,
    /// Of these, the ones that are too old.
    pub(super) expired: usize,
    /// Whether some messages are large; they are holes, and take no space.
    pub(super) large: bool,
    /// The present, in seconds since 1970.
    pub(super) now: u64,
}

/// A file of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MailboxFile {
    /// The folder in the mailbox; empty for the mailbox itself.
    pub(super) folder: &'static str,
    /// Its name.
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    /// Seconds since 1970.
    modified: u64,
    /// Whether a run that removes is to remove it.
    pub(super) goes: bool,
}

/// The folders of a Maildir.
pub(super) const FOLDERS: [&str; 3] = ["cur", "new", "tmp"];

impl Tree {
    /// All messages.
    pub(super) fn all_messages(&self) -> usize {
        self.mailboxes * self.messages
    }

    /// The messages that go.
    pub(super) fn expired_messages(&self) -> usize {
        self.mailboxes * self.expired
    }

    /// The files that go: messages, and the quota file of each mailbox that loses some.
    pub(super) fn files_that_go(&self) -> usize {
        let quota_files = if self.expired > 0 { self.mailboxes } else { 0 };
        self.expired_messages() + quota_files
    }

    /// A mailbox's folder.
    pub(super) fn home(&self, mailbox: usize) -> PathBuf {
        self.root.join(format!("{mailbox:09}@{DOMAIN}"))
    }

    /// What is in a mailbox, in the order in which it is written.
    pub(super) fn files(&self, mailbox: usize) -> impl Iterator<Item = MailboxFile> {
        let messages = (0..self.messages).map(move |index| self.message(mailbox, index));
        messages.chain(self.other_files(mailbox))
    }

    /// Every fifth message was not seen yet, every hundredth is large and too young to go.
    fn message(&self, mailbox: usize, index: usize) -> MailboxFile {
        let random = Random::new(mailbox, index);
        let goes = index < self.expired;
        let large = self.large && !goes && random.below(1, 70) == 0;
        let (from, to) = match (goes, large) {
            (true, _) => (DELETE_MAILS_AFTER * DAY + 1, 30 * DAY),
            (_, true) => (0, 6 * DAY),
            _ => (0, DELETE_MAILS_AFTER * DAY - DAY),
        };
        let modified = self.now - from - random.below(2, to - from);
        let size = match large {
            true => LARGE + 1 + random.below(3, 800_000),
            false => 300 + random.below(3, 600),
        };
        let (folder, flags) = match index % 5 {
            0 => ("new", ""),
            _ => ("cur", ":2,S"),
        };
        let [micros, process] = [random.below(4, 1_000_000), random.below(5, 4_000_000)];
        let lines = size / 60 + 12;
        MailboxFile {
            folder,
            name: format!(
                "{modified}.M{micros}P{process}.mail,S={size},W={}{flags}",
                size + lines
            ),
            size,
            modified,
            goes,
        }
    }

    /// What Dovecot and doveauth keep beside the messages.
    fn other_files(&self, mailbox: usize) -> impl Iterator<Item = MailboxFile> {
        let random = Random::new(mailbox, usize::MAX);
        let midnight = self.now - self.now % DAY;
        let last_login = midnight - DAY * random.below(1, DELETE_INACTIVE_USERS_AFTER / 2);
        let now = self.now - random.below(2, DAY);
        let uid_list = 40 + 70 * self.messages as u64;
        let quota_goes = self.expired > 0;
        [
            ("password", 122, last_login, false),
            ("maildirsize", 24, now, quota_goes),
            ("dovecot-uidlist", uid_list, now, false),
            ("dovecot-uidvalidity", 8, now, false),
            ("dovecot-uidvalidity.69f0a1b2", 0, now, false),
            ("dovecot.index.log", 1800, now, false),
            ("dovecot.list.index.log", 340, now, false),
        ]
        .into_iter()
        .map(|(name, size, modified, goes)| MailboxFile {
            folder: "",
            name: name.to_owned(),
            size,
            modified,
            goes,
        })
    }

    /// The files that go, by mailbox.
    pub(super) fn paths_that_go(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.mailboxes).flat_map(move |mailbox| {
            let home = self.home(mailbox);
            let go = self.files(mailbox).filter(|file| file.goes);
            go.map(move |file| file.path(&home))
        })
    }

    /// Writes a mailbox with all that is in it.
    ///
    /// # Errors
    /// It is there already, or cannot be written.
    pub(super) fn write(&self, mailbox: usize) -> anyhow::Result<()> {
        let home = self.home(mailbox);
        let context = || format!("making {}", home.display());
        let builder = {
            let mut builder = fs::DirBuilder::new();
            builder.mode(0o700);
            builder
        };
        builder.create(&home).with_context(context)?;
        for folder in FOLDERS {
            builder.create(home.join(folder)).with_context(context)?;
        }
        for file in self.files(mailbox) {
            self.write_file(&home, &file)?;
        }
        Ok(())
    }

    /// Writes again what a run has removed from a mailbox.
    ///
    /// # Errors
    /// It was not removed, or cannot be written.
    pub(super) fn restore(&self, mailbox: usize) -> anyhow::Result<()> {
        let home = self.home(mailbox);
        for file in self.files(mailbox).filter(|file| file.goes) {
            self.write_file(&home, &file)?;
        }
        Ok(())
    }

    fn write_file(&self, home: &Path, description: &MailboxFile) -> anyhow::Result<()> {
        let path = description.path(home);
        let write = || {
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            let text = usize::try_from(description.size).ok();
            match text.and_then(|size| TEXT.get(..size)) {
                Some(text) => file.write_all(text)?,
                None => file.set_len(description.size)?,
            }
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(description.modified))
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
}

impl MailboxFile {
    /// Where it is.
    pub(super) fn path(&self, home: &Path) -> PathBuf {
        home.join(self.folder).join(&self.name)
    }
}

const fn text() -> [u8; 4096] {
    let mut text = [b'x'; 4096];
    let mut at = 60;
    while at < text.len() {
        text[at] = b'\n';
        at += 61;
    }
    text
}

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn new(mailbox: usize, index: usize) -> Self {
        Self(mixed((mailbox as u64) << 32 ^ index as u64))
    }

    /// The number for a purpose, at least 0 and below a limit.
    fn below(&self, purpose: u64, limit: u64) -> u64 {
        mixed(self.0.wrapping_add(purpose)) % limit
    }
}

/// The finalizer of `SplitMix64`: each bit of the input changes half of the output.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::HashSet;

    pub(in super::super) fn small(root: &Path) -> Tree {
        Tree {
            root: root.to_owned(),
            mailboxes: 40,
            messages: 10,
            expired: 3,
            large: true,
            now: 1_790_000_000,
        }
    }

    #[test]
    fn what_goes_is_too_old_and_nothing_else_is() {
        let tree = small(Path::new("/mail"));
        let files: Vec<_> = (0..tree.mailboxes)
            .flat_map(|mailbox| tree.files(mailbox))
            .collect();
        let (messages, others): (Vec<_>, Vec<_>) = files
            .iter()
            .partition(|file| FOLDERS.contains(&file.folder));
        assert_eq!(messages.len(), tree.all_messages());
        for file in messages {
            let age = tree.now - file.modified;
            assert_eq!(age > DELETE_MAILS_AFTER * DAY, file.goes, "{file:?}");
            assert!(file.size <= LARGE || age < 7 * DAY, "{file:?}");
        }
        for file in others {
            assert_eq!(file.goes, file.name == "maildirsize", "{file:?}");
            assert!(tree.now - file.modified < DELETE_INACTIVE_USERS_AFTER * DAY);
        }
        assert_eq!(
            files.iter().filter(|file| file.goes).count(),
            tree.files_that_go()
        );
        assert!(files.iter().any(|file| file.size > LARGE));
        assert_eq!(tree.paths_that_go().count(), tree.files_that_go());
    }

    #[test]
    fn each_file_has_a_name_of_its_own() {
        let tree = small(Path::new("/mail"));
        for mailbox in 0..tree.mailboxes {
            let files = || tree.files(mailbox);
            let names: HashSet<_> = files().map(|file| (file.folder, file.name)).collect();
            assert_eq!(names.len(), files().count());
        }
    }

    #[test]
    fn files_are_as_they_are_described() {
        let folder = tempfile::tempdir().unwrap();
        let tree = small(folder.path());
        tree.write(7).unwrap();
        for file in tree.files(7) {
            let metadata = fs::metadata(file.path(&tree.home(7))).unwrap();
            assert_eq!(metadata.len(), file.size);
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(file.modified);
            assert_eq!(metadata.modified().unwrap(), modified);
        }
        assert!(tree.write(7).is_err(), "never over what is there");
        assert!(tree.restore(7).is_err());
    }
}
