//! `import` and `export`: accounts between mailbox directories and PostgreSQL. Why no address can be taken meanwhile is
//! told in [`chatmail::postgres::moving`].

use std::io::Write;
use std::time::Duration;

use chatmail::Config;
use chatmail::database::{Database, SCHEMA};
use chatmail::postgres::PostgresAccounts;
use chatmail::postgres::moving::SmallTables;

use super::change::settle_invites;
use super::desk::Desk;
use crate::command::{Done, Wrong};

/// Accounts that go at a time.
const BATCH: usize = 1000;

/// How long to wait for another process that changes the file of the small tables.
const PATIENCE: Duration = Duration::from_secs(10);

/// `import`.
pub(super) fn import(desk: &Desk, config: &Config, out: &mut impl Write) -> anyhow::Result<Done> {
    let postgres = database(desk)?;
    let store = desk.operator.store();
    let here = desk.run(backend(postgres))??;
    desk.run(postgres.postgres().close())??;
    desk.user.run(|| store.close())??;
    desk.user.run(|| settle_invites(config, store))??;
    // Or nobody could have these addresses for ever: there will be no file that says what goes on.
    for address in desk.user.run(|| store.half_removed())?? {
        desk.user.run(|| store.delete(&address, || ()))??;
    }
    let tables = desk.user.run(|| {
        let opened = Database::open(&SCHEMA, &config.database_path, PATIENCE)?;
        opened
            .map(|mut file| SmallTables::read(&mut file))
            .transpose()
    })??;
    // Before the accounts: an account that was deleted is not to come back as another's.
    desk.run(
        postgres
            .postgres()
            .import_tables(&tables.unwrap_or_default()),
    )??;
    let (mut all, mut new) = (0, 0);
    let mut batch = Vec::with_capacity(BATCH);
    let mut addresses = desk.user.run(|| store.accounts())??;
    loop {
        batch.clear();
        for address in addresses.by_ref().take(BATCH) {
            let address = address?;
            batch.extend(desk.user.run(|| store.record(&address))??);
        }
        if batch.is_empty() {
            break;
        }
        all += batch.len();
        let imported = postgres.postgres().import_accounts(&batch, here.as_deref());
        new += desk.run(imported)??;
    }
    desk.run(postgres.postgres().open())??;
    writeln!(out, "accounts: {all}, new in the database: {new}")?;
    eprintln!(
        "note: restart doveauth, so that it asks the database; until then nobody can make an account there"
    );
    Ok(Done::All)
}

/// `export`.
pub(super) fn export(desk: &Desk, config: &Config, out: &mut impl Write) -> anyhow::Result<Done> {
    let postgres = database(desk)?;
    let store = desk.operator.store();
    let here = desk.run(backend(postgres))??;
    let elsewhere = postgres.postgres().accounts_elsewhere(here.as_deref());
    let elsewhere = desk.run(elsewhere)??;
    if elsewhere > 0 {
        let text =
            format!("{elsewhere} accounts are on other backends, and their mailboxes not here");
        return Err(Wrong(text).into());
    }
    desk.user.run(|| store.prepare())??;
    desk.user.run(|| store.close())??;
    desk.run(postgres.postgres().close())??;
    let tables = desk.run(postgres.postgres().export_tables())??;
    let mail_user = Some(config.mail_user.as_str());
    let mut file = Database::open_or_create(&SCHEMA, &config.database_path, PATIENCE, mail_user)?;
    tables.write(&mut file)?;
    let (mut all, mut after) = (0, String::new());
    loop {
        let length = u32::try_from(BATCH).unwrap_or(u32::MAX);
        let records = desk.run(postgres.records(&after, length))??;
        let Some(last) = records.last() else { break };
        after = last.address.to_string();
        all += records.len();
        desk.user.run(|| {
            records
                .iter()
                .try_for_each(|record| store.put_record(record))
        })??;
    }
    for address in desk.run(postgres.postgres().removals(here.as_deref()))?? {
        desk.user.run(|| store.expire(&address))??;
    }
    desk.user.run(|| store.open())??;
    writeln!(out, "accounts: {all}")?;
    eprintln!(
        "note: empty database_url and restart doveauth; until then nobody can make an account in the database"
    );
    Ok(Done::All)
}

fn database(desk: &Desk) -> anyhow::Result<&PostgresAccounts> {
    match desk.operator.postgres() {
        None => Err(Wrong("database_url is empty".into()).into()),
        Some(postgres) if postgres.is_front() => {
            Err(Wrong("backend_name is empty: this host has no mailboxes".into()).into())
        }
        Some(postgres) => Ok(postgres),
    }
}

/// Which backend accounts of this host are of.
async fn backend(postgres: &PostgresAccounts) -> anyhow::Result<Option<String>> {
    let (backends, _) = postgres.postgres().backends().await?;
    let name = postgres.backend_name().unwrap_or_default();
    if backends.is_empty() {
        return Ok(None);
    }
    match backends.iter().any(|backend| backend.name == name) {
        true => Ok(Some(name.to_owned())),
        false => Err(Wrong(format!(
            "there is no backend {name} (doveauth backends add)"
        ))
        .into()),
    }
}
