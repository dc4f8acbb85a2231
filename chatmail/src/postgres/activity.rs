//! How many accounts a backend has, by the day of their last login.

use std::time::Duration;

use tokio::time::timeout;

use super::{PostgresAccounts, PostgresError};
use crate::tombstones::Day;

/// How long the database may take to count. It reads all accounts for it, a second or so for a million.
const PATIENCE: Duration = Duration::from_secs(300);

/// Accounts that were last used on the same day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUsed {
    /// The day; that of 1970-01-01 when it is not known.
    pub day: Day,
    /// Whether their addresses begin as asked.
    pub has_prefix: bool,
    /// How many there are.
    pub accounts: u64,
}

impl PostgresAccounts {
    /// Counts the accounts that are pinned to this backend, and those that are of none: by the day of the last login, and by
    /// whether the address begins with `prefix`. There are as many answers as there are days, twice at most.
    ///
    /// # Errors
    /// The database does not answer, or not within five minutes.
    pub async fn last_used(&self, prefix: &str) -> Result<Vec<LastUsed>, PostgresError> {
        const COUNT: &str = "SELECT last_login, left(address, length($2)) = $2, count(*) FROM accounts \
            WHERE backend = $1 OR backend IS NULL GROUP BY 1, 2";
        let count = async {
            let client = self.postgres.patient().await?;
            let rows = client
                .query(COUNT, &[&self.backend_name(), &prefix])
                .await?;
            let counted = rows.iter().map(|row| {
                Ok(LastUsed {
                    day: Day::from_number(row.try_get::<_, i32>(0)?.into()),
                    has_prefix: row.try_get(1)?,
                    accounts: u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0),
                })
            });
            counted.collect()
        };
        let counted = timeout(PATIENCE, count).await;
        counted.unwrap_or_else(|_| Err(PostgresError::new("it takes too long to count accounts")))
    }
}
