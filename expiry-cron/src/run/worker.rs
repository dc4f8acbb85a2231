//! What happens to one mailbox.

use std::ffi::{CStr, CString};
use std::io::{self, ErrorKind};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use chatmail::accounts::QUOTA_FILE;

use super::strays::is_still;
use super::summary::Counts;
use crate::account::{self, Account};
use crate::directory::{Directory, Kind};
use crate::mailbox::{Message, Room, Trail, Visitor, walk};
use crate::mailboxes::is_no_mailbox;
use crate::narrator::Narrator;
use crate::rules::{Part, Reason, Rules};
use crate::stamp::Stamp;
use crate::time::Time;
use crate::trim::{Candidate, Trimming, trim};

/// An account that is about to be deleted, for the [undertaker](super::undertaker).
#[derive(Debug)]
pub(super) struct Doomed {
    /// The name of its mailbox.
    pub(super) mailbox: CString,
    /// Since when everybody can see that it is about to be deleted; `None` when it is deleted and only
    /// what is left of its mailbox has to be removed.
    pub(super) since: Option<Instant>,
}

/// What all workers share.
pub(super) struct Job<'a> {
    pub(super) root: &'a Directory,
    pub(super) rules: Rules,
    /// Whether anything is removed.
    pub(super) acts: bool,
    /// Whether mailboxes tell of accounts; else a database does.
    pub(super) accounts: bool,
    pub(super) narrator: &'a Narrator,
}

impl Job<'_> {
    /// Tells that something goes.
    fn tell(&self, what: impl FnOnce() -> String) {
        let verb = match self.acts {
            true => "removing",
            false => "would remove",
        };
        self.narrator.step(|| format!("{verb} {}", what()));
    }
}

/// Does the work of a thread.
pub(super) struct Worker<'a> {
    job: &'a Job<'a>,
    /// Takes accounts that are to be deleted; `None` when none can be, or on a dry run.
    undertaker: Option<SyncSender<Doomed>>,
    /// Takes mailboxes that may be copies of what is elsewhere; `None` where there is no elsewhere.
    strays: Option<SyncSender<CString>>,
    room: Room,
    trail: Trail,
    pub(super) counts: Counts,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        job: &'a Job<'a>,
        undertaker: Option<SyncSender<Doomed>>,
        strays: Option<SyncSender<CString>>,
    ) -> Self {
        Self {
            job,
            undertaker,
            strays,
            room: Room::default(),
            trail: Trail::default(),
            counts: Counts::default(),
        }
    }

    /// Looks at a mailbox and does what is to be done.
    pub(super) fn mailbox(&mut self, name: &CStr) {
        self.trail.begin(name);
        let mailbox = match self.job.root.open(name) {
            Ok(mailbox) => mailbox,
            Err(error) if is_no_mailbox(&error) => return,
            Err(error) => {
                self.counts.mailboxes += 1;
                return self.trouble("read a mailbox", &error);
            }
        };
        self.counts.mailboxes += 1;
        match self.account(name, &mailbox) {
            Ok(true) => {}
            Ok(false) => self.content(name, &mailbox),
            Err(error) => self.trouble("look at an account", &error),
        }
    }

    /// Whether the account goes, and with it the mailbox.
    fn account(&mut self, name: &CStr, mailbox: &Directory) -> io::Result<bool> {
        if !self.job.accounts {
            return Ok(false);
        }
        let account = Account::of(mailbox)?;
        let goes = match account {
            Account::Present(last_login) | Account::Expiring(last_login) => {
                self.job.rules.account_goes(last_login)
            }
            Account::Expired => true,
            Account::None => false,
        };
        if !self.job.acts {
            if goes {
                self.counts.removed_mailboxes += 1;
                self.job.tell(|| self.trail.to_string());
            }
            return Ok(goes);
        }
        let since = match account {
            Account::Expired => None,
            Account::Present(_) if goes && self.undertaker.is_some() => {
                let goes = |last_login: Time| self.job.rules.account_goes(last_login);
                if !account::begin_deletion(mailbox, goes)? {
                    self.counts.kept_accounts += 1;
                    return Ok(false);
                }
                Some(Instant::now())
            }
            Account::Expiring(_) if goes && self.undertaker.is_some() => Some(Instant::now()),
            // A run that was killed had begun to delete it, under other rules or by another clock.
            Account::Expiring(_) => {
                account::take_back(mailbox)?;
                return Ok(false);
            }
            Account::Present(_) | Account::None => return Ok(false),
        };
        let mailbox = name.to_owned();
        let Some(undertaker) = &self.undertaker else {
            return Ok(false);
        };
        let sent = undertaker.send(Doomed { mailbox, since });
        sent.map_err(|_| io::Error::other("the thread that deletes accounts has died"))?;
        Ok(true)
    }

    /// Messages, the quota, and the mailbox itself if nothing is in it.
    fn content(&mut self, name: &CStr, mailbox: &Directory) {
        let before = self.counts.messages;
        let mut count = Count::of(mailbox);
        let mut visitor = Expiry {
            job: self.job,
            counts: &mut self.counts,
            count: &mut count,
            inbox_bytes: 0,
        };
        let any = walk(mailbox, &mut self.trail, &mut self.room, &mut visitor);
        let inbox_bytes = visitor.inbox_bytes;
        if inbox_bytes > self.job.rules.trim_to() {
            self.trim(mailbox, &mut count);
        }
        if count.is_over {
            self.remove_new_count(mailbox);
        }
        if !any {
            self.empty(name);
        } else if self.counts.messages == before
            && let Err(error) = self.stray(name, mailbox)
        {
            self.trouble("look whether a mailbox is elsewhere", &error);
        }
    }

    /// Has a mailbox without messages looked at in which nothing has changed for long.
    fn stray(&mut self, name: &CStr, mailbox: &Directory) -> io::Result<()> {
        let Some(strays) = &self.strays else {
            return Ok(());
        };
        let since = self.job.rules.oldest_message();
        let is_old = |status: crate::directory::Status| status.modified < since;
        if self.job.root.status(name)?.is_some_and(is_old)
            && is_still(mailbox, &mut self.trail, &mut self.room, since)
        {
            let sent = strays.send(name.to_owned());
            sent.map_err(|_| io::Error::other("the thread that asks the database has died"))?;
        }
        Ok(())
    }

    fn trim(&mut self, mailbox: &Directory, count: &mut Count<'_>) {
        let mut trimming = OverQuota {
            job: self.job,
            counts: &mut self.counts,
            count,
            trail: &self.trail,
            removed: 0,
        };
        let target = self.job.rules.trim_to();
        let trimmed = trim(mailbox, target, &mut self.room, &mut trimming);
        let removed = trimming.removed;
        if removed > 0 {
            self.job.narrator.step(|| {
                let mailbox = &self.trail;
                format!("quota-expire: removed {removed} message(s) from {mailbox}")
            });
        }
        if let Err(error) = trimmed {
            self.trouble("make room in a mailbox", &error);
        }
    }

    /// Dovecot may have counted while messages went.
    fn remove_new_count(&mut self, mailbox: &Directory) {
        if self.job.acts
            && let Err(error) = mailbox.remove_file(QUOTA_FILE)
        {
            self.trouble("remove a quota file", &error);
        }
    }

    fn empty(&mut self, name: &CStr) {
        let root = self.job.root;
        let goes = |modified| self.job.rules.empty_goes(modified);
        let removed = match root.status(name) {
            Ok(Some(status)) if status.kind == Kind::Directory && goes(status.modified) => {
                match self.job.acts {
                    true => root.remove_directory(name),
                    false => Ok(true),
                }
            }
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        };
        match removed {
            Ok(true) => {
                self.counts.removed_mailboxes += 1;
                self.job.tell(|| format!("{} (empty)", self.trail));
            }
            Ok(false) => {}
            // Somebody is making it.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) => self.trouble("remove an empty mailbox", &error),
        }
    }

    fn trouble(&mut self, what: &str, error: &io::Error) {
        self.counts.errors += 1;
        self.job.narrator.trouble(what, &self.trail, error);
    }
}

/// Dovecot's count of what is in a mailbox. It is removed before the first message is, so that no run that is
/// killed leaves a count of what is gone; Dovecot then counts anew.
struct Count<'a> {
    mailbox: &'a Directory,
    is_over: bool,
}

impl<'a> Count<'a> {
    fn of(mailbox: &'a Directory) -> Self {
        Self {
            mailbox,
            is_over: false,
        }
    }

    /// A message is about to go.
    fn end(&mut self, job: &Job<'_>, counts: &mut Counts, at: &Trail) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let removed = match job.acts {
            true => self.mailbox.remove_file(QUOTA_FILE),
            false => self.mailbox.status(QUOTA_FILE).map(|found| found.is_some()),
        };
        match removed {
            Ok(true) => {
                counts.removed_files += 1;
                job.tell(|| format!("{}/{QUOTA_FILE}", at.mailbox()));
            }
            Ok(false) => {}
            Err(error) => {
                counts.errors += 1;
                job.narrator.trouble("remove a quota file", at, &error);
            }
        }
    }
}

/// Removes messages by their age, and adds up the others of the INBOX.
struct Expiry<'a, 'm> {
    job: &'a Job<'a>,
    counts: &'a mut Counts,
    count: &'a mut Count<'m>,
    inbox_bytes: u64,
}

impl Visitor for Expiry<'_, '_> {
    fn message(&mut self, at: &Trail, message: Message<'_>) {
        self.counts.messages += 1;
        let status = message.status;
        let rules = &self.job.rules;
        let Some(reason) = rules.message_goes(message.part, status.modified, status.size) else {
            if message.inbox
                && message.part != Part::Tmp
                && let Some(stamp) = Stamp::parse(message.name.to_bytes())
            {
                self.inbox_bytes = self.inbox_bytes.saturating_add(stamp.size);
            }
            return;
        };
        self.count.end(self.job, self.counts, at);
        let removed = match self.job.acts {
            true => message.directory.remove_file(message.name),
            false => Ok(true),
        };
        match removed {
            Ok(true) => {
                count_removed(self.counts, reason, status.size);
                self.job
                    .tell(|| format!("{} {}", status.modified.day(), at.to(message.name)));
            }
            // Read and deleted by its owner, or marked as read: then it has another name, and the next
            // run finds it.
            Ok(false) => {}
            Err(error) => {
                self.counts.errors += 1;
                self.job.narrator.trouble("remove a message", at, &error);
            }
        }
    }

    fn trouble(&mut self, at: &Trail, error: &io::Error) {
        self.counts.errors += 1;
        self.job.narrator.trouble("read a mailbox", at, error);
    }
}

fn count_removed(counts: &mut Counts, reason: Reason, bytes: u64) {
    let by_reason = match reason {
        Reason::Old => &mut counts.removed_old,
        Reason::Large => &mut counts.removed_large,
        Reason::OverQuota => &mut counts.removed_over_quota,
    };
    *by_reason += 1;
    counts.removed_messages += 1;
    counts.removed_files += 1;
    counts.removed_bytes = counts.removed_bytes.saturating_add(bytes);
}

/// Removes the oldest messages of a mailbox that is too full.
struct OverQuota<'a, 'm> {
    job: &'a Job<'a>,
    counts: &'a mut Counts,
    count: &'a mut Count<'m>,
    trail: &'a Trail,
    removed: u64,
}

impl Trimming for OverQuota<'_, '_> {
    /// On a dry run what goes by age is still there.
    fn leaves_out(&self, part: Part, directory: &Directory, name: &CStr) -> bool {
        let goes = |status: crate::directory::Status| {
            let rules = &self.job.rules;
            rules
                .message_goes(part, status.modified, status.size)
                .is_some()
        };
        !self.job.acts && matches!(directory.status(name), Ok(Some(status)) if goes(status))
    }

    fn is_protected(&self, stamp: Stamp) -> bool {
        self.job.rules.is_protected(stamp)
    }

    fn remove(&mut self, directory: &Directory, message: &Candidate) -> io::Result<bool> {
        let status = directory.status(&*message.name)?;
        self.count.end(self.job, self.counts, self.trail);
        let removed = match self.job.acts {
            true => directory.remove_file(&*message.name)?,
            false => status.is_some(),
        };
        if removed {
            self.removed += 1;
            let bytes = status.map_or(0, |status| status.size);
            count_removed(self.counts, Reason::OverQuota, bytes);
            self.job.tell(|| {
                let (mailbox, part) = (self.trail, message.part.as_str());
                let name = message.name.to_bytes().escape_ascii();
                format!("{mailbox}/{part}/{name}")
            });
        }
        Ok(removed)
    }
}
