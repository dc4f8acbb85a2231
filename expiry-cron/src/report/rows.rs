//! Accounts in PostgreSQL, counted by it: those that are pinned to this backend.
//!
//! Last logins are known by the day there. One counts from the beginning of its day, as the time of a password file does, so
//! that accounts which change over from files to the database are as many as before.

use chatmail::Config;
use chatmail::postgres::PostgresAccounts;
use tokio::runtime::Builder;

use super::{Accounts, TEST_PREFIX};
use crate::time::{DAY, Time};

/// Counts them, up to now.
pub(super) fn count(config: &Config, now: Time) -> anyhow::Result<Accounts> {
    let mut accounts = Accounts::empty();
    let Some(postgres) = PostgresAccounts::from_config(config)? else {
        return Ok(accounts);
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for found in runtime.block_on(postgres.last_used(TEST_PREFIX))? {
        let last_login = Time::new(found.day.number().saturating_mul(DAY), 0);
        accounts.count(found.accounts, found.has_prefix, last_login, now);
    }
    Ok(accounts)
}
