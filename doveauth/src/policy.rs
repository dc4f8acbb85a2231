//! The dict in which filtermail and the bridge look up how to treat an address, whom to refuse, and whether
//! accounts can be made.

use std::sync::Arc;

use chatmail::Address;
use chatmail::accounts::AccountService;
use chatmail::blocks::{BlockList, LiveBlockList};
use chatmail::dict::{Failure, Handler};
use chatmail::policy::{BLOCKED_PREFIX, Blocked, BlockedQuery, KEY_PREFIX, Policy};
use chatmail::registration::{self, Answered, Question};
use serde::Serialize;

use crate::metrics::{Metrics, Outcome};
use crate::trouble::Trouble;

/// The name under which questions about accounts are counted and logged.
const POLICY: &str = "policy";

/// The name under which questions about the block list are counted.
const BLOCKED: &str = "blocked";

/// The name under which questions about registration are counted.
const REGISTRATION: &str = "registration";

/// Answers in JSON: with a [`Policy`], also for an address that has no account, with a [`Blocked`], or with an
/// [`Answered`].
#[derive(Debug)]
pub struct PolicyDict {
    accounts: Arc<AccountService>,
    blocks: Arc<LiveBlockList>,
    metrics: Metrics,
    trouble: Trouble,
}

impl PolicyDict {
    /// The dict over these accounts and this block list.
    pub fn new(
        accounts: Arc<AccountService>,
        blocks: Arc<LiveBlockList>,
        metrics: Metrics,
    ) -> Self {
        Self {
            accounts,
            blocks,
            metrics,
            trouble: Trouble::new(POLICY),
        }
    }

    async fn policy(&self, user: &[u8]) -> Result<Vec<u8>, Failure> {
        let Ok(address) = Address::try_from(user) else {
            return self.json(&Policy::default());
        };
        let policy = self.accounts.policy(&address).await;
        let mut policy = policy.map_err(|error| self.trouble.failure(&error))?;
        if policy.exists {
            policy.blocked |= self.block_list().await?.has_address(&address);
        }
        self.json(&policy)
    }

    async fn blocked(&self, query: &BlockedQuery) -> Result<Vec<u8>, Failure> {
        let list = self.block_list().await?;
        let blocked = list.is_blocked(query.client, query.sender.as_ref());
        if blocked {
            self.metrics.count_blocked();
        }
        self.json(&Blocked { blocked })
    }

    async fn registration(&self, question: &Question) -> Result<Vec<u8>, Failure> {
        let answer = self.accounts.registration(question.invite.as_ref()).await;
        let answer = answer.map_err(|error| self.trouble.failure(&error))?;
        self.json(&Answered { answer })
    }

    /// Trouble with the list is logged where it is read, once for all who wait for it.
    async fn block_list(&self) -> Result<Arc<BlockList>, Failure> {
        let current = self.blocks.current().await;
        current.map_err(|error| Failure(error.to_string()))
    }

    fn json(&self, answer: &impl Serialize) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(answer).map_err(|error| self.trouble.failure(&error))
    }
}

impl Handler for PolicyDict {
    async fn lookup(&self, key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let (dict, result) = if let Some(query) = key.strip_prefix(BLOCKED_PREFIX.as_bytes()) {
            let answer = match BlockedQuery::parse(query) {
                Some(query) => self.blocked(&query).await.map(Some),
                None => Ok(None),
            };
            (BLOCKED, answer)
        } else if let Some(question) = key.strip_prefix(registration::KEY_PREFIX.as_bytes()) {
            let answer = match Question::parse(question) {
                Some(question) => self.registration(&question).await.map(Some),
                None => Ok(None),
            };
            (REGISTRATION, answer)
        } else if let Some(user) = key.strip_prefix(KEY_PREFIX.as_bytes()) {
            (POLICY, self.policy(user).await.map(Some))
        } else {
            (POLICY, Ok(None))
        };
        self.metrics.count(dict, Outcome::of(&result));
        result
    }
}
