//! The tables, and how they come to be.

use super::{Lease, PostgresError};

/// What made the tables what they are, in order. Never changed, only added to.
const MIGRATIONS: &[&str] = &[include_str!("1.sql")];

/// Of those who find old tables at the same time one has this lock: "chatmail" in ASCII.
const LOCK: i64 = 0x6368_6174_6d61_696c;

/// Applies what the database has not had, all of it or nothing.
pub(super) async fn migrate(client: &mut Lease) -> Result<(), PostgresError> {
    if version(client).await? == known() {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    // Waiting for somebody who migrates is no reason to fail; the caller has a deadline.
    transaction
        .batch_execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        .await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    transaction
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS chatmail_schema (version integer NOT NULL); \
             INSERT INTO chatmail_schema SELECT 0 WHERE NOT EXISTS (SELECT FROM chatmail_schema)",
        )
        .await?;
    let row = transaction
        .query_one("SELECT version FROM chatmail_schema", &[])
        .await?;
    let found: i32 = row.try_get(0)?;
    if !(0..=known()).contains(&found) {
        let known = known();
        return Err(PostgresError::new(format!(
            "its tables were made by a newer version ({found}, known is {known})"
        )));
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(migration).await?;
    }
    transaction
        .execute("UPDATE chatmail_schema SET version = $1", &[&known()])
        .await?;
    Ok(transaction.commit().await?)
}

/// What migrations the database has had; 0 for an empty one.
async fn version(client: &Lease) -> Result<i32, PostgresError> {
    let is_there = "SELECT to_regclass('chatmail_schema') IS NOT NULL";
    if !client.query_one(is_there, &[]).await?.try_get(0)? {
        return Ok(0);
    }
    let row = client
        .query_opt("SELECT version FROM chatmail_schema", &[])
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
}

fn known() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}
