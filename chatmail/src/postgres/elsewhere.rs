//! Mailboxes here of accounts that are on another backend: copies that a move has left which was given up.

use super::{PostgresAccounts, PostgresError};
use crate::Address;

/// Whose mailbox is for certain not that of `$2`, and not on its way there. A name that no backend has tells nothing.
const ELSEWHERE: &str =
    "backend <> $2 AND moving_to IS NULL AND EXISTS (SELECT FROM backends WHERE name = $2)";

impl PostgresAccounts {
    /// Those of these accounts that are on another backend than this one, and not on their way here. Whoever has no row is
    /// not among them: rows may have been lost.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn elsewhere(&self, addresses: &[Address]) -> Result<Vec<Address>, PostgresError> {
        let Some(here) = self.backend_name() else {
            return Ok(Vec::new());
        };
        let select =
            format!("SELECT address FROM accounts WHERE address = ANY($1) AND {ELSEWHERE}");
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let found = self.postgres.work(|session| async move {
            let client = session.client().await?;
            client.rows(&select, &[&addresses, &here]).await
        });
        let broken = |_| PostgresError::new("a row of accounts is of no address");
        let address =
            |row: &tokio_postgres::Row| row.try_get::<_, &str>(0)?.parse().map_err(broken);
        found.await?.iter().map(address).collect()
    }

    /// Does something while an account is on another backend and cannot begin to come here. `None`: it is not, or is just
    /// being changed.
    ///
    /// # Errors
    /// The database does not answer; then nothing was done.
    pub async fn while_elsewhere<T>(
        &self,
        address: &Address,
        work: impl FnOnce() -> T,
    ) -> Result<Option<T>, PostgresError> {
        let Some(here) = self.backend_name() else {
            return Ok(None);
        };
        let mut client = self.postgres.patient().await?;
        let transaction = client.transaction().await?;
        // The lock is to last as long as the work does.
        let settings = "SET LOCAL idle_in_transaction_session_timeout = 0";
        transaction.batch_execute(settings).await?;
        let select = format!(
            "SELECT FROM accounts WHERE address = $1 AND {ELSEWHERE} FOR UPDATE SKIP LOCKED"
        );
        let row = transaction
            .query_opt(&select, &[&address.to_string(), &here])
            .await?;
        let done = row.map(|_| work());
        // Nothing is written; should this fail, the lock is gone all the same.
        let _ = transaction.rollback().await;
        Ok(done)
    }
}
