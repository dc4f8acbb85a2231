//! Accounts that were seen lately, for the time in which the database is away.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::accounts::Stored;
use crate::Address;
use crate::accounts::Account;

/// Accounts that are remembered: some 40 MB of them.
const MAX: u64 = 100_000;

/// Each as it was when the database was last asked for it, for a while.
#[derive(Clone, Debug)]
pub(super) struct Known(Option<Cache<Address, Arc<Stored>>>);

impl Known {
    /// Remembers for so long; for no time: nothing.
    pub(super) fn new(grace: Duration) -> Self {
        let cache = || {
            Cache::builder()
                .max_capacity(MAX)
                .time_to_live(grace)
                .build()
        };
        Self((!grace.is_zero()).then(cache))
    }

    /// What the database says. Only accounts that can be logged in to are remembered: of the others there is
    /// nothing to keep working.
    pub(super) async fn note(&self, address: &Address, found: Option<&Arc<Stored>>) {
        let Some(cache) = &self.0 else { return };
        match found {
            Some(stored) if matches!(stored.account, Account::Present(_)) => {
                cache.insert(address.clone(), Arc::clone(stored)).await;
            }
            _ => cache.invalidate(address).await,
        }
    }

    /// What it said last.
    pub(super) async fn recall(&self, address: &Address) -> Option<Arc<Stored>> {
        self.0.as_ref()?.get(address).await
    }
}
