//! Accounts that nobody has used for long, as [`deletion`](crate::accounts::deletion) has it: first they are marked, for
//! half a minute whoever logs in takes that back, then they go.

use super::accounts::days;
use super::{PostgresAccounts, PostgresError};
use crate::Address;
use crate::tombstones::Day;

/// Accounts that go in one transaction.
const BATCH: i64 = 512;

/// Of this backend: it has the mailbox, or nobody has any backend.
const DUE: &str = "(backend = $1 OR backend IS NULL) AND last_login < $2 AND last_login > 0";

impl PostgresAccounts {
    /// How many accounts of this backend were last used before a day. One without a day never is.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn count_inactive(&self, before: Day) -> Result<u64, PostgresError> {
        let client = self.postgres.patient().await?;
        let count = format!("SELECT count(*) FROM accounts WHERE {DUE}");
        let row = client
            .query_one(&count, &[&self.backend_name(), &days(before)])
            .await?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))
    }

    /// Marks those accounts, and takes the mark from others that a run under other rules has left; how many are
    /// marked.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn mark_inactive(&self, before: Day) -> Result<u64, PostgresError> {
        let client = self.postgres.patient().await?;
        let keep = "UPDATE accounts SET expiring = false \
            WHERE expiring AND (backend = $1 OR backend IS NULL) AND NOT (last_login < $2 AND last_login > 0)";
        let (here, day) = (self.backend_name(), days(before));
        client.execute(keep, &[&here, &day]).await?;
        let mark = format!("UPDATE accounts SET expiring = true WHERE {DUE}");
        Ok(client.execute(&mark, &[&here, &day]).await?)
    }

    /// Deletes some of the accounts that are still marked, puts tombstones on their addresses, and notes that their
    /// mailboxes have to go, all in one transaction. None: there are no more.
    ///
    /// # Errors
    /// The database does not answer; then nothing has happened, or all of it has.
    pub async fn delete_marked(
        &self,
        before: Day,
        until: Option<Day>,
    ) -> Result<Vec<Address>, PostgresError> {
        let client = self.postgres.patient().await?;
        let delete = format!(
            "WITH gone AS (DELETE FROM accounts WHERE expiring AND address IN \
                (SELECT address FROM accounts WHERE expiring AND {DUE} LIMIT {BATCH}) RETURNING address), \
            laid AS (INSERT INTO tombstones \
                SELECT sha256(salt || convert_to(gone.address, 'UTF8')), $3::integer \
                FROM gone, tombstone_salts WHERE own AND $3 IS NOT NULL \
                ON CONFLICT (address) DO UPDATE SET until = greatest(tombstones.until, excluded.until)), \
            noted AS (INSERT INTO removals SELECT address, $1 FROM gone ON CONFLICT DO NOTHING) \
            SELECT address FROM gone"
        );
        let until = until.map(days);
        let rows = client
            .query(&delete, &[&self.backend_name(), &days(before), &until])
            .await?;
        let mut gone = Vec::with_capacity(rows.len());
        for row in &rows {
            // What is no address has no mailbox.
            gone.extend(row.try_get::<_, &str>(0)?.parse());
        }
        // As many as were deleted, so that whoever goes on until there are none comes to an end.
        match gone.is_empty() && !rows.is_empty() {
            true => Err(PostgresError::new("rows of accounts are of no address")),
            false => Ok(gone),
        }
    }

    /// Takes the mark from all accounts that still have it.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn keep_marked(&self) -> Result<u64, PostgresError> {
        let client = self.postgres.patient().await?;
        let keep = "UPDATE accounts SET expiring = false WHERE expiring AND (backend = $1 OR backend IS NULL)";
        Ok(client.execute(keep, &[&self.backend_name()]).await?)
    }
}
