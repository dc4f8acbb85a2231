//! First logins that redeem an invite.

use std::time::SystemTime;

use super::{AccountService, LoginError, LoginOutcome, on_thread, write};
use crate::Address;
use crate::accounts::{Account, PasswordHash, Refusal, Store};
use crate::invites::{InviteTable, InvitesError, NoGood, Settled, Token};

/// How often an account is begun again whose claim somebody has taken away.
const CLAIMS_MAX: usize = 5;

impl AccountService {
    /// Settles the claims that a killed process has left. For the start of a daemon.
    ///
    /// # Errors
    /// The invites cannot be read or changed.
    pub async fn recover_invites(&self) -> Result<(), LoginError> {
        if self.postgres.is_some() {
            // There a use and its account are one transaction.
            return Ok(());
        }
        let (file, store) = (self.invites.clone(), self.store.clone());
        on_thread(move || Ok(recover(&file, &store)?)).await
    }

    /// Whether an invite is good; takes nothing.
    pub(super) async fn look_at_invite(
        &self,
        token: &Token,
    ) -> Result<Result<(), NoGood>, LoginError> {
        if let Some(postgres) = &self.postgres {
            let looked = postgres.postgres().look_at_invite(token, SystemTime::now());
            return Ok(looked.await?);
        }
        let (file, token) = (self.invites.clone(), token.clone());
        on_thread(move || match InviteTable::open(&file)? {
            Some(mut table) => Ok(table.look(&token, SystemTime::now())?),
            None => Ok(Err(NoGood::Unknown)),
        })
        .await
    }

    /// Hashes and writes on a thread that may block, and takes a use of the invite.
    pub(super) async fn create_invited(
        &self,
        address: &Address,
        password: &[u8],
        token: Token,
    ) -> Result<LoginOutcome, LoginError> {
        let hash = self.hash(password).await?;
        // One at a time, or they would wait for each other in SQLite, which has no order.
        let _turn = self.redeeming.lock().await;
        let (file, store, address) = (self.invites.clone(), self.store.clone(), address.clone());
        on_thread(move || {
            let Some(mut table) = InviteTable::open(&file)? else {
                return Ok(LoginOutcome::Refused(Refusal::Invite(NoGood::Unknown)));
            };
            redeem(&mut table, &store, &address, &hash, &token)
        })
        .await
    }
}

/// Settles the claims that a killed process has left in a file with invites, if there is one.
///
/// # Errors
/// See [`InvitesError`].
pub(crate) fn recover(file: &std::path::Path, store: &Store) -> Result<(), InvitesError> {
    match InviteTable::open(file)? {
        Some(mut table) => table.recover(|name| exists(store, name)),
        None => Ok(()),
    }
}

fn redeem(
    table: &mut InviteTable,
    store: &Store,
    address: &Address,
    hash: &PasswordHash,
    token: &Token,
) -> Result<LoginOutcome, LoginError> {
    for _ in 0..CLAIMS_MAX {
        let now = SystemTime::now();
        let claim = match table.claim(token, address, now, |name| exists(store, name))? {
            Ok(claim) => claim,
            Err(no_good) => return Ok(LoginOutcome::Refused(Refusal::Invite(no_good))),
        };
        let settled = table.settle(&claim, || {
            let written = write(store, address, hash);
            let is_made = match &written {
                Ok(outcome) => matches!(outcome, LoginOutcome::Created(_)),
                // It may be there, if not for sure.
                Err(_) => !matches!(store.read(address), Ok(Account::Missing)),
            };
            (written, is_made)
        })?;
        if let Settled::Done(written) = settled {
            return Ok(written?);
        }
    }
    Err(LoginError::Contended)
}

/// Whether there is an account of this name; `None` when that cannot be found out.
fn exists(store: &Store, name: &str) -> Option<bool> {
    let account = store.read(&name.parse().ok()?).ok()?;
    Some(account != Account::Missing)
}
