//! The invites on disk.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, named_params};

use super::{InviteId, NoGood, Token};
use crate::blocks::Note;
use crate::database::{Database, DatabaseError, SCHEMA};
use crate::postgres::PostgresError;

/// How long to wait for another process that changes the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why invites cannot be read or changed. Nothing was changed. The text tells no token and no address.
#[derive(Debug, thiserror::Error)]
pub enum InvitesError {
    /// The file with the tables.
    #[error("invites: {0}")]
    Database(#[from] DatabaseError),
    /// The database that several hosts share.
    #[error("invites: {0}")]
    Postgres(#[from] PostgresError),
    /// The system has no random numbers.
    #[error("invites: no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// An invite that is to be made.
#[derive(Clone, Debug)]
pub struct NewInvite {
    /// How many accounts can be made with it.
    pub uses: NonZeroU32,
    /// For how long; `None` for ever.
    pub valid_for: Option<Duration>,
    /// Whom it is for, or why.
    pub note: Note,
}

/// An invite as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// How to name it.
    pub id: InviteId,
    /// How many accounts could be made with it when it was new.
    pub uses: u32,
    /// How many still can.
    pub uses_left: u32,
    /// When it was made, in UTC: `2026-01-31T12:00:00Z` (RFC 3339).
    pub created: String,
    /// When it is good no longer; `None`: never.
    pub expires: Option<String>,
    /// Whom it is for, or why; may be empty.
    pub note: String,
    /// Whether it is good.
    pub good: Result<(), NoGood>,
}

/// The table.
#[derive(Debug)]
pub struct InviteTable(Database);

impl InviteTable {
    /// Opens the table; `None` when there is no file, which is no invites.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub fn open(path: &Path) -> Result<Option<Self>, InvitesError> {
        let database = Database::open(&SCHEMA, path, PATIENCE)?;
        database.map(Self::forgetful).transpose()
    }

    /// Opens the table, and makes the file if there is none; made by root, it belongs to `mail_user`.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub fn open_or_create(path: &Path, mail_user: &str) -> Result<Self, InvitesError> {
        let database = Database::open_or_create(&SCHEMA, path, PATIENCE, Some(mail_user))?;
        Self::forgetful(database)
    }

    /// What is deleted is overwritten: claims name addresses.
    fn forgetful(mut database: Database) -> Result<Self, InvitesError> {
        let error = database.error();
        let connection = database.connection();
        connection
            .pragma_update(None, "secure_delete", true)
            .map_err(error)?;
        Ok(Self(database))
    }

    /// Makes an invite. On return it is on disk.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub fn create(
        &mut self,
        new: &NewInvite,
        now: SystemTime,
    ) -> Result<(Token, Invite), InvitesError> {
        let token = Token::random()?;
        let (expires, now) = (lifetime_end(new, now), seconds(now));
        let made = self.change(|transaction| {
            let insert = "INSERT INTO invites (token, uses, uses_left, created, expires, note) \
                VALUES (:token, :uses, :uses, :now, :expires, :note)";
            let hash = token.hash();
            transaction.execute(
                insert,
                named_params! {
                    ":token": hash,
                    ":uses": new.uses.get(),
                    ":now": now,
                    ":expires": expires,
                    ":note": new.note.as_str(),
                },
            )?;
            let select = format!("{SELECT} WHERE token = ?1");
            transaction.query_row(&select, [hash], |row| invite(row, now))
        })?;
        Ok((token, made))
    }

    /// All invites, the oldest first.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub fn list(&mut self, now: SystemTime) -> Result<Vec<Invite>, InvitesError> {
        let error = self.0.error();
        let list = |connection: &mut Connection| -> rusqlite::Result<Vec<Invite>> {
            let select = format!("{SELECT} ORDER BY created, token");
            let mut select = connection.prepare(&select)?;
            let rows = select.query_map([], |row| invite(row, seconds(now)))?;
            rows.collect()
        };
        Ok(list(self.0.connection()).map_err(error)?)
    }

    /// Ends an invite: also for logins that are just redeeming it. `false` when there is none of that name.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub fn revoke(&mut self, id: &InviteId) -> Result<bool, InvitesError> {
        self.change(|transaction| {
            let id = id.as_str();
            let of_id = "substr(token, 1, length(?1)) = ?1";
            transaction.execute(&format!("DELETE FROM invite_claims WHERE {of_id}"), [id])?;
            let revoked =
                transaction.execute(&format!("DELETE FROM invites WHERE {of_id}"), [id])?;
            Ok(revoked > 0)
        })
    }

    /// Whether an account could be made with this token now.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub fn look(
        &mut self,
        token: &Token,
        now: SystemTime,
    ) -> Result<Result<(), NoGood>, InvitesError> {
        let error = self.0.error();
        Ok(look(self.0.connection(), &token.hash(), seconds(now)).map_err(error)?)
    }

    /// Does something in one transaction, which shuts out all other changes, also of other processes.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, InvitesError> {
        self.0.change(|transaction| change(transaction).map(Ok))
    }

    /// For what needs a transaction of its own making.
    pub(super) fn database(&mut self) -> &mut Database {
        &mut self.0
    }
}

/// What [`invite`] reads.
const SELECT: &str = "SELECT token, uses, uses_left, expires, note, \
    strftime('%Y-%m-%dT%H:%M:%SZ', created, 'unixepoch') AS created_text, \
    strftime('%Y-%m-%dT%H:%M:%SZ', expires, 'unixepoch') AS expires_text FROM invites";

fn invite(row: &Row<'_>, now: i64) -> rusqlite::Result<Invite> {
    let uses_left = row.get("uses_left")?;
    Ok(Invite {
        id: InviteId::of_hash(&row.get::<_, String>("token")?),
        uses: row.get("uses")?,
        uses_left,
        created: row.get("created_text")?,
        expires: row.get("expires_text")?,
        note: row.get("note")?,
        good: judge(uses_left, row.get("expires")?, now),
    })
}

/// Whether the invite with this hash is good.
pub(super) fn look(
    connection: &Connection,
    hash: &str,
    now: i64,
) -> rusqlite::Result<Result<(), NoGood>> {
    let select = "SELECT uses_left, expires FROM invites WHERE token = ?1";
    let read = |row: &Row<'_>| Ok(judge(row.get(0)?, row.get(1)?, now));
    let found = connection.query_row(select, [hash], read).optional()?;
    Ok(found.unwrap_or(Err(NoGood::Unknown)))
}

pub(crate) fn judge(uses_left: u32, expires: Option<i64>, now: i64) -> Result<(), NoGood> {
    if expires.is_some_and(|expires| expires <= now) {
        Err(NoGood::Expired)
    } else if uses_left == 0 {
        Err(NoGood::UsedUp)
    } else {
        Ok(())
    }
}

/// When an invite that is made now is good no longer.
pub(crate) fn lifetime_end(new: &NewInvite, now: SystemTime) -> Option<i64> {
    let lifetime = |valid: Duration| i64::try_from(valid.as_secs()).unwrap_or(i64::MAX);
    let valid_for = new.valid_for?;
    Some(seconds(now).saturating_add(lifetime(valid_for)))
}

/// Seconds since 1970; none before.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
