//! The notifications that have not been sent: a table, and which of them are being sent. Blocks; no clock.
//!
//! It is an SQLite file, and not a file for each notification as on classic relays, for three reasons. A batch
//! of changes is one write, whatever their number; what is half written after a power failure is found out by
//! checksums; and what waits needs no memory of ours, since tokens and times are looked up when they are due.
//!
//! A commit is handed to the kernel, and not waited for until the disk has it (`synchronous = NORMAL`): it
//! survives the death of the process, also by SIGKILL, and not that of the machine within the last second. The
//! message itself is safe by then, and its app finds it when it looks the next time. Waiting for the disk would add
//! milliseconds to each delivery. [`Sync`] brings the file to the disk; it runs beside, in a thread that nobody
//! waits for.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use chatmail::database::{Database, DatabaseError, Schema};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::backoff::{self, LONGEST_PAUSE};
use crate::metadata::tokens::Token;

/// Notifications that may wait. With tokens of the usual size they are a file of some 100 MB.
pub const PENDING_MAX: u64 = 100_000;

/// How long another process may lock the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// The log of changes is brought into the file, and begun anew, when it has more pages than this (of 4 KiB).
const LOG_PAGES_MAX: i64 = 8192;

static SCHEMA: Schema = Schema {
    application_id: 0x6368_6e71, // "chnq"
    migrations: &[include_str!("1.sql")],
    key: "notification_queue_path",
};

/// Too many notifications wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many notifications are waiting")]
pub struct Full;

/// A message has come for an account with these tokens.
#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) address: String,
    pub(super) tokens: Vec<Token>,
}

/// A notification to be sent.
#[derive(Clone, Debug)]
pub(super) struct Notification {
    pub(super) id: i64,
    pub(super) address: String,
    pub(super) token: Token,
}

/// What came of sending one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server has it, or the token is of no use.
    Done,
    /// It has not.
    Failed,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// For each account with a new message.
    pub(super) added: Vec<Result<(), Full>>,
    /// Notifications that were given up after their last failure.
    pub(super) dropped: u64,
    /// Something may be due that was not.
    pub(super) news: bool,
}

/// What is to be sent now.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) notifications: Vec<Notification>,
    /// When to ask again, in Unix seconds, unless there are news; none if nothing waits.
    pub(super) next: Option<u64>,
    /// Notifications that were given up since they have waited too long.
    pub(super) dropped: u64,
}

/// The table.
pub(super) struct Queue {
    database: Database,
    /// Being sent; whether a message has come since that was begun.
    in_flight: HashMap<i64, bool>,
    pending: u64,
    pending_max: u64,
}

impl Queue {
    /// Opens the file; `None` when there is none.
    pub(super) fn open(path: &Path, now: u64) -> Result<Option<Self>, DatabaseError> {
        let database = Database::open(&SCHEMA, path, PATIENCE)?;
        database
            .map(|database| Self::new(database, now))
            .transpose()
    }

    /// Opens the file, which is made if there is none.
    pub(super) fn open_or_create(
        path: &Path,
        mail_user: &str,
        now: u64,
    ) -> Result<Self, DatabaseError> {
        let database = Database::open_or_create(&SCHEMA, path, PATIENCE, Some(mail_user))?;
        Self::new(database, now)
    }

    fn new(mut database: Database, now: u64) -> Result<Self, DatabaseError> {
        let error = database.error();
        let pending = prepare(database.connection(), now).map_err(error)?;
        Ok(Self {
            database,
            in_flight: HashMap::new(),
            pending,
            pending_max: PENDING_MAX,
        })
    }

    /// How many wait, or are being sent.
    pub(super) fn pending(&self) -> u64 {
        self.pending
    }

    /// Writes what is new and what came of notifications, all of it or nothing.
    pub(super) fn write(
        &mut self,
        new: &[New],
        outcomes: &[(i64, Outcome)],
        now: u64,
    ) -> Result<Written, DatabaseError> {
        let error = self.database.error();
        let connection = self.database.connection();
        let mut batch = Batch {
            in_flight: &mut self.in_flight,
            pending: self.pending,
            pending_max: self.pending_max,
            written: Written::default(),
            now,
        };
        let mut write = || {
            let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
            for new in new {
                let added = batch.add(&transaction, new)?;
                batch.written.added.push(added);
            }
            for (id, outcome) in outcomes {
                batch.settle(&transaction, *id, *outcome)?;
            }
            transaction.commit()
        };
        write().map_err(error)?;
        let Batch {
            pending, written, ..
        } = batch;
        self.pending = pending;
        for (id, _) in outcomes {
            self.in_flight.remove(id);
        }
        Ok(written)
    }

    /// Notifications to be sent now, at most `limit`. They are taken for being sent until their outcome is
    /// written.
    pub(super) fn take(&mut self, limit: usize, now: u64) -> Result<Due, DatabaseError> {
        let error = self.database.error();
        let connection = self.database.connection();
        let due = take(connection, &self.in_flight, limit, now).map_err(error)?;
        self.pending = self.pending.saturating_sub(due.dropped);
        let ids = due.notifications.iter().map(|one| (one.id, false));
        self.in_flight.extend(ids);
        Ok(due)
    }
}

/// Settings, and what a clock that was wrong has left; gives the number of rows.
fn prepare(connection: &mut Connection, now: u64) -> rusqlite::Result<u64> {
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // It would wait for the disk: `sync` does that elsewhere.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    let latest = integer(now.saturating_add(LONGEST_PAUSE));
    connection.execute(
        "UPDATE notification SET due = ?1, queued = min(queued, ?1) WHERE due > ?2",
        [integer(now), latest],
    )?;
    let rows: i64 =
        connection.query_row("SELECT count(*) FROM notification", [], |row| row.get(0))?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// Changes that are written together.
struct Batch<'a> {
    in_flight: &'a mut HashMap<i64, bool>,
    pending: u64,
    pending_max: u64,
    written: Written,
    now: u64,
}

impl Batch<'_> {
    fn add(
        &mut self,
        transaction: &Transaction<'_>,
        new: &New,
    ) -> rusqlite::Result<Result<(), Full>> {
        let mut added = Ok(());
        for token in &new.tokens {
            let found: Option<(i64, u32)> = transaction
                .prepare_cached("SELECT id, attempts FROM notification WHERE token = ?1")?
                .query_row([token.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match found {
                Some((id, attempts)) => {
                    if let Some(again) = self.in_flight.get_mut(&id) {
                        *again = true;
                    } else if attempts > 0 {
                        self.renew(transaction, id)?;
                    }
                }
                None if self.pending >= self.pending_max => added = Err(Full),
                None => {
                    transaction
                        .prepare_cached(
                            "INSERT INTO notification (token, address, queued, due) VALUES (?1, ?2, ?3, ?3)",
                        )?
                        .execute(params![token.as_str(), new.address, integer(self.now)])?;
                    self.pending += 1;
                    self.written.news = true;
                }
            }
        }
        Ok(added)
    }

    fn settle(
        &mut self,
        transaction: &Transaction<'_>,
        id: i64,
        outcome: Outcome,
    ) -> rusqlite::Result<()> {
        // A message that has come meanwhile is told anew: the app may have looked before it came.
        let again = self.in_flight.get(&id).copied().unwrap_or(false);
        match outcome {
            Outcome::Done if again => self.renew(transaction, id),
            Outcome::Done => self.delete(transaction, id),
            Outcome::Failed => {
                let found: Option<(i64, u32)> = transaction
                    .prepare_cached("SELECT queued, attempts FROM notification WHERE id = ?1")?
                    .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?;
                let Some((queued, attempts)) = found else {
                    return Ok(());
                };
                let (queued, attempts) = match again {
                    true => (self.now, 1),
                    false => (
                        u64::try_from(queued).unwrap_or(0),
                        attempts.saturating_add(1),
                    ),
                };
                match backoff::next_attempt(queued, attempts, self.now) {
                    Some(due) => {
                        transaction
                            .prepare_cached(
                                "UPDATE notification SET queued = ?2, attempts = ?3, due = ?4 WHERE id = ?1",
                            )?
                            .execute(params![id, integer(queued), attempts, integer(due)])?;
                        self.written.news = true;
                        Ok(())
                    }
                    None => {
                        self.written.dropped += 1;
                        self.delete(transaction, id)
                    }
                }
            }
        }
    }

    /// As if it had just been added.
    fn renew(&mut self, transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
        transaction
            .prepare_cached(
                "UPDATE notification SET queued = ?2, attempts = 0, due = ?2 WHERE id = ?1",
            )?
            .execute([id, integer(self.now)])?;
        self.written.news = true;
        Ok(())
    }

    fn delete(&mut self, transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
        let deleted = transaction
            .prepare_cached("DELETE FROM notification WHERE id = ?1")?
            .execute([id])?;
        self.pending = self
            .pending
            .saturating_sub(u64::try_from(deleted).unwrap_or(0));
        Ok(())
    }
}

/// What is due and not in flight. What has waited too long goes.
fn take(
    connection: &mut Connection,
    in_flight: &HashMap<i64, bool>,
    limit: usize,
    now: u64,
) -> rusqlite::Result<Due> {
    let mut due = Due::default();
    let mut late = Vec::new();
    // Those in flight are due as well.
    let most = limit.saturating_add(in_flight.len());
    let mut seen = 0;
    {
        let mut select = connection.prepare_cached(
            "SELECT id, address, token, queued FROM notification \
             WHERE due <= ?1 ORDER BY due LIMIT ?2",
        )?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut rows = select.query([integer(now), most])?;
        while let Some(row) = rows.next()? {
            seen += 1;
            let id: i64 = row.get(0)?;
            if in_flight.contains_key(&id) || due.notifications.len() == limit {
                continue;
            }
            let queued = u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
            let token = Token::parse(row.get_ref(2)?.as_bytes()?);
            match token.filter(|_| !backoff::is_late(queued, now)) {
                Some(token) => due.notifications.push(Notification {
                    id,
                    address: row.get(1)?,
                    token,
                }),
                None => late.push(id),
            }
        }
    }
    if !late.is_empty() {
        let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
        for id in &late {
            transaction
                .prepare_cached("DELETE FROM notification WHERE id = ?1")?
                .execute([id])?;
        }
        transaction.commit()?;
    }
    due.dropped = u64::try_from(late.len()).unwrap_or(0);
    due.next = if seen == most {
        Some(now)
    } else {
        let next: Option<i64> = connection
            .prepare_cached("SELECT min(due) FROM notification WHERE due > ?1")?
            .query_row([integer(now)], |row| row.get(0))?;
        next.map(|due| u64::try_from(due).unwrap_or(0))
    };
    Ok(due)
}

/// A time as SQLite has it.
fn integer(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Brings what was committed to the disk, on a connection of its own, while others go on writing.
pub(super) struct Sync(Database);

impl Sync {
    /// Opens the file; `None` when there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, DatabaseError> {
        Ok(Database::open(&SCHEMA, path, PATIENCE)?.map(Self))
    }

    /// What was committed so far is on the disk when this returns. Writers have to wait for it only when the
    /// log has become so long that it must be begun anew.
    pub(super) fn sync(&mut self) -> Result<(), DatabaseError> {
        let error = self.0.error();
        let connection = self.0.connection();
        let checkpoint = |mode: &str| {
            let pragma = format!("PRAGMA wal_checkpoint({mode})");
            connection.query_row(&pragma, [], |row| row.get::<_, i64>(1))
        };
        if checkpoint("PASSIVE").map_err(&error)? > LOG_PAGES_MAX {
            checkpoint("RESTART").map_err(&error)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
