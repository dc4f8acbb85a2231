//! One connection's commands: what is to be answered, and its open transactions. No I/O.

use std::collections::HashMap;

use super::codec::{Command, Field, Iterate, Malformed, TransactionId};

/// Transactions that a connection may have open at once.
pub const OPEN_TRANSACTIONS_MAX: usize = 32;
/// Changes that one transaction may hold.
pub const CHANGES_MAX: usize = 256;
/// Bytes of users, keys and values that all open transactions of a connection may hold together.
pub const CHANGED_BYTES_MAX: usize = 256 * 1024;

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key gets this value.
    Set {
        /// The key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// The key goes.
    Unset {
        /// The key.
        key: Vec<u8>,
    },
    /// The key's number grows.
    Increment {
        /// The key.
        key: Vec<u8>,
        /// By how much.
        by: i64,
    },
}

/// What a commit asks for: all of it, or an error.
///
/// Dovecot 2.4 sends a transaction again after a lost connection, so making the same changes
/// twice must be the same as making them once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// On whose behalf; empty before protocol version 3.
    pub user: Vec<u8>,
    /// The changes in their order.
    pub changes: Vec<Change>,
}

/// A command that needs an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Answer with `Found`, `NotFound` or `Failed`.
    Lookup {
        /// The key.
        key: Field<'a>,
        /// On whose behalf.
        user: Field<'a>,
    },
    /// Answer with rows and `EndOfRows`, or `Failed`.
    Iterate(Iterate),
    /// Make the changes, then answer with `Committed` or `CommitFailed`.
    Commit(TransactionId, ChangeSet),
    /// Answer with `CommitFailed`.
    RefuseCommit(TransactionId, CommitError),
}

/// Why a commit is refused before any store sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// No transaction of this number is open.
    #[error("unknown transaction")]
    Unknown,
    /// The transaction was over a limit of this module.
    #[error("transaction too large")]
    TooLarge,
}

/// The state of a connection.
#[derive(Debug, Default)]
pub struct Session {
    open: HashMap<TransactionId, Transaction>,
    /// Bytes that the open transactions hold.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Transaction {
    changes: ChangeSet,
    bytes: usize,
    /// A change was left out, so the commit must fail.
    too_large: bool,
}

impl Session {
    /// Takes a line; the result is what is to be answered, if anything.
    ///
    /// Commands without an answer of their own that name an unknown transaction change nothing:
    /// a client would take an error for the answer to another command. Its commit is refused.
    ///
    /// # Errors
    /// A line that is no command. What follows it cannot be trusted: close the connection.
    pub fn line<'a>(&mut self, line: &'a [u8]) -> Result<Option<Request<'a>>, Malformed> {
        match Command::parse(line)? {
            Command::Hello(_) | Command::Timestamp(_) | Command::HideValues(_) => {}
            Command::Lookup { key, user } => return Ok(Some(Request::Lookup { key, user })),
            Command::Iterate(iterate) => return Ok(Some(Request::Iterate(iterate))),
            Command::Begin { id, user } => self.begin(id, user)?,
            Command::Set { id, key, value } => {
                self.add(id, key.len() + value.len(), || Change::Set {
                    key: key.into_owned(),
                    value: value.into_owned(),
                })
            }
            Command::Unset { id, key } => {
                self.add(id, key.len(), || Change::Unset {
                    key: key.into_owned(),
                });
            }
            Command::Increment { id, key, by } => {
                self.add(id, key.len(), || Change::Increment {
                    key: key.into_owned(),
                    by,
                });
            }
            Command::Commit(id) => return Ok(Some(self.commit(id))),
            Command::Rollback(id) => {
                self.close(id);
            }
        }
        Ok(None)
    }

    fn begin(&mut self, id: TransactionId, user: Field<'_>) -> Result<(), Malformed> {
        if self.open.contains_key(&id) {
            return Err(Malformed::BegunTwice);
        }
        let fits = self.bytes + user.len() <= CHANGED_BYTES_MAX;
        if fits && self.open.len() < OPEN_TRANSACTIONS_MAX {
            self.bytes += user.len();
            let bytes = user.len();
            let changes = ChangeSet {
                user: user.into_owned(),
                changes: Vec::new(),
            };
            self.open.insert(
                id,
                Transaction {
                    changes,
                    bytes,
                    too_large: false,
                },
            );
        }
        Ok(())
    }

    fn add(&mut self, id: TransactionId, bytes: usize, change: impl FnOnce() -> Change) {
        let Some(transaction) = self.open.get_mut(&id) else {
            return;
        };
        let count = transaction.changes.changes.len();
        if count < CHANGES_MAX && self.bytes + bytes <= CHANGED_BYTES_MAX {
            self.bytes += bytes;
            transaction.bytes += bytes;
            transaction.changes.changes.push(change());
        } else {
            transaction.too_large = true;
        }
    }

    fn commit(&mut self, id: TransactionId) -> Request<'static> {
        match self.close(id) {
            None => Request::RefuseCommit(id, CommitError::Unknown),
            Some(transaction) if transaction.too_large => {
                Request::RefuseCommit(id, CommitError::TooLarge)
            }
            Some(transaction) => Request::Commit(id, transaction.changes),
        }
    }

    fn close(&mut self, id: TransactionId) -> Option<Transaction> {
        let transaction = self.open.remove(&id)?;
        self.bytes -= transaction.bytes;
        Some(transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Change {
        Change::Set {
            key: key.into(),
            value: value.into(),
        }
    }

    fn changes(user: &str, changes: Vec<Change>) -> ChangeSet {
        ChangeSet {
            user: user.into(),
            changes,
        }
    }

    /// Feeds lines of which only the last is answered.
    fn last(session: &mut Session, lines: &[&'static str]) -> Request<'static> {
        let (last, before) = lines.split_last().unwrap();
        for line in before {
            assert_eq!(session.line(line.as_bytes()), Ok(None), "{line}");
        }
        session.line(last.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_transaction_collects_its_changes_in_order() {
        let lines = [
            "B1\tbob",
            "S1\tk\tv",
            "U1\told",
            "T1\t1700000000\t0",
            "V1\tyes",
            "A1\tn\t-2",
            "C1",
        ];
        let increment = Change::Increment {
            key: "n".into(),
            by: -2,
        };
        let expected = vec![
            set("k", "v"),
            Change::Unset { key: "old".into() },
            increment,
        ];
        assert_eq!(
            last(&mut Session::default(), &lines),
            Request::Commit(1, changes("bob", expected))
        );
    }

    #[test]
    fn transactions_may_interleave_and_numbers_are_used_again() {
        let mut session = Session::default();
        let first = last(
            &mut session,
            &["B1\ta", "B2\tb", "S1\tk\t1", "S2\tk\t2", "C2"],
        );
        assert_eq!(first, Request::Commit(2, changes("b", vec![set("k", "2")])));
        assert_eq!(
            last(&mut session, &["C1"]),
            Request::Commit(1, changes("a", vec![set("k", "1")]))
        );
        assert_eq!(
            last(&mut session, &["B1\tc", "S1\tk\t3", "C1"]),
            Request::Commit(1, changes("c", vec![set("k", "3")]))
        );
    }

    #[test]
    fn an_unknown_number_fails_at_its_commit_only() {
        let mut session = Session::default();
        let unknown = |id| Request::RefuseCommit(id, CommitError::Unknown);
        assert_eq!(
            last(&mut session, &["S9\tk\tv", "U9\tk", "R9", "C9"]),
            unknown(9)
        );
        assert_eq!(
            last(&mut session, &["B1\tbob", "S1\tk\tv", "R1", "C1"]),
            unknown(1)
        );
    }

    #[test]
    fn a_number_in_use_cannot_begin_again() {
        let mut session = Session::default();
        assert_eq!(session.line(b"B1\tbob"), Ok(None));
        assert_eq!(session.line(b"B1\tbob"), Err(Malformed::BegunTwice));
    }

    #[test]
    fn open_transactions_are_limited() {
        let mut session = Session::default();
        for id in 0..=OPEN_TRANSACTIONS_MAX {
            assert_eq!(session.line(format!("B{id}").as_bytes()), Ok(None));
        }
        let over = format!("C{OPEN_TRANSACTIONS_MAX}");
        let refused = Request::RefuseCommit(OPEN_TRANSACTIONS_MAX as u64, CommitError::Unknown);
        assert_eq!(session.line(over.as_bytes()), Ok(Some(refused)));
        assert_eq!(
            last(&mut session, &["C0"]),
            Request::Commit(0, ChangeSet::default())
        );
    }

    #[test]
    fn changes_are_limited_in_number_and_size() {
        let mut session = Session::default();
        let too_large = |id| Request::RefuseCommit(id, CommitError::TooLarge);
        session.line(b"B1").unwrap();
        for _ in 0..=CHANGES_MAX {
            assert_eq!(session.line(b"S1\tk\tv"), Ok(None));
        }
        assert_eq!(last(&mut session, &["C1"]), too_large(1));

        session.line(b"B1").unwrap();
        let large = format!("S1\tk\t{}", "v".repeat(60_000));
        for _ in 0..5 {
            assert_eq!(session.line(large.as_bytes()), Ok(None));
        }
        assert!(session.bytes <= CHANGED_BYTES_MAX);
        assert_eq!(last(&mut session, &["C1"]), too_large(1));
        assert_eq!(session.bytes, 0);
        assert_eq!(
            last(&mut session, &["B1", "C1"]),
            Request::Commit(1, ChangeSet::default())
        );
    }
}
