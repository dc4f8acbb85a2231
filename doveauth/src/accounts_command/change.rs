//! Commands that change accounts.

use std::io::Write;
use std::time::{Duration, SystemTime};

use chatmail::accounts::{Account, Change, OperatorError, Store};
use chatmail::database::{Database, SCHEMA};
use chatmail::invites::{InviteTable, InvitesError};
use chatmail::postgres::PostgresAccounts;
use chatmail::tombstones::{Day, Tombstones};
use chatmail::{Address, Config};

use super::Accounts;
use super::desk::Desk;
use super::report::{Report, Reports};
use super::sessions::{SessionEnder, Sessions};
use crate::command::{Done, Wrong};
use crate::mail_user::MailUser;

/// How long to wait for another process that changes the tables.
const PATIENCE: Duration = Duration::from_secs(10);

/// `create`.
pub(super) fn create(
    desk: &Desk,
    address: Option<&Address>,
    password: Option<&str>,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let made = desk.run(desk.operator.create(address, password))?;
    match (made.map_err(wrong)?, address) {
        (Some(made), _) => {
            let mut report = Report::of(&made.address, "created");
            report.password = Some(&made.password);
            report.write(json, out)?;
            Ok(Done::All)
        }
        (None, Some(address)) => {
            Report::of(address, "exists").write(json, out)?;
            Ok(Done::NotAll)
        }
        (None, None) => anyhow::bail!("the name that chance has picked is taken; try again"),
    }
}

/// `block`.
pub(super) fn block(
    desk: &Desk,
    config: &Config,
    accounts: &Accounts,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let ender = SessionEnder::new(desk, config);
    each(accounts, "blocked", out, |address| {
        let changed = desk.run(desk.operator.block(address))??;
        // Also of one that was blocked before: whoever did that may have been killed on the way.
        let there = changed != Change::Missing;
        Ok((changed, there.then(|| ender.end(address))))
    })
}

/// `unblock`.
pub(super) fn unblock(
    desk: &Desk,
    accounts: &Accounts,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    each(accounts, "unblocked", out, |address| {
        Ok((desk.run(desk.operator.unblock(address))??, None))
    })
}

/// `delete`.
pub(super) fn delete(
    desk: &Desk,
    config: &Config,
    accounts: &Accounts,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let store = desk.operator.store();
    let ender = SessionEnder::new(desk, config);
    if let Some(postgres) = desk.operator.postgres() {
        return each(accounts, "deleted", out, |address| {
            delete_row(desk, config, postgres, &ender, address)
        });
    }
    desk.user.run(|| settle_invites(config, store))??;
    each(accounts, "deleted", out, |address| {
        delete_one(config, desk.user, store, &ender, address)
    })
}

/// Changes one account after the other; `done` is the word for what was to be done.
fn each(
    accounts: &Accounts,
    done: &str,
    out: &mut impl Write,
    change: impl Fn(&Address) -> anyhow::Result<(Change, Option<Sessions>)>,
) -> anyhow::Result<Done> {
    let mut reports = Reports::new(accounts.json, out);
    for address in &accounts.addresses {
        let (changed, sessions) = change(address)?;
        reports.write(address, changed, done, sessions)?;
    }
    Ok(reports.done())
}

fn delete_one(
    config: &Config,
    user: MailUser,
    store: &Store,
    ender: &SessionEnder<'_>,
    address: &Address,
) -> anyhow::Result<(Change, Option<Sessions>)> {
    // What cannot be read may be one.
    if !matches!(user.run(|| store.read(address))?, Ok(Account::Missing)) {
        lay_tombstone(config, address)?;
    }
    let mut sessions = None;
    let mut paused = Ok(());
    let end_sessions = || {
        paused = user.pause(|| sessions = Some(ender.end(address)));
    };
    let deleted = user.run(|| store.delete(address, end_sessions))?;
    paused?;
    Ok((deleted?, sessions))
}

/// The account goes and gets its tombstone in one step. Its mailbox goes here, or on its backend with the next
/// nightly job there.
fn delete_row(
    desk: &Desk,
    config: &Config,
    postgres: &PostgresAccounts,
    ender: &SessionEnder<'_>,
    address: &Address,
) -> anyhow::Result<(Change, Option<Sessions>)> {
    let store = desk.operator.store();
    let is_here = !postgres.is_front()
        && desk.user.run(|| {
            let home = store.home(address);
            home.is_some_and(|home| home.symlink_metadata().is_ok())
        })?;
    let until = Day::of(SystemTime::now()).plus(config.tombstone_days);
    let until = (config.tombstone_days > 0).then_some(until);
    let deleted = desk.run(postgres.delete(address, until, is_here))??;
    let was_there = deleted.is_some() || is_here;
    let place = match deleted {
        Some(place) => place,
        // Deleted before: whoever did that may have been killed on the way, or have found its backend away.
        None => match desk.run(postgres.removal(address))?? {
            Some(place) => place,
            None => return Ok((Change::Missing, None)),
        },
    };
    let sessions = ender.end_at(address, &place);
    if !was_there {
        return Ok((Change::Missing, Some(sessions)));
    }
    let backend = &place.backend;
    let is_ours = backend.is_none() || backend.as_deref() == postgres.backend_name();
    if is_ours && !postgres.is_front() {
        desk.user.run(|| store.delete(address, || ()))??;
        desk.run(postgres.mailbox_is_gone(address))??;
    }
    Ok((Change::Done, Some(sessions)))
}

/// Keeps strangers from taking over the address; before the account goes, so that there is no moment without.
fn lay_tombstone(config: &Config, address: &Address) -> anyhow::Result<()> {
    if config.tombstone_days == 0 {
        return Ok(());
    }
    let (path, mail_user) = (&config.database_path, Some(config.mail_user.as_str()));
    let database = Database::open_or_create(&SCHEMA, path, PATIENCE, mail_user)?;
    let until = Day::of(SystemTime::now()).plus(config.tombstone_days);
    Ok(Tombstones::new(database).lay(std::slice::from_ref(address), until)?)
}

/// What a killed daemon has left of a redeemed invite is judged by whether the account is there: look before it
/// goes.
pub(super) fn settle_invites(config: &Config, store: &Store) -> Result<(), InvitesError> {
    let exists = |name: &str| {
        let account = store.read(&name.parse().ok()?).ok()?;
        Some(account != Account::Missing)
    };
    match InviteTable::open(&config.database_path)? {
        Some(mut invites) => invites.recover(exists),
        None => Ok(()),
    }
}

/// `passwd`.
pub(super) fn passwd(
    desk: &Desk,
    config: &Config,
    address: &Address,
    password: Option<&str>,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let set = desk.run(desk.operator.set_password(address, password))?;
    let Some(set) = set.map_err(wrong)? else {
        Report::of(address, "missing").write(json, out)?;
        return Ok(Done::NotAll);
    };
    let mut report = Report::of(address, "changed");
    // Who has given it knows it.
    report.password = password.is_none().then_some(set.as_str());
    report.sessions = Some(SessionEnder::new(desk, config).end(address));
    report.write(json, out)?;
    Ok(Done::All)
}

/// What cannot be is the caller's mistake, everything else is trouble.
fn wrong(error: OperatorError) -> anyhow::Error {
    match error {
        OperatorError::Refused(refusal) => Wrong(format!("not possible: {refusal}")).into(),
        other => other.into(),
    }
}
