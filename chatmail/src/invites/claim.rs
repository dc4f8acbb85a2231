//! Taking a use of an invite for an account, so that there are exactly as many accounts as uses taken,
//! whoever is killed when.
//!
//! Invites are in SQLite and accounts are files, so that no transaction holds both. Therefore:
//!
//! 1. [`InviteTable::claim`], a transaction: the use is taken, and a claim says for which address.
//! 2. [`InviteTable::settle`], a second transaction. It begins by looking for the claim, **then** the account
//!    is written, then the claim is deleted. If the account was not written, the use is given back.
//! 3. [`InviteTable::recover`] looks at claims that were left: where the account is there its use is spent,
//!    and where it is not the use is given back.
//!
//! An account is written within a transaction that has seen its claim. SQLite lets only one process write,
//! and the kernel ends the lock of one that dies. So when `recover` has the lock nobody is between seeing a
//! claim and having written the account: what the disk says of the account holds. Whoever has claimed and
//! not yet begun to settle finds the claim gone, and begins again.
//!
//! Killed before 1 is done: nothing has happened. Between 1 and the account: a claim without account. Between
//! the account and the end of 2: SQLite takes the second transaction back, which leaves a claim and an
//! account. How old a claim is decides only whether it is worth a look, never what it means.

use std::time::{Duration, SystemTime};

use rusqlite::{
    Connection, OptionalExtension as _, Transaction, TransactionBehavior, named_params,
};

use super::table::{look, seconds};
use super::{InviteTable, InvitesError, NoGood, Token};
use crate::Address;

/// A claim as old as this was most likely left by a process that was killed.
const LEFT_AFTER: Duration = Duration::from_secs(30);

/// A use that is taken for an account.
#[derive(Debug)]
#[must_use = "a claim that is not settled stays until somebody recovers it"]
pub struct Claim {
    address: String,
    number: i64,
}

/// What came of a claim.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled<T> {
    /// The account is there and the use is spent; or there is none and the use was given back.
    Done(T),
    /// Somebody has given the use back meanwhile, or has revoked the invite. The account was not written;
    /// claim again.
    Lost,
}

impl InviteTable {
    /// Takes a use of the invite for an account that is not there. `exists` tells whether an account is;
    /// `None` when that cannot be found out.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub fn claim(
        &mut self,
        token: &Token,
        address: &Address,
        now: SystemTime,
        exists: impl Fn(&str) -> Option<bool>,
    ) -> Result<Result<Claim, NoGood>, InvitesError> {
        let claim = Claim {
            address: address.to_string(),
            // Any bits will do.
            number: getrandom::u64()?.cast_signed(),
        };
        let (hash, now) = (token.hash(), seconds(now));
        self.change(|transaction| {
            let left = now.saturating_sub_unsigned(LEFT_AFTER.as_secs());
            for (address, claimed) in claims(transaction)? {
                // One for the same address would be in the way, however old.
                if address == claim.address || claimed <= left || claimed > now {
                    resolve(transaction, &address, &exists)?;
                }
            }
            if let Err(no_good) = look(transaction, &hash, now)? {
                return Ok(Err(no_good));
            }
            let take = "UPDATE invites SET uses_left = uses_left - 1 WHERE token = ?1";
            transaction.execute(take, [&hash])?;
            let insert = "INSERT INTO invite_claims (address, number, token, claimed) \
                VALUES (:address, :number, :token, :now)";
            transaction.execute(
                insert,
                named_params! {
                    ":address": claim.address,
                    ":number": claim.number,
                    ":token": hash,
                    ":now": now,
                },
            )?;
            Ok(Ok(claim))
        })
    }

    /// Has the account written, unless the claim is gone. `write` tells what came of it, and whether it
    /// has made the account.
    ///
    /// # Errors
    /// See [`InvitesError`]; then nothing was written.
    pub fn settle<T>(
        &mut self,
        claim: &Claim,
        write: impl FnOnce() -> (T, bool),
    ) -> Result<Settled<T>, InvitesError> {
        let database = self.database();
        let error = database.error();
        let connection = database.connection();
        let begun = Transaction::new(connection, TransactionBehavior::Immediate)
            .and_then(|begun| Ok((is_there(&begun, claim)?, begun)));
        let (is_there, transaction) = begun.map_err(error)?;
        if !is_there {
            return Ok(Settled::Lost);
        }
        let (outcome, is_made) = write();
        let ended = match is_made {
            true => forget(&transaction, &claim.address),
            false => give_back(&transaction, &claim.address),
        };
        if let Err(error) = ended.and_then(|()| transaction.commit()) {
            // What was written is safe, and so is the claim, from which the rest follows.
            tracing::warn!("invites: a claim is left to be recovered: {error}");
        }
        Ok(Settled::Done(outcome))
    }

    /// Settles the claims of processes that were killed. `exists` as for [`claim`](Self::claim).
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub fn recover(&mut self, exists: impl Fn(&str) -> Option<bool>) -> Result<(), InvitesError> {
        let error = self.database().error();
        if claims(self.database().connection())
            .map_err(error)?
            .is_empty()
        {
            return Ok(());
        }
        self.change(|transaction| {
            for (address, _) in claims(transaction)? {
                resolve(transaction, &address, &exists)?;
            }
            Ok(())
        })
    }
}

/// Addresses and times of all claims.
fn claims(connection: &Connection) -> rusqlite::Result<Vec<(String, i64)>> {
    let mut select = connection.prepare("SELECT address, claimed FROM invite_claims")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// Ends the claim for an address by what the disk says of the account.
fn resolve(
    transaction: &Transaction<'_>,
    address: &str,
    exists: impl Fn(&str) -> Option<bool>,
) -> rusqlite::Result<()> {
    match exists(address) {
        Some(true) => forget(transaction, address),
        Some(false) => give_back(transaction, address),
        None => Ok(()),
    }
}

fn is_there(transaction: &Transaction<'_>, claim: &Claim) -> rusqlite::Result<bool> {
    let select = "SELECT 1 FROM invite_claims WHERE address = :address AND number = :number";
    let key = named_params! { ":address": claim.address, ":number": claim.number };
    let found = transaction.query_row(select, key, |_| Ok(())).optional()?;
    Ok(found.is_some())
}

/// Ends the claim for an address: its use is spent.
fn forget(transaction: &Transaction<'_>, address: &str) -> rusqlite::Result<()> {
    let delete = "DELETE FROM invite_claims WHERE address = ?1";
    transaction.execute(delete, [address]).map(drop)
}

/// Ends the claim for an address: its use can be taken again, unless the invite was revoked.
fn give_back(transaction: &Transaction<'_>, address: &str) -> rusqlite::Result<()> {
    let update = "UPDATE invites SET uses_left = uses_left + 1 \
        WHERE token = (SELECT token FROM invite_claims WHERE address = ?1)";
    transaction.execute(update, [address])?;
    forget(transaction, address)
}
