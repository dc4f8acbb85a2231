//! The dict in which filtermail and the bridge look up how to treat an address.

use std::sync::Arc;

use chatmail::Address;
use chatmail::accounts::AccountService;
use chatmail::dict::{Failure, Handler};
use chatmail::policy::{KEY_PREFIX, Policy};

use crate::metrics::{Metrics, Outcome};
use crate::trouble::Trouble;

/// The name under which this dict's requests are counted and logged.
const NAME: &str = "policy";

/// Answers with a [`Policy`] in JSON, also for an address that has no account.
#[derive(Debug)]
pub struct PolicyDict {
    accounts: Arc<AccountService>,
    metrics: Metrics,
    trouble: Trouble,
}

impl PolicyDict {
    /// The dict over these accounts.
    pub fn new(accounts: Arc<AccountService>, metrics: Metrics) -> Self {
        Self {
            accounts,
            metrics,
            trouble: Trouble::new(NAME),
        }
    }

    async fn policy(&self, user: &[u8]) -> Result<Vec<u8>, Failure> {
        let policy = match Address::try_from(user) {
            Ok(address) => self.accounts.policy(&address).await,
            Err(_) => Ok(Policy::default()),
        };
        let policy = policy.map_err(|error| self.trouble.failure(&error))?;
        serde_json::to_vec(&policy).map_err(|error| self.trouble.failure(&error))
    }
}

impl Handler for PolicyDict {
    async fn lookup(&self, key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let user = key.strip_prefix(KEY_PREFIX.as_bytes());
        let result = match user {
            Some(user) => self.policy(user).await.map(Some),
            None => Ok(None),
        };
        self.metrics.count(NAME, Outcome::of(&result));
        result
    }
}
