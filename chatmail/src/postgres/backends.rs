//! Backends: the hosts that keep mailboxes. Each account is pinned to one when it is made, for good: the one that
//! has the fewest accounts for its weight and is not drained.
//!
//! A relay that has no backends is one host. Its accounts are of none until a first one is added that
//! [adopts](Addition::adopt) them.

use tokio_postgres::Row;

use super::{Postgres, PostgresError};

/// A backend as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// What its `backend_name` says.
    pub name: String,
    /// Where Dovecot's proxy finds it.
    pub host: String,
    /// How many accounts it gets, compared with others.
    pub weight: u32,
    /// Whether it gets none.
    pub drained: bool,
    /// Accounts that are pinned to it.
    pub accounts: u64,
}

/// A backend that is to be added, or changed.
#[derive(Clone, Debug)]
pub struct Addition {
    /// What its `backend_name` says.
    pub name: String,
    /// Where Dovecot's proxy finds it.
    pub host: String,
    /// How many accounts it gets; `None`: 1, or as before.
    pub weight: Option<u32>,
    /// Whether it gets the accounts that are of no backend.
    pub adopt: bool,
}

/// What came of adding a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    Added,
    /// It was there, and is now as given.
    Changed,
}

/// What came of removing a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Removed,
    /// It stays, since it has so many accounts, or mailboxes that are yet to be removed.
    InUse(u64),
    /// There is none of that name.
    Missing,
}

impl Postgres {
    /// All backends by name, and how many accounts are of none.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn backends(&self) -> Result<(Vec<Backend>, u64), PostgresError> {
        const LIST: &str = "SELECT b.name, b.host, b.weight, b.drained, \
            coalesce((SELECT sum(accounts) FROM backend_accounts WHERE backend = b.name), 0)::bigint \
            FROM backends b ORDER BY b.name";
        const NONE: &str =
            "SELECT coalesce(sum(accounts), 0)::bigint FROM backend_accounts WHERE backend = ''";
        let listed = self.work(|session| async move {
            let client = session.client().await?;
            let rows = client.rows(LIST, &[]).await?;
            let none = client.row(NONE, &[]).await?;
            let none = none.map(|row| row.try_get(0)).transpose()?;
            Ok((
                rows.iter().map(backend).collect::<Result<_, _>>()?,
                u64::try_from(none.unwrap_or(0_i64)).unwrap_or(0),
            ))
        });
        listed.await
    }

    /// Adds a backend, or changes one. One that is drained takes accounts again.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn add_backend(&self, new: &Addition) -> Result<Added, PostgresError> {
        const ADD: &str = "INSERT INTO backends (name, host, weight) VALUES ($1, $2, coalesce($3, 1)) \
            ON CONFLICT (name) DO UPDATE SET host = excluded.host, drained = false, \
            weight = coalesce($3, backends.weight) RETURNING xmax = 0";
        let weight = new
            .weight
            .map(|weight| i32::try_from(weight).unwrap_or(i32::MAX));
        let mut client = self.patient().await?;
        let transaction = client.transaction().await?;
        let row = transaction
            .query_one(ADD, &[&new.name, &new.host, &weight])
            .await?;
        let is_new: bool = row.try_get(0)?;
        if new.adopt {
            // Who makes an account meanwhile has not seen that there is a backend.
            transaction
                .batch_execute("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")
                .await?;
            for adopt in [
                "UPDATE accounts SET backend = $1 WHERE backend IS NULL",
                "UPDATE removals SET backend = $1 WHERE backend IS NULL",
            ] {
                transaction.execute(adopt, &[&new.name]).await?;
            }
        }
        transaction.commit().await?;
        Ok(match is_new {
            true => Added::Added,
            false => Added::Changed,
        })
    }

    /// Lets a backend get no more accounts; `false` when there is none of that name.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn drain_backend(&self, name: &str) -> Result<bool, PostgresError> {
        const DRAIN: &str = "UPDATE backends SET drained = true WHERE name = $1";
        let drained = self.work(|session| async move {
            let client = session.client().await?;
            client.change(DRAIN, &[&name]).await
        });
        Ok(drained.await? > 0)
    }

    /// Removes a backend that has nothing.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn remove_backend(&self, name: &str) -> Result<Removed, PostgresError> {
        let mut client = self.patient().await?;
        let transaction = client.transaction().await?;
        // Waits for whoever is just giving it an account.
        transaction
            .batch_execute("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")
            .await?;
        let count = "SELECT (SELECT count(*) FROM accounts WHERE backend = $1) \
            + (SELECT count(*) FROM removals WHERE backend = $1)";
        let row = transaction.query_one(count, &[&name]).await?;
        let used = u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0);
        if used > 0 {
            return Ok(Removed::InUse(used));
        }
        let remove = "DELETE FROM backends WHERE name = $1";
        let removed = transaction.execute(remove, &[&name]).await?;
        let forget = "DELETE FROM backend_accounts WHERE backend = $1";
        transaction.execute(forget, &[&name]).await?;
        transaction.commit().await?;
        Ok(match removed {
            0 => Removed::Missing,
            _ => Removed::Removed,
        })
    }
}

fn backend(row: &Row) -> Result<Backend, PostgresError> {
    Ok(Backend {
        name: row.try_get(0)?,
        host: row.try_get(1)?,
        weight: u32::try_from(row.try_get::<_, i32>(2)?).unwrap_or(1),
        drained: row.try_get(3)?,
        accounts: u64::try_from(row.try_get::<_, i64>(4)?).unwrap_or(0),
    })
}
