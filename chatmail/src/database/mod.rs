//! Files of small tables: SQLite, each shared by what needs a table. [`SCHEMA`] is the relay's
//! (`database_path`).
//!
//! A file is whole or not there: a new one is made under another name and linked in place. What
//! is there and is not ours is an error and is never written to. `application_id` says that a file
//! is ours, `user_version` how many migrations it has had; whoever opens it applies the rest.
//!
//! The write-ahead log lets readers go on while somebody writes. It lies beside the file, so the
//! folder must belong to the file's owner too. SQLite gives it the owner of the file, also when root
//! is the first to open it.

mod create;

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

/// What one kind of file holds.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Marks a file as of this kind (`PRAGMA application_id`).
    pub application_id: i32,
    /// What made the tables what they are, in order. Never changed, only added to.
    pub migrations: &'static [&'static str],
    /// The key of `chatmail.ini` that names the file.
    pub key: &'static str,
}

/// The file of the relay's small tables (`database_path`).
pub const SCHEMA: Schema = Schema {
    application_id: 0x6368_6d6c, // "chml"
    migrations: &[
        include_str!("1.sql"),
        include_str!("2.sql"),
        include_str!("3.sql"),
    ],
    key: "database_path",
};

/// Kibibytes of the file that SQLite may keep in memory for a reader that keeps it open.
const READER_CACHE: i64 = 256;

/// Why the tables cannot be used. The text tells no content of theirs.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite says so: a locked, damaged or unreadable file, a full disk.
    #[error("{path}: {source}", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file is of another program, or empty.
    #[error(
        "{path} is not a database of chatmail; move it away or set {key} to another file",
        path = path.display()
    )]
    Foreign {
        /// The key of `chatmail.ini` that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A newer version has changed the tables.
    #[error(
        "{path} was made by a newer version (its tables are of version {found}, known is {known})",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// The system does not let us look at the file, or make it.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file or its folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// root would make a file that the mail user could not use.
    #[error(
        "the folder {folder} must belong to mail_user = {mail_user} (chown {mail_user} {folder})",
        folder = folder.display()
    )]
    Folder {
        /// The folder of the file.
        folder: PathBuf,
        /// Who should own it.
        mail_user: String,
    },
}

impl Schema {
    /// The version that all migrations lead to (`PRAGMA user_version`).
    const fn latest(&self) -> i64 {
        self.migrations.len() as i64
    }
}

/// An open file with all migrations applied.
#[derive(Debug)]
pub struct Database {
    schema: &'static Schema,
    path: PathBuf,
    connection: Connection,
}

impl Database {
    /// Opens a file; `None` when there is none. Waits at most `patience` whenever another process
    /// has locked it.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn open(
        schema: &'static Schema,
        path: &Path,
        patience: Duration,
    ) -> Result<Option<Self>, DatabaseError> {
        match FileState::of(path)? {
            Some(_) => Self::open_existing(schema, path, patience).map(Some),
            None => Ok(None),
        }
    }

    /// Opens a file, which is made if there is none. Made by root it belongs to `mail_user`, as
    /// does its folder if that is made as well; without a `mail_user` to the folder's owner.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn open_or_create(
        schema: &'static Schema,
        path: &Path,
        patience: Duration,
        mail_user: Option<&str>,
    ) -> Result<Self, DatabaseError> {
        if FileState::of(path)?.is_none() {
            create::create(schema, path, mail_user)?;
        }
        Self::open_existing(schema, path, patience)
    }

    fn open_existing(
        schema: &'static Schema,
        path: &Path,
        patience: Duration,
    ) -> Result<Self, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags);
        let mut database = Self {
            schema,
            path: path.into(),
            connection: opened.map_err(sqlite(path))?,
        };
        database.prepare(patience).map_err(sqlite(path))??;
        Ok(database)
    }

    /// Settings, a look at what kind of file it is, migrations. The outer error is SQLite's.
    fn prepare(&mut self, patience: Duration) -> rusqlite::Result<Result<(), DatabaseError>> {
        self.connection.busy_timeout(patience)?;
        // What is committed stays, whatever happens to the machine.
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        // Views and triggers of a file that somebody else has prepared may call no functions.
        self.connection
            .pragma_update(None, "trusted_schema", "OFF")?;
        let path = || self.path.clone();
        if pragma::<i32>(&self.connection, "application_id")? != self.schema.application_id {
            return Ok(Err(DatabaseError::Foreign {
                key: self.schema.key,
                path: path(),
            }));
        }
        let found: i64 = pragma(&self.connection, "user_version")?;
        let known = self.schema.latest();
        if !(0..=known).contains(&found) {
            return Ok(Err(DatabaseError::Newer {
                path: path(),
                found,
                known,
            }));
        }
        if found < known {
            migrate(self.schema, &mut self.connection)?;
        }
        Ok(Ok(()))
    }

    /// For the modules that have a table in the file.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// For a reader that keeps the file open.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub(crate) fn into_reader(self) -> Result<Connection, DatabaseError> {
        let prepare = || {
            // SQLite would remove the write-ahead log when it closes the file, by its name: should
            // the file have been replaced, that is the new one's.
            let flag = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            self.connection.set_db_config(flag, true)?;
            self.connection
                .pragma_update(None, "cache_size", -READER_CACHE)
        };
        prepare().map_err(sqlite(&self.path))?;
        Ok(self.connection)
    }

    /// Does something in one transaction, which is on disk when this returns. The outer error of
    /// `change` is SQLite's; with either error nothing changes.
    ///
    /// # Errors
    /// Those of `change`, and what else SQLite says.
    pub fn change<T, E: From<DatabaseError>>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Result<T, E>>,
    ) -> Result<T, E> {
        let error = self.error();
        let in_transaction = || {
            let behaviour = TransactionBehavior::Immediate;
            let transaction = Transaction::new(&mut self.connection, behaviour)?;
            let changed = change(&transaction)?;
            if changed.is_ok() {
                transaction.commit()?;
            }
            Ok(changed)
        };
        in_transaction().map_err(error)?
    }

    /// For `map_err` of what is asked over [`connection`](Self::connection).
    pub fn error(&self) -> impl Fn(rusqlite::Error) -> DatabaseError + use<> {
        sqlite(&self.path)
    }
}

/// Which file is at a path, and how it was last changed.
///
/// A file that was replaced, or overwritten by something other than SQLite, has another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl FileState {
    /// `None` when there is no file.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>, DatabaseError> {
        match std::fs::metadata(path) {
            Ok(found) => Ok(Some(Self::from(&found))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file("look at", path)(source)),
        }
    }
}

impl From<&Metadata> for FileState {
    fn from(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

/// The value of a setting.
fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<T> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Applies what the file has not had, all of it or nothing.
fn migrate(schema: &Schema, connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    // Another process may have been quicker.
    let had: i64 = pragma(&transaction, "user_version")?;
    let had = usize::try_from(had).unwrap_or(usize::MAX);
    if had < schema.migrations.len() {
        for migration in schema.migrations.iter().skip(had) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", schema.latest())?;
    }
    transaction.commit()
}

fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> DatabaseError + use<> {
    let path = path.to_owned();
    move |source| DatabaseError::Sqlite {
        path: path.clone(),
        source,
    }
}

fn file(action: &'static str, path: &Path) -> impl Fn(io::Error) -> DatabaseError + use<> {
    let path = path.to_owned();
    move |source| DatabaseError::File {
        action,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests;
