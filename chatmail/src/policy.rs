//! What the daemons that judge mail may know of an account, and how they ask doveauth for it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Address;
use crate::dict::{Client, ClientError};

/// Where policies are in doveauth's policy dict; the address follows.
pub const KEY_PREFIX: &str = "shared/policy/";

/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How mail to and from an address is to be treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// There is such an account on this relay.
    pub exists: bool,
    /// It takes cleartext mail from outside.
    pub cleartext: bool,
    /// The operator has blocked it. Always false as long as there is no block list.
    pub blocked: bool,
    /// Its mailbox is full.
    pub over_quota: bool,
}

/// Why there is no policy. Temporary: mail waits.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// doveauth has not answered.
    #[error(transparent)]
    Dict(#[from] ClientError),
    /// doveauth's answer is not a policy.
    #[error("doveauth's answer is not a policy: {0}")]
    Answer(#[from] serde_json::Error),
}

/// Asks doveauth.
#[derive(Debug)]
pub struct PolicyClient(Client);

impl PolicyClient {
    /// A client of the dict at [`Config::policy_socket`](crate::Config::policy_socket).
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self(Client::new(socket, TIMEOUT))
    }

    /// The policy of an address; of an address without an account, one that does not exist.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub async fn lookup(&self, address: &Address) -> Result<Policy, PolicyError> {
        match self
            .0
            .lookup(format!("{KEY_PREFIX}{address}").as_bytes(), b"")
            .await?
        {
            Some(json) => Ok(serde_json::from_slice(&json)?),
            None => Ok(Policy::default()),
        }
    }
}
