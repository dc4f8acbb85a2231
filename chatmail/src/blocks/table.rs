//! The list on disk, for those who change it or show it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, named_params};

use super::{BlockList, Entry, EntryError, Note};
use crate::database::{Database, DatabaseError, SCHEMA};
use crate::postgres::PostgresError;

/// Most entries that the list can have, which bounds what a daemon keeps in memory.
pub const ENTRIES_MAX: usize = 100_000;

/// How long to wait for another process that changes the file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the list cannot be read or changed. Nothing was changed. The text quotes no entry.
#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    /// The file with the tables.
    #[error("block list: {0}")]
    Database(#[from] DatabaseError),
    /// The database that several hosts share.
    #[error("block list: {0}")]
    Postgres(#[from] PostgresError),
    /// The list is too long, or would be.
    #[error(
        "block list: {wanted} entries are more than the {ENTRIES_MAX} that it can hold; \
         remove some, or block domains and networks instead of addresses"
    )]
    Full {
        /// How many entries that is.
        wanted: usize,
    },
    /// Something else than we has written an entry.
    #[error("block list: an entry in the file is none: {0}")]
    Entry(EntryError),
    /// The thread that reads the list has died.
    #[error("block list: the thread that reads it failed")]
    Worker,
}

/// What came of adding an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addition {
    /// It is new.
    Added,
    /// It was there, and has another note now.
    Noted,
    /// It was there.
    Unchanged,
}

/// An entry as it stands in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The entry.
    pub entry: Entry,
    /// Why it is there; may be empty.
    pub note: String,
    /// When it was added, in UTC: `2026-01-31T12:00:00Z` (RFC 3339).
    pub added: String,
}

/// The table.
#[derive(Debug)]
pub struct BlockTable(Database);

impl BlockTable {
    /// Opens the table; `None` when there is no file, which is an empty list.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn open(path: &Path) -> Result<Option<Self>, BlocksError> {
        Ok(Database::open(&SCHEMA, path, PATIENCE)?.map(Self))
    }

    /// Opens the table, and makes the file if there is none; made by root, it belongs to
    /// `mail_user`.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn open_or_create(path: &Path, mail_user: &str) -> Result<Self, BlocksError> {
        Ok(Self(Database::open_or_create(
            &SCHEMA,
            path,
            PATIENCE,
            Some(mail_user),
        )?))
    }

    /// Adds all of these, or none if there is an error, and says of each what came of it. With
    /// `None` an entry that is there keeps its note. On return they are on disk.
    ///
    /// # Errors
    /// See [`BlocksError`].
    pub fn add(
        &mut self,
        entries: &[Entry],
        note: Option<&Note>,
    ) -> Result<Vec<Addition>, BlocksError> {
        self.0.change(|transaction| {
            let add = |entry| add(transaction, entry, note);
            let additions = entries.iter().map(add).collect::<Result<_, _>>()?;
            Ok(match count(transaction)? {
                0..=ENTRIES_MAX => Ok(additions),
                wanted => Err(BlocksError::Full { wanted }),
            })
        })
    }

    /// Removes all of these, or none if there is an error, and says of each whether it was there.
    /// On return that is on disk.
    ///
    /// # Errors
    /// See [`BlocksError`].
    pub fn remove(&mut self, entries: &[Entry]) -> Result<Vec<bool>, BlocksError> {
        self.0.change(|transaction| {
            let mut remove = transaction.prepare("DELETE FROM blocks WHERE entry = ?1")?;
            let mut remove = |entry: &Entry| remove.execute([entry.to_string()]).map(|n| n > 0);
            let removed = entries.iter().map(&mut remove).collect::<Result<_, _>>()?;
            Ok(Ok(removed))
        })
    }

    /// All entries in the order of their text.
    ///
    /// # Errors
    /// See [`BlocksError`].
    pub fn entries(&mut self) -> Result<Vec<Listed>, BlocksError> {
        let error = self.0.error();
        let listed = listed(self.0.connection()).map_err(error)?;
        let parse = |(entry, note, added): (String, String, String)| {
            let entry = entry.parse().map_err(BlocksError::Entry)?;
            Ok(Listed { entry, note, added })
        };
        listed.into_iter().map(parse).collect()
    }
}

fn add(
    transaction: &Transaction<'_>,
    entry: &Entry,
    note: Option<&Note>,
) -> rusqlite::Result<Addition> {
    let entry = entry.to_string();
    let note = note.map(Note::as_str);
    let insert = "INSERT INTO blocks (entry, note, added) \
        VALUES (:entry, coalesce(:note, ''), strftime('%Y-%m-%dT%H:%M:%SZ', 'now')) \
        ON CONFLICT DO NOTHING";
    let mut insert = transaction.prepare_cached(insert)?;
    if insert.execute(named_params! { ":entry": entry, ":note": note })? > 0 {
        return Ok(Addition::Added);
    }
    let update = "UPDATE blocks SET note = :note WHERE entry = :entry AND note <> :note";
    let mut update = transaction.prepare_cached(update)?;
    let noted = update.execute(named_params! { ":entry": entry, ":note": note })? > 0;
    Ok(if noted {
        Addition::Noted
    } else {
        Addition::Unchanged
    })
}

fn listed(connection: &Connection) -> rusqlite::Result<Vec<(String, String, String)>> {
    let select = "SELECT entry, note, added FROM blocks ORDER BY entry";
    let mut select = connection.prepare(select)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// How often the table has changed.
pub(super) fn generation(connection: &Connection) -> rusqlite::Result<i64> {
    let select = "SELECT number FROM generations WHERE name = 'blocks'";
    connection
        .prepare_cached(select)?
        .query_row([], |row| row.get(0))
}

/// The whole table, unless it is too long. The outer error is SQLite's.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Result<BlockList, BlocksError>> {
    let wanted = count(connection)?;
    if wanted > ENTRIES_MAX {
        return Ok(Err(BlocksError::Full { wanted }));
    }
    let mut select = connection.prepare("SELECT entry FROM blocks")?;
    let rows = select.query_map([], |row| row.get::<_, String>(0))?;
    let entries = rows.map(|entry| entry.map(|entry| entry.parse::<Entry>()));
    let list: rusqlite::Result<Result<BlockList, EntryError>> = entries.collect();
    Ok(list?.map_err(BlocksError::Entry))
}

fn count(connection: &Connection) -> rusqlite::Result<usize> {
    let count = "SELECT count(*) FROM blocks";
    let count: i64 = connection.query_row(count, [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(dir: &Path) -> BlockTable {
        BlockTable::open_or_create(&dir.join("tables"), "no-such-user").unwrap()
    }

    fn entries(text: &str) -> Vec<Entry> {
        let parse = |entry: &str| entry.parse().unwrap();
        text.split_whitespace().map(parse).collect()
    }

    #[test]
    fn what_was_added_is_listed_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            BlockTable::open(&dir.path().join("tables"))
                .unwrap()
                .is_none()
        );
        let mut table = table(dir.path());
        let note: Note = "sends \"offers\"".parse().unwrap();
        let added = table.add(&entries("x.org a@x.org"), Some(&note)).unwrap();
        assert_eq!(added, [Addition::Added; 2]);
        let added = table.add(&entries("192.0.2.0/24 X.org"), None).unwrap();
        assert_eq!(added, [Addition::Added, Addition::Unchanged]);
        let added = table.add(&entries("a@x.org"), Some(&note)).unwrap();
        assert_eq!(added, [Addition::Unchanged]);
        let added = table
            .add(&entries("a@x.org"), Some(&Note::default()))
            .unwrap();
        assert_eq!(added, [Addition::Noted]);

        let listed = table.entries().unwrap();
        let shown: Vec<_> = listed
            .iter()
            .map(|listed| (listed.entry.to_string(), listed.note.as_str()))
            .collect();
        let expected = [
            ("192.0.2.0/24", ""),
            ("a@x.org", ""),
            ("x.org", note.as_str()),
        ];
        assert_eq!(
            shown,
            expected.map(|(entry, note)| (entry.to_owned(), note))
        );
        assert!(listed.iter().all(|listed| listed.added.ends_with('Z')));

        let removed = table.remove(&entries("x.org y.org A@x.org")).unwrap();
        assert_eq!(removed, [true, false, true]);
        assert_eq!(table.entries().unwrap().len(), 1);
    }

    #[test]
    fn a_list_that_would_be_too_long_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = table(dir.path());
        let all: Vec<_> = (0..=ENTRIES_MAX)
            .map(|number| format!("spam{number}.example").parse().unwrap())
            .collect();
        let (last, full) = all.split_last().unwrap();
        table.add(full, None).unwrap();
        let refused = table.add(std::slice::from_ref(last), None).unwrap_err();
        let wanted = ENTRIES_MAX + 1;
        assert!(matches!(refused, BlocksError::Full { wanted: found } if found == wanted));
        assert!(refused.to_string().contains("100001"), "{refused}");
        // What is there can be added again, and noted.
        let note = "noted".parse().unwrap();
        assert_eq!(
            table.add(&full[..1], Some(&note)).unwrap(),
            [Addition::Noted]
        );
        assert_eq!(count(table.0.connection()).unwrap(), ENTRIES_MAX);
        assert_eq!(table.remove(&full[..1]).unwrap(), [true]);
        assert_eq!(
            table.add(&all[wanted - 1..], None).unwrap(),
            [Addition::Added]
        );

        let by_hand = "INSERT INTO blocks VALUES ('by.hand', '', '')";
        table.0.connection().execute(by_hand, []).unwrap();
        let refused = read(table.0.connection()).unwrap();
        assert!(matches!(refused, Err(BlocksError::Full { .. })));
    }

    #[test]
    fn each_change_makes_a_generation_also_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = table(dir.path());
        let mut last = generation(table.0.connection()).unwrap();
        for sql in [
            "INSERT INTO blocks VALUES ('x.org', '', '')",
            "UPDATE blocks SET entry = 'y.org'",
            "INSERT OR REPLACE INTO blocks VALUES ('y.org', 'again', '')",
            "DELETE FROM blocks",
        ] {
            table.0.connection().execute(sql, []).unwrap();
            let now = generation(table.0.connection()).unwrap();
            assert!(now > last, "{sql}");
            last = now;
        }
    }

    #[test]
    fn what_is_no_entry_is_an_error_and_no_gap() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = table(dir.path());
        table.add(&entries("x.org"), None).unwrap();
        let by_hand = "INSERT INTO blocks VALUES ('not an entry', '', '')";
        table.0.connection().execute(by_hand, []).unwrap();
        assert!(matches!(table.entries(), Err(BlocksError::Entry(_))));
        let list = read(table.0.connection()).unwrap();
        assert!(matches!(list, Err(BlocksError::Entry(_))));
    }
}
