//! Accounts on their way from mailbox directories to PostgreSQL, or back, with block list, invites and tombstones.
//!
//! At no moment can somebody get an address that is another's, whichever daemons run meanwhile, with the old
//! configuration or the new one. For that both stores can be closed: then logins go on, and nobody makes an account.
//!
//! - The database is [closed](Postgres::close) by a row in `moves`. It is put there under a lock that waits for
//!   everybody who is just making an account, and each account is made by a statement that looks for it.
//! - Mailbox directories are [closed](crate::accounts::Store::close) by a file among them. Whoever makes an account
//!   looks for it when he has, and takes the account back if it is there.
//!
//! Import: close both, copy, open the database. Export: close both, copy, open the directories. What is left closed is
//! the store that is not used any more. Who is killed on the way leaves both closed, and the next run goes on.

use rusqlite::{Connection, Transaction, named_params};
use tokio_postgres::types::ToSql;

use super::accounts::days;
use super::{Postgres, PostgresAccounts, PostgresError};
use crate::Address;
use crate::accounts::{Account, AccountRecord};
use crate::database::{Database, DatabaseError};

/// Tombstones that are written at a time.
const BATCH: usize = 10_000;

/// What a relay has beside accounts: the rows of its small tables.
#[derive(Debug, Default)]
pub struct SmallTables {
    /// Salts of tombstones, the own one first.
    salts: Vec<Vec<u8>>,
    /// Hashes of addresses, and until when.
    tombstones: Vec<(Vec<u8>, i64)>,
    invites: Vec<InviteRow>,
    /// Entry, note and time.
    blocks: Vec<(String, String, String)>,
}

#[derive(Debug)]
struct InviteRow {
    token: String,
    uses: i64,
    uses_left: i64,
    created: i64,
    expires: Option<i64>,
    note: String,
}

impl SmallTables {
    /// Those of a file.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn read(database: &mut Database) -> Result<Self, DatabaseError> {
        let error = database.error();
        read(database.connection()).map_err(error)
    }

    /// Adds them to a file, in one transaction.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn write(&self, database: &mut Database) -> Result<(), DatabaseError> {
        database.change(|transaction| write(self, transaction).map(Ok))
    }
}

impl Postgres {
    /// Lets nobody make an account any more, on whichever host.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn close(&self) -> Result<(), PostgresError> {
        let mut client = self.patient().await?;
        let transaction = client.transaction().await?;
        transaction
            .batch_execute(
                "LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE; \
                INSERT INTO moves DEFAULT VALUES ON CONFLICT DO NOTHING",
            )
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Ends what [`close`](Self::close) began.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn open(&self) -> Result<(), PostgresError> {
        let client = self.patient().await?;
        Ok(client.batch_execute("DELETE FROM moves").await?)
    }

    /// Has these accounts, on this backend. One that is there stays as it is, but for a later login. One that is
    /// being deleted is left out. How many are new.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn import_accounts(
        &self,
        records: &[AccountRecord],
        backend: Option<&str>,
    ) -> Result<u64, PostgresError> {
        const IMPORT: &str = "INSERT INTO accounts (address, password, last_login, blocked, cleartext, backend) \
            SELECT given.*, $6::text FROM unnest($1::text[], $2::bytea[], $3::integer[], $4::boolean[], $5::boolean[]) \
            AS given (address, password, last_login, blocked, cleartext) \
            WHERE NOT EXISTS (SELECT FROM removals WHERE removals.address = given.address) \
            ON CONFLICT (address) DO UPDATE \
            SET last_login = greatest(accounts.last_login, excluded.last_login) RETURNING xmax = 0";
        let addresses: Vec<String> = records
            .iter()
            .map(|record| record.address.to_string())
            .collect();
        let contents: Vec<&[u8]> = records.iter().map(|record| &*record.content).collect();
        let logins: Vec<i32> = records
            .iter()
            .map(|record| days(record.last_login))
            .collect();
        let blocked: Vec<bool> = records.iter().map(|record| record.blocked).collect();
        let cleartext: Vec<bool> = records.iter().map(|record| record.cleartext).collect();
        let client = self.patient().await?;
        let rows = client
            .query(
                IMPORT,
                &[
                    &addresses, &contents, &logins, &blocked, &cleartext, &backend,
                ],
            )
            .await?;
        let mut new = 0;
        for row in &rows {
            new += u64::from(row.try_get::<_, bool>(0)?);
        }
        Ok(new)
    }

    /// Adds the rows of small tables, in one transaction.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn import_tables(&self, tables: &SmallTables) -> Result<(), PostgresError> {
        let mut client = self.patient().await?;
        let transaction = client.transaction().await?;
        for salt in &tables.salts {
            let insert = "INSERT INTO tombstone_salts VALUES ($1, false) ON CONFLICT DO NOTHING";
            transaction.execute(insert, &[salt]).await?;
        }
        let insert = transaction
            .prepare(
                "INSERT INTO tombstones SELECT * FROM unnest($1::bytea[], $2::integer[]) \
                ON CONFLICT (address) DO UPDATE SET until = greatest(tombstones.until, excluded.until)",
            )
            .await?;
        for batch in tables.tombstones.chunks(BATCH) {
            let hashes: Vec<&[u8]> = batch.iter().map(|(hash, _)| hash.as_slice()).collect();
            let day = |until: i64| i32::try_from(until).unwrap_or(i32::MAX);
            let until: Vec<i32> = batch.iter().map(|(_, until)| day(*until)).collect();
            transaction.execute(&insert, &[&hashes, &until]).await?;
        }
        for invite in &tables.invites {
            let insert =
                "INSERT INTO invites VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
            let InviteRow {
                token,
                uses,
                uses_left,
                created,
                expires,
                note,
            } = invite;
            let row: [&(dyn ToSql + Sync); 6] = [token, uses, uses_left, created, expires, note];
            transaction.execute(insert, &row).await?;
        }
        let column = |of: fn(&(String, String, String)) -> &str| -> Vec<&str> {
            tables.blocks.iter().map(of).collect()
        };
        let (entries, notes) = (column(|row| &row.0), column(|row| &row.1));
        let insert = "INSERT INTO blocks SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) \
            ON CONFLICT DO NOTHING";
        let added = column(|row| &row.2);
        transaction
            .execute(insert, &[&entries, &notes, &added])
            .await?;
        Ok(transaction.commit().await?)
    }

    /// The rows of small tables.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn export_tables(&self) -> Result<SmallTables, PostgresError> {
        let client = self.patient().await?;
        let mut tables = SmallTables::default();
        let salts = "SELECT salt FROM tombstone_salts ORDER BY own DESC, salt";
        for row in client.query(salts, &[]).await? {
            tables.salts.push(row.try_get(0)?);
        }
        let tombstones = "SELECT address, until::bigint FROM tombstones";
        for row in client.query(tombstones, &[]).await? {
            tables.tombstones.push((row.try_get(0)?, row.try_get(1)?));
        }
        let invites = "SELECT token, uses, uses_left, created, expires, note FROM invites";
        for row in client.query(invites, &[]).await? {
            tables.invites.push(InviteRow {
                token: row.try_get(0)?,
                uses: row.try_get(1)?,
                uses_left: row.try_get(2)?,
                created: row.try_get(3)?,
                expires: row.try_get(4)?,
                note: row.try_get(5)?,
            });
        }
        for row in client
            .query("SELECT entry, note, added FROM blocks", &[])
            .await?
        {
            let (entry, note) = (row.try_get(0)?, row.try_get(1)?);
            tables.blocks.push((entry, note, row.try_get(2)?));
        }
        Ok(tables)
    }

    /// How many accounts are on other backends than this one.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn accounts_elsewhere(&self, here: Option<&str>) -> Result<u64, PostgresError> {
        let client = self.patient().await?;
        let count = "SELECT count(*) FROM accounts WHERE backend IS NOT NULL \
            AND backend IS DISTINCT FROM $1";
        let count: i64 = client.query_one(count, &[&here]).await?.try_get(0)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Addresses whose mailbox has yet to be removed, on this backend.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn removals(&self, here: Option<&str>) -> Result<Vec<Address>, PostgresError> {
        let client = self.patient().await?;
        let select = "SELECT address FROM removals WHERE backend IS NULL OR backend = $1";
        let rows = client.query(select, &[&here]).await?;
        let address = |text: &str| text.parse();
        let addresses = rows.iter().map(|row| row.try_get(0).map(address));
        // What is no address has no mailbox.
        addresses
            .filter_map(|address| address.map(Result::ok).transpose())
            .map(|address| address.map_err(PostgresError::from))
            .collect()
    }
}

impl PostgresAccounts {
    /// So many accounts with all there is of them, as [`page`](Self::page) has them.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn records(
        &self,
        after: &str,
        length: u32,
    ) -> Result<Vec<AccountRecord>, PostgresError> {
        let page = self.page(after, length).await?;
        let record = |(address, stored): (Address, super::Stored)| AccountRecord {
            address,
            blocked: stored.account == Account::Blocked,
            content: stored.content,
            cleartext: stored.cleartext,
            last_login: stored.last_login,
        };
        Ok(page.into_iter().map(record).collect())
    }
}

fn read(connection: &Connection) -> rusqlite::Result<SmallTables> {
    let salts = "SELECT salt FROM tombstone_salt ORDER BY rowid";
    let tombstones = "SELECT address, until FROM tombstones";
    let invites = "SELECT token, uses, uses_left, created, expires, note FROM invites";
    let blocks = "SELECT entry, note, added FROM blocks";
    Ok(SmallTables {
        salts: rows(connection, salts, |row| row.get(0))?,
        tombstones: rows(connection, tombstones, |row| Ok((row.get(0)?, row.get(1)?)))?,
        invites: rows(connection, invites, |row| {
            Ok(InviteRow {
                token: row.get(0)?,
                uses: row.get(1)?,
                uses_left: row.get(2)?,
                created: row.get(3)?,
                expires: row.get(4)?,
                note: row.get(5)?,
            })
        })?,
        blocks: rows(connection, blocks, |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?,
    })
}

fn rows<T>(
    connection: &Connection,
    select: &str,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(select)?.query_map([], read)?.collect()
}

/// What is there and in the database too becomes as it is in the database: an invite has lost uses there.
fn write(tables: &SmallTables, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare(
        "INSERT INTO tombstone_salt SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM tombstone_salt WHERE salt = ?1)",
    )?;
    for salt in &tables.salts {
        insert.execute([salt])?;
    }
    let mut insert = transaction.prepare(
        "INSERT INTO tombstones VALUES (?1, ?2) ON CONFLICT (address) \
        DO UPDATE SET until = max(until, excluded.until)",
    )?;
    for (hash, until) in &tables.tombstones {
        insert.execute((hash, until))?;
    }
    // What was revoked in the database must not come back.
    transaction.execute("DELETE FROM invites", [])?;
    let mut insert = transaction.prepare(
        "INSERT INTO invites (token, uses, uses_left, created, expires, note) \
        VALUES (:token, :uses, :uses_left, :created, :expires, :note)",
    )?;
    for invite in &tables.invites {
        insert.execute(named_params! {
            ":token": invite.token,
            ":uses": invite.uses,
            ":uses_left": invite.uses_left,
            ":created": invite.created,
            ":expires": invite.expires,
            ":note": invite.note,
        })?;
    }
    transaction.execute("DELETE FROM blocks", [])?;
    let mut insert =
        transaction.prepare("INSERT INTO blocks (entry, note, added) VALUES (?1, ?2, ?3)")?;
    for (entry, note, added) in &tables.blocks {
        insert.execute((entry, note, added))?;
    }
    Ok(())
}
