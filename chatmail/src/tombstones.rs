//! Addresses of accounts that were deleted, which nobody can take over for a while.
//!
//! Who writes to an address expects the person who had it. So when an account is deleted its address
//! stays taken for `tombstone_days`, for its former owner too: the password is gone.
//!
//! The table has no list of addresses: each is hashed with a salt of the file's own. That keeps them
//! from whoever looks at the file or finds a copy of it. Somebody who has the file and tries all names
//! still finds them.
//!
//! - [`Tombstones`]: the table, for who deletes accounts
//! - [`LiveTombstones`]: the question whether there is one, for who creates them

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use sha2::{Digest as _, Sha256};

use crate::Address;
use crate::database::{Database, DatabaseError, FileState, SCHEMA};

/// How long to wait for another process that changes the file.
const PATIENCE: Duration = Duration::from_secs(10);

const DAY: u64 = 24 * 60 * 60;

/// A day, counted from 1970-01-01 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// The day of a time; the first one for times before it.
    pub fn of(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        Self(i64::try_from(since.unwrap_or_default().as_secs() / DAY).unwrap_or(i64::MAX))
    }

    /// The day of this number.
    pub(crate) fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Days since 1970-01-01.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The day that many days later.
    #[must_use]
    pub fn plus(self, days: u32) -> Self {
        Self(self.0.saturating_add(days.into()))
    }
}

/// The table.
#[derive(Debug)]
pub struct Tombstones(Database);

impl Tombstones {
    /// The table in a file that is open.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// The file.
    pub fn into_database(self) -> Database {
        self.0
    }

    /// Makes these addresses unavailable before the day `until`, all of them or none. A tombstone
    /// that is there never gets a shorter time. On return they are on disk.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn lay(&mut self, addresses: &[Address], until: Day) -> Result<(), DatabaseError> {
        const INSERT: &str = "INSERT INTO tombstones VALUES (?1, ?2) ON CONFLICT (address) \
            DO UPDATE SET until = max(until, excluded.until)";
        self.0.change(|transaction| {
            let hasher = own(hashers(transaction)?)?;
            let mut insert = transaction.prepare(INSERT)?;
            for address in addresses {
                insert.execute((hash(&hasher, address).as_slice(), until.0))?;
            }
            Ok(Ok(()))
        })
    }

    /// Makes an address available again; `false` when it was.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn lift(&mut self, address: &Address) -> Result<bool, DatabaseError> {
        self.0.change(|transaction| {
            let mut delete = transaction.prepare("DELETE FROM tombstones WHERE address = ?1")?;
            let mut lifted = 0;
            for hasher in hashers(transaction)? {
                lifted += delete.execute([hash(&hasher, address).as_slice()])?;
            }
            Ok(Ok(lifted > 0))
        })
    }

    /// Removes those whose time is over on this day; how many there were.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn remove_expired(&mut self, today: Day) -> Result<usize, DatabaseError> {
        self.0.change(|transaction: &Transaction<'_>| {
            let delete = "DELETE FROM tombstones WHERE until <= ?1";
            transaction.execute(delete, [today.0]).map(Ok)
        })
    }
}

/// The question whether an address is taken by a tombstone, answered from the file as it is then.
///
/// The file stays open between questions: each takes some microseconds.
pub struct LiveTombstones {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

/// An open file, and which one it is.
struct Open {
    file: FileState,
    connection: Connection,
}

impl LiveTombstones {
    /// The tombstones in this file, which is opened when it is first asked.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            open: Mutex::new(None),
        }
    }

    /// Whether nobody may have this address now. Without a file there is no tombstone. Blocks for as
    /// long as the file system takes.
    ///
    /// # Errors
    /// See [`DatabaseError`]. Temporary: nobody may have the address because of that.
    pub fn holds(&self, address: &Address, now: SystemTime) -> Result<bool, DatabaseError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = FileState::of(&self.path)?;
        if open.as_ref().map(|open| open.file) != file {
            *open = match file {
                Some(file) => Open::new(&self.path, file)?,
                None => None,
            };
        }
        let Some(Open { connection, .. }) = &*open else {
            return Ok(false);
        };
        let asked = ask(connection, address, Day::of(now));
        asked.map_err(|source| {
            // Whatever is wrong with the connection, the next question gets a new one.
            *open = None;
            DatabaseError::Sqlite {
                path: self.path.clone(),
                source,
            }
        })
    }
}

impl fmt::Debug for LiveTombstones {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LiveTombstones")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Open {
    fn new(path: &Path, file: FileState) -> Result<Option<Self>, DatabaseError> {
        let Some(database) = Database::open(&SCHEMA, path, PATIENCE)? else {
            return Ok(None);
        };
        let connection = database.into_reader()?;
        Ok(Some(Self { file, connection }))
    }
}

fn ask(connection: &Connection, address: &Address, today: Day) -> rusqlite::Result<bool> {
    let mut select =
        connection.prepare_cached("SELECT 1 FROM tombstones WHERE address = ?1 AND until > ?2")?;
    for hasher in hashers(connection)? {
        let hash = hash(&hasher, address);
        let found = select.query_row((hash.as_slice(), today.0), |_| Ok(()));
        if found.optional()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// SHA-256 that has taken a salt, for each salt of the file. The first is the file's own, the others came with
/// tombstones from a database.
fn hashers(connection: &Connection) -> rusqlite::Result<Vec<Sha256>> {
    let mut select = connection.prepare_cached("SELECT salt FROM tombstone_salt ORDER BY rowid")?;
    let salted = |salt: Vec<u8>| Sha256::new().chain_update(salt);
    let rows = select.query_map([], |row| row.get(0).map(salted))?;
    rows.collect()
}

fn own(hashers: Vec<Sha256>) -> rusqlite::Result<Sha256> {
    let none = rusqlite::Error::QueryReturnedNoRows;
    hashers.into_iter().next().ok_or(none)
}

fn hash(hasher: &Sha256, address: &Address) -> [u8; 32] {
    hasher
        .clone()
        .chain_update(address.to_string())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(path: &Path) -> Tombstones {
        let opened = Database::open_or_create(&SCHEMA, path, PATIENCE, None);
        Tombstones::new(opened.unwrap())
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn on(day: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(day) * DAY + 1)
    }

    #[test]
    fn an_address_is_taken_until_its_day_and_no_other_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tables");
        let live = LiveTombstones::new(&path);
        let holds = |text: &str, day| live.holds(&address(text), on(day)).unwrap();
        assert!(!holds("a@x.org", 1));

        let mut table = table(&path);
        let until = Day::of(on(5)).plus(5);
        table
            .lay(&[address("a@x.org"), address("b@x.org")], until)
            .unwrap();
        assert!(holds("A@x.org", 9) && holds("b@x.org", 0));
        assert!(!holds("a@x.org", 10) && !holds("c@x.org", 9));

        // Deleted once more, on an earlier day of a clock that was wrong.
        table.lay(&[address("a@x.org")], Day::of(on(2))).unwrap();
        assert!(holds("a@x.org", 9));

        assert!(table.lift(&address("b@x.org")).unwrap());
        assert!(!table.lift(&address("b@x.org")).unwrap());
        assert!(!holds("b@x.org", 9));
        assert_eq!(table.remove_expired(Day::of(on(9))).unwrap(), 0);
        assert_eq!(table.remove_expired(Day::of(on(10))).unwrap(), 1);
        assert!(!holds("a@x.org", 0));
    }

    #[test]
    fn no_address_stands_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tables");
        let until = Day::of(on(9));
        table(&path)
            .lay(&[address("secretive@x.org")], until)
            .unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let content = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!content.windows(9).any(|window| window == b"secretive"));
        }
    }

    #[test]
    fn each_file_has_a_salt_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let hash_of = |name: &str| {
            let mut table = table(&dir.path().join(name));
            let hashers = hashers(table.0.connection()).unwrap();
            hash(&hashers[0], &address("a@x.org"))
        };
        assert_ne!(hash_of("one"), hash_of("two"));
        assert_eq!(hash_of("one"), hash_of("one"));
    }

    #[test]
    fn a_file_that_is_replaced_or_broken_is_seen_at_the_next_question() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tables");
        let live = LiveTombstones::new(&path);
        let taken = address("a@x.org");
        let until = Day::of(on(9));
        let mut table = table(&path);
        table.lay(std::slice::from_ref(&taken), until).unwrap();
        drop(table);
        assert!(live.holds(&taken, on(1)).unwrap());
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(dir.path().join(format!("tables{ending}")));
        }
        assert!(!live.holds(&taken, on(1)).unwrap());
        std::fs::write(&path, "broken").unwrap();
        assert!(live.holds(&taken, on(1)).is_err());
    }
}
