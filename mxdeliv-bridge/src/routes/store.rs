//! Writes down what is known of peers, on a thread of its own: nobody waits for the disk but who asks
//! for it.

use std::collections::BTreeMap;
use std::thread;

use chatmail::database::{Database, DatabaseError};
use chatmail::log_limit::LogLimit;
use chatmail::{Config, Domain};
use rusqlite::{Connection, Transaction, params};
use tokio::sync::{mpsc, oneshot};

use super::PeerState;
use super::clock::Moment;
use super::endpoint::{Endpoint, Override};
use super::knowledge::{Change, ENDPOINTS_MAX, PEERS_MAX, Peer};
use super::known::Known;

/// Changes that may wait to be written. Further ones are lost: they are of use only after a restart.
const WAITING_MAX: usize = 4096;

/// The most changes that are written together.
const TOGETHER_MAX: usize = 1024;

/// Takes what is to be written. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Store {
    writes: mpsc::Sender<Write>,
    lost: LogLimit,
}

/// What was written down before.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) endpoints: Vec<(Endpoint, Known)>,
    pub(super) peers: Vec<(Domain, Peer)>,
    pub(super) overrides: BTreeMap<Domain, Override>,
}

#[derive(Debug)]
enum Write {
    Change(Change),
    Override(Domain, Option<Override>, oneshot::Sender<Outcome>),
    /// To be told when all before it is written.
    Flush(oneshot::Sender<()>),
}

type Outcome = Result<(), DatabaseError>;

impl Store {
    /// Reads the tables and begins to take changes.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn open(config: &Config) -> Result<(Self, Loaded), DatabaseError> {
        let mut database = crate::database::open(config)?;
        let error = database.error();
        let loaded = load(database.connection()).map_err(error)?;
        let (writes, waiting) = mpsc::channel(WAITING_MAX);
        let lost = LogLimit::new();
        thread::spawn(move || write_all(database, waiting));
        Ok((Self { writes, lost }, loaded))
    }

    /// Has changes written soon.
    pub(super) fn write(&self, changes: Vec<Change>) {
        for change in changes {
            if self.writes.try_send(Write::Change(change)).is_err()
                && let Some(suppressed) = self.lost.allow()
            {
                tracing::warn!(
                    suppressed,
                    "What was learnt of a peer is not written down: the disk is too slow."
                );
            }
        }
    }

    /// Writes an override, or that there is none; it is on disk when this returns.
    pub(super) async fn write_override(
        &self,
        domain: Domain,
        decision: Option<Override>,
    ) -> Outcome {
        let (tell, told) = oneshot::channel();
        // The thread lives as long as this: neither can fail.
        let _ = self
            .writes
            .send(Write::Override(domain, decision, tell))
            .await;
        told.await.unwrap_or(Ok(()))
    }

    /// Returns when all changes so far are on disk, or cannot be.
    pub(super) async fn flush(&self) {
        let (tell, told) = oneshot::channel();
        if self.writes.send(Write::Flush(tell)).await.is_ok() {
            let _ = told.await;
        }
    }
}

fn write_all(mut database: Database, mut waiting: mpsc::Receiver<Write>) {
    let failures = LogLimit::new();
    while let Some(first) = waiting.blocking_recv() {
        let mut changes = Vec::new();
        let mut next = Some(first);
        // What is not a change ends the batch, so that all is written in order.
        let last = loop {
            match next {
                Some(Write::Change(change)) => changes.push(change),
                other => break other,
            }
            next = match changes.len() {
                TOGETHER_MAX => None,
                _ => waiting.try_recv().ok(),
            };
        };
        if let Err(error) = write_changes(&mut database, &changes)
            && let Some(suppressed) = failures.allow()
        {
            tracing::error!(
                suppressed,
                "What was learnt of peers is not written down: {error}"
            );
        }
        match last {
            Some(Write::Override(domain, decision, tell)) => {
                // Who asked may be gone.
                let _ = tell.send(write_override(&mut database, &domain, decision.as_ref()));
            }
            Some(Write::Flush(tell)) => {
                let _ = tell.send(());
            }
            Some(Write::Change(_)) | None => {}
        }
    }
}

fn write_changes(database: &mut Database, changes: &[Change]) -> Outcome {
    if changes.is_empty() {
        return Ok(());
    }
    database.change(|transaction| {
        let mut changes = changes.iter();
        let written = changes.try_for_each(|change| write_change(transaction, change));
        written.map(Ok)
    })
}

fn write_override(
    database: &mut Database,
    domain: &Domain,
    decision: Option<&Override>,
) -> Outcome {
    database.change(|transaction| {
        let written = match decision {
            Some(decision) => transaction.execute(
                "INSERT OR REPLACE INTO overrides VALUES (?1, ?2, ?3)",
                params![domain.as_str(), decision.to_string(), decision.is_lax()],
            ),
            None => transaction.execute(
                "DELETE FROM overrides WHERE domain = ?1",
                params![domain.as_str()],
            ),
        };
        written.map(|_| Ok(()))
    })
}

fn write_change(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Endpoint(endpoint, known) => {
            let sql = "INSERT OR REPLACE INTO endpoints VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            transaction.prepare_cached(sql)?.execute(params![
                endpoint.host.as_str(),
                endpoint.port,
                endpoint.lax,
                word(known.state),
                known.spoke,
                known.failures,
                column(known.since),
                column(known.closed_until),
            ])?;
        }
        Change::Peer(domain, peer) => {
            let candidates: Vec<&str> = peer.candidates.iter().map(Domain::as_str).collect();
            let sql = "INSERT OR REPLACE INTO peers VALUES (?1, ?2, ?3, ?4)";
            transaction.prepare_cached(sql)?.execute(params![
                domain.as_str(),
                candidates.join(" "),
                peer.good.as_ref().map_or("", Domain::as_str),
                column(peer.used),
            ])?;
        }
        Change::ForgetEndpoints(endpoints) => {
            let sql = "DELETE FROM endpoints WHERE host = ?1 AND port = ?2 AND lax = ?3";
            let mut delete = transaction.prepare_cached(sql)?;
            for endpoint in endpoints {
                delete.execute(params![endpoint.host.as_str(), endpoint.port, endpoint.lax])?;
            }
        }
        Change::ForgetPeers(domains) => {
            let mut delete = transaction.prepare_cached("DELETE FROM peers WHERE domain = ?1")?;
            for domain in domains {
                delete.execute(params![domain.as_str()])?;
            }
        }
    }
    Ok(())
}

/// Reads everything. Rows that cannot be read as what they should be are left out: they may be of a
/// hand that was at the file, and nothing depends on them.
fn load(connection: &mut Connection) -> rusqlite::Result<Loaded> {
    // More than there is room for in memory is only there after a crash.
    let excess = "DELETE FROM endpoints WHERE since <=
         (SELECT since FROM endpoints ORDER BY since DESC LIMIT 1 OFFSET ?1)";
    connection.execute(excess, params![ENDPOINTS_MAX as i64])?;
    let excess = "DELETE FROM peers WHERE used <=
         (SELECT used FROM peers ORDER BY used DESC LIMIT 1 OFFSET ?1)";
    connection.execute(excess, params![PEERS_MAX as i64])?;
    let mut loaded = Loaded::default();
    let mut select = connection.prepare("SELECT * FROM endpoints")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let host: String = row.get(0)?;
        let state: String = row.get(3)?;
        let (Ok(host), Some(state)) = (host.parse(), state_of(&state)) else {
            continue;
        };
        let mut known = Known::new(state, moment(row.get(6)?));
        known.spoke = row.get(4)?;
        known.failures = row.get(5)?;
        known.closed_until = moment(row.get(7)?);
        let (port, lax) = (row.get(1)?, row.get(2)?);
        loaded.endpoints.push((Endpoint { host, port, lax }, known));
    }
    let mut select = connection.prepare("SELECT * FROM peers")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let domain: String = row.get(0)?;
        let candidates: String = row.get(1)?;
        let good: String = row.get(2)?;
        let Ok(domain) = domain.parse() else { continue };
        let candidates = candidates.split_ascii_whitespace();
        let candidates = candidates.filter_map(|host| host.parse().ok()).collect();
        let peer = Peer::new(candidates, good.parse().ok(), moment(row.get(3)?));
        loaded.peers.push((domain, peer));
    }
    let mut select = connection.prepare("SELECT * FROM overrides")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let domain: String = row.get(0)?;
        let decision: String = row.get(1)?;
        match (domain.parse(), Override::parse(&decision, row.get(2)?)) {
            (Ok(domain), Ok(decision)) => {
                loaded.overrides.insert(domain, decision);
            }
            _ => tracing::warn!("An endpoint that was set cannot be read; it is left out."),
        }
    }
    Ok(loaded)
}

const STATES: [(PeerState, &str); 4] = [
    (PeerState::Unknown, "unknown"),
    (PeerState::Speaks, "speaks"),
    (PeerState::Silent, "silent"),
    (PeerState::Failing, "failing"),
];

fn word(state: PeerState) -> &'static str {
    let found = STATES.iter().find(|(known, _)| *known == state);
    found.map_or("unknown", |(_, word)| word)
}

fn state_of(word: &str) -> Option<PeerState> {
    let found = STATES.iter().find(|(_, known)| *known == word);
    found.map(|(state, _)| *state)
}

fn column(moment: Moment) -> i64 {
    i64::try_from(moment.0).unwrap_or(i64::MAX)
}

fn moment(column: i64) -> Moment {
    Moment(u64::try_from(column).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_room_for_is_not_read() {
        let mut connection = Connection::open_in_memory().unwrap();
        let tables = include_str!("../database/1_routes.sql");
        connection.execute_batch(tables).unwrap();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
             INSERT INTO endpoints SELECT 'x' || i || '.test', 443, 0, 'speaks', 1, 0, i, 0 FROM n";
        connection.execute_batch(fill).unwrap();
        let fill = "INSERT INTO peers SELECT host, host, host, since FROM endpoints";
        connection.execute_batch(fill).unwrap();
        let loaded = load(&mut connection).unwrap();
        assert_eq!(loaded.endpoints.len(), ENDPOINTS_MAX);
        assert_eq!(loaded.peers.len(), PEERS_MAX);
        // The oldest have gone.
        let oldest = loaded.peers.iter().map(|(_, peer)| peer.used).min();
        assert_eq!(oldest, Some(Moment(30_001 - PEERS_MAX as u64)));
        let left = "SELECT count(*) FROM peers";
        let left: i64 = connection.query_row(left, [], |row| row.get(0)).unwrap();
        assert_eq!(left, PEERS_MAX as i64);
    }

    #[test]
    fn rows_of_nonsense_are_left_out() {
        let mut connection = Connection::open_in_memory().unwrap();
        let tables = include_str!("../database/1_routes.sql");
        connection.execute_batch(tables).unwrap();
        let fill = "INSERT INTO endpoints VALUES ('a b', 443, 0, 'speaks', 1, 0, 0, 0);
             INSERT INTO endpoints VALUES ('a.test', 443, 0, 'sings', 1, 0, 0, 0);
             INSERT INTO endpoints VALUES ('b.test', 443, 0, 'speaks', 1, 0, -1, -1);
             INSERT INTO peers VALUES ('', 'a.test', '', 0);
             INSERT INTO peers VALUES ('b.test', 'b.test @ c.test', '@', 0);
             INSERT INTO overrides VALUES ('a.test', 'http://x', 0);
             INSERT INTO overrides VALUES ('b.test', 'smtp', 0)";
        connection.execute_batch(fill).unwrap();
        let loaded = load(&mut connection).unwrap();
        assert_eq!(loaded.endpoints.len(), 1);
        let (domain, peer) = &loaded.peers[0];
        assert_eq!((loaded.peers.len(), domain.as_str()), (1, "b.test"));
        assert_eq!((peer.candidates.len(), &peer.good), (2, &None));
        assert_eq!(loaded.overrides.len(), 1);
    }
}
