//! Logins where accounts are rows in PostgreSQL.

use std::sync::Arc;
use std::time::SystemTime;

use super::{AccountService, Found, Login, LoginError, LoginOutcome};
use crate::Address;
use crate::accounts::store::Mailbox;
use crate::accounts::{Account, PasswordHash, Refusal, StoreError};
use crate::invites::Token;
use crate::postgres::{For, Made, PostgresAccounts, Stored};

impl AccountService {
    /// How mail to an account is to be treated. How full its mailbox is only its backend knows.
    pub(super) async fn mailbox_of_row(
        &self,
        postgres: &PostgresAccounts,
        address: &Address,
    ) -> Result<Option<Mailbox>, StoreError> {
        let Some(stored) = postgres.find(address).await? else {
            return Ok(None);
        };
        let bytes_used = match !postgres.is_front() && postgres.is_here(&stored) {
            true => {
                self.ask(address, |store, address| store.bytes_used(address))
                    .await?
            }
            false => None,
        };
        Ok(Some(Mailbox {
            cleartext: stored.cleartext,
            blocked: stored.account == Account::Blocked,
            bytes_used,
        }))
    }
}

/// What there is of an address, and where.
pub(super) fn found(
    postgres: &PostgresAccounts,
    stored: Option<Arc<Stored>>,
) -> Result<Found, StoreError> {
    Ok(match stored {
        Some(stored) => Found {
            proxy: postgres.proxy(&stored)?,
            account: stored.account.clone(),
        },
        None => Account::Missing.into(),
    })
}

/// Makes an account, unless somebody has been quicker.
pub(super) async fn create(
    postgres: &PostgresAccounts,
    address: &Address,
    hash: &PasswordHash,
    invite: Option<&Token>,
) -> Result<Login, LoginError> {
    let whom = invite.map_or(For::Anybody, For::Invited);
    let made = postgres.create(address, hash, SystemTime::now(), whom);
    let (stored, is_new) = match made.await.map_err(StoreError::from)? {
        Made::Created(stored) => (Some(stored), true),
        Made::Exists => {
            let found = postgres.find_for_login(address).await;
            (found.map_err(StoreError::from)?, false)
        }
        Made::Deleted => return Ok(LoginOutcome::Refused(Refusal::Deleted).into()),
        Made::Invite(no_good) => {
            return Ok(LoginOutcome::Refused(Refusal::Invite(no_good)).into());
        }
        Made::NotNow(reason) => return Err(reason.into()),
    };
    let Found { account, proxy } = found(postgres, stored)?;
    let outcome = match account {
        Account::Present(hash) if is_new => LoginOutcome::Created(hash),
        Account::Present(hash) => LoginOutcome::Existing(hash),
        Account::Blocked => LoginOutcome::Refused(Refusal::Blocked),
        Account::Locked | Account::Missing => LoginOutcome::Refused(Refusal::Locked),
    };
    Ok(Login { outcome, proxy })
}
