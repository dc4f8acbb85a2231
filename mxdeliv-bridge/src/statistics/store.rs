//! The figures in the database.

use std::collections::HashMap;

use chatmail::Domain;
use chatmail::database::{Database, DatabaseError};
use rusqlite::{
    Connection, OptionalExtension as _, Transaction, TransactionBehavior, named_params,
};

use super::figures::{PeerFigures, Span, WayFigures};
use super::histogram::Histogram;
use super::pending::{Counts, Key};
use super::{DAY_SLOTS, Direction, HOUR_SLOTS, KEPT_SLOTS, Limits, Transport};

/// Writes counts into the database and reads figures out of it.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
    limits: Limits,
    /// When it was last looked for what is too old or too much.
    tidied: Option<i64>,
}

impl Store {
    /// Over an open file.
    pub(super) fn new(database: Database, limits: Limits) -> Self {
        Self {
            database,
            limits,
            tidied: None,
        }
    }

    /// Adds counts to what is there, all of them or none, and removes what is too old or too much by now.
    pub(super) fn write(
        &mut self,
        buckets: &HashMap<Key, Counts>,
        slot: i64,
    ) -> Result<(), DatabaseError> {
        let error = self.database.error();
        let tidy = self.tidied != Some(slot);
        if buckets.is_empty() && !tidy {
            return Ok(());
        }
        let limits = self.limits;
        let connection = self.database.connection();
        let mut written = || {
            let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
            add(&transaction, buckets)?;
            remove_peers(&transaction, limits.peers)?;
            if tidy {
                remove_buckets(&transaction, slot - KEPT_SLOTS - 1, limits.buckets)?;
            }
            transaction.commit()
        };
        written().map_err(error)?;
        self.tidied = Some(slot);
        Ok(())
    }

    /// Shows all peers in the order of their names, or one of them, as long as `show` wants more.
    pub(super) fn read(
        &mut self,
        only: Option<&Domain>,
        slot: i64,
        mut show: impl FnMut(PeerFigures) -> bool,
    ) -> Result<(), DatabaseError> {
        let error = self.database.error();
        let connection = self.database.connection();
        let mut read = || {
            // One state of the file for all of it.
            let transaction = Transaction::new(connection, TransactionBehavior::Deferred)?;
            for (id, domain, last_contact) in peers(&transaction, only)? {
                let ways = ways(&transaction, id, slot)?;
                let figures = PeerFigures {
                    domain,
                    last_contact,
                    ways,
                };
                if !show(figures) {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(error)
    }
}

fn add(transaction: &Transaction<'_>, buckets: &HashMap<Key, Counts>) -> rusqlite::Result<()> {
    for (key, counts) in buckets {
        let peer = add_peer(transaction, &key.peer, counts)?;
        add_way(transaction, peer, key, counts)?;
        add_bucket(transaction, peer, key, counts)?;
    }
    Ok(())
}

/// The peer's number.
fn add_peer(
    transaction: &Transaction<'_>,
    domain: &Domain,
    counts: &Counts,
) -> rusqlite::Result<i64> {
    let insert = "INSERT INTO traffic_peers (domain, contact, succeeded) \
        VALUES (:domain, :contact, :succeeded) \
        ON CONFLICT (domain) DO UPDATE SET contact = max(contact, excluded.contact), \
            succeeded = max(succeeded, excluded.succeeded) \
        RETURNING id";
    let parameters = named_params! {
        ":domain": domain.as_str(),
        ":contact": counts.contact(),
        ":succeeded": counts.succeeded.is_some(),
    };
    let mut insert = transaction.prepare_cached(insert)?;
    insert.query_row(parameters, |row| row.get(0))
}

fn add_way(
    transaction: &Transaction<'_>,
    peer: i64,
    key: &Key,
    counts: &Counts,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO traffic_ways VALUES \
            (:peer, :direction, :transport, :succeeded, :failed, :error) \
        ON CONFLICT DO UPDATE SET succeeded = coalesce(excluded.succeeded, succeeded), \
            failed = coalesce(excluded.failed, failed), error = coalesce(excluded.error, error)";
    let failed = counts.failed.as_ref();
    transaction.prepare_cached(insert)?.execute(named_params! {
        ":peer": peer,
        ":direction": key.direction.as_str(),
        ":transport": key.transport.as_str(),
        ":succeeded": counts.succeeded,
        ":failed": failed.map(|(at, _)| at),
        ":error": failed.map(|(_, why)| why),
    })?;
    Ok(())
}

fn add_bucket(
    transaction: &Transaction<'_>,
    peer: i64,
    key: &Key,
    counts: &Counts,
) -> rusqlite::Result<()> {
    let select = "SELECT times FROM traffic_buckets \
        WHERE peer = ?1 AND direction = ?2 AND transport = ?3 AND slot = ?4";
    let (direction, transport) = (key.direction.as_str(), key.transport.as_str());
    let found: Option<Vec<u8>> = transaction
        .prepare_cached(select)?
        .query_row((peer, direction, transport, key.slot), |row| row.get(0))
        .optional()?;
    let mut times = Histogram::decode(&found.unwrap_or_default());
    times.merge(&counts.times);
    let insert = "INSERT INTO traffic_buckets VALUES \
            (:peer, :direction, :transport, :slot, :attempts, :micros, :times) \
        ON CONFLICT DO UPDATE SET attempts = attempts + excluded.attempts, \
            micros = micros + excluded.micros, times = excluded.times";
    transaction.prepare_cached(insert)?.execute(named_params! {
        ":peer": peer,
        ":direction": direction,
        ":transport": transport,
        ":slot": key.slot,
        ":attempts": i64::try_from(counts.attempts).unwrap_or(i64::MAX),
        ":micros": i64::try_from(counts.micros).unwrap_or(i64::MAX),
        ":times": times.encode(),
    })?;
    Ok(())
}

/// Those that never took or sent anything go first, then those that were not heard of for longest.
fn remove_peers(transaction: &Transaction<'_>, max: usize) -> rusqlite::Result<()> {
    let count = "SELECT count(*) FROM traffic_peers";
    let count: i64 = transaction.query_row(count, [], |row| row.get(0))?;
    let excess = count - i64::try_from(max).unwrap_or(i64::MAX);
    if excess <= 0 {
        return Ok(());
    }
    let delete = "DELETE FROM traffic_peers WHERE id IN \
        (SELECT id FROM traffic_peers ORDER BY succeeded, contact LIMIT ?1)";
    transaction.execute(delete, [excess])?;
    for table in ["traffic_ways", "traffic_buckets"] {
        let delete =
            format!("DELETE FROM {table} WHERE peer NOT IN (SELECT id FROM traffic_peers)");
        transaction.execute(&delete, [])?;
    }
    Ok(())
}

/// Those up to this slot go, then the oldest until no more than `max` are left.
fn remove_buckets(transaction: &Transaction<'_>, until: i64, max: usize) -> rusqlite::Result<()> {
    let delete = "DELETE FROM traffic_buckets WHERE slot <= ?1";
    transaction.execute(delete, [until])?;
    let oldest_kept = "SELECT slot FROM traffic_buckets ORDER BY slot DESC LIMIT 1 OFFSET ?1";
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let first_too_many: Option<i64> = transaction
        .query_row(oldest_kept, [max], |row| row.get(0))
        .optional()?;
    if let Some(slot) = first_too_many {
        transaction.execute(delete, [slot])?;
    }
    Ok(())
}

type PeerRow = (i64, String, i64);

fn peers(connection: &Connection, only: Option<&Domain>) -> rusqlite::Result<Vec<PeerRow>> {
    let select = "SELECT id, domain, contact FROM traffic_peers \
        WHERE ?1 IS NULL OR domain = ?1 ORDER BY domain";
    let mut select = connection.prepare(select)?;
    let only = only.map(Domain::as_str);
    let rows = select.query_map([only], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

fn ways(connection: &Connection, peer: i64, slot: i64) -> rusqlite::Result<Vec<WayFigures>> {
    let select = "SELECT direction, transport, succeeded, failed, error FROM traffic_ways \
        WHERE peer = ?1 ORDER BY direction DESC, transport";
    let mut select = connection.prepare_cached(select)?;
    let mut rows = select.query([peer])?;
    let mut ways = Vec::new();
    while let Some(row) = rows.next()? {
        let (direction, transport): (String, String) = (row.get(0)?, row.get(1)?);
        let known = (Direction::parse(&direction), Transport::parse(&transport));
        let (Some(direction), Some(transport)) = known else {
            continue;
        };
        let [hour, day, week] = spans(connection, peer, direction, transport, slot)?;
        ways.push(WayFigures {
            direction,
            transport,
            hour: hour.figures(),
            day: day.figures(),
            week: week.figures(),
            last_success: row.get(2)?,
            last_failure: row.get(3)?,
            last_error: row.get(4)?,
        });
    }
    Ok(ways)
}

/// The last hour, day and week.
fn spans(
    connection: &Connection,
    peer: i64,
    direction: Direction,
    transport: Transport,
    now: i64,
) -> rusqlite::Result<[Span; 3]> {
    let select = "SELECT slot, attempts, micros, times FROM traffic_buckets \
        WHERE peer = ?1 AND direction = ?2 AND transport = ?3 AND slot >= ?4";
    let mut select = connection.prepare_cached(select)?;
    let first = now - KEPT_SLOTS;
    let mut rows = select.query((peer, direction.as_str(), transport.as_str(), first))?;
    let [mut hour, mut day, mut week] = <[Span; 3]>::default();
    while let Some(row) = rows.next()? {
        let (slot, attempts, micros): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let times = Histogram::decode(row.get_ref(3)?.as_blob()?);
        let [attempts, micros] = [attempts, micros].map(|count| u64::try_from(count).unwrap_or(0));
        week.add(attempts, micros, &times);
        if slot >= now - DAY_SLOTS {
            day.add(attempts, micros, &times);
        }
        if slot >= now - HOUR_SLOTS {
            hour.add(attempts, micros, &times);
        }
    }
    Ok([hour, day, week])
}
