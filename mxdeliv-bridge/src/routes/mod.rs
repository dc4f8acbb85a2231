//! Which way a domain's mail goes, what is known of peers, and connections to them.

pub mod oracle;

use bytes::Bytes;
use chatmail::{Config, Domain};
use prometheus_client::registry::Registry;

use crate::statistics::{Statistics, Transport};

/// Knows peers and posts to them. Clones share what is known.
#[derive(Clone, Debug)]
pub struct Routes {
    _statistics: Statistics,
}

/// Why peers cannot be known.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {}

/// A message for the recipients of one domain.
#[derive(Clone, Debug)]
pub struct Post {
    /// The envelope sender as `X-Mail-From` has it; empty for `<>`.
    pub sender: String,
    /// The recipients as `X-Mail-To` has them, lower case, at most 50.
    pub recipients: Vec<String>,
    /// The message, CRLF at line ends and at its end.
    pub message: Bytes,
    /// Hash of envelope and message, for `Idempotency-Key`.
    pub key: String,
}

/// No endpoint of a peer took a message; SMTP is to try. Why, without addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotTaken(pub String);

impl Routes {
    /// Opens what is known of peers.
    ///
    /// # Errors
    /// See [`RoutesError`].
    pub fn open(
        _config: &Config,
        statistics: Statistics,
        _registry: &mut Registry,
    ) -> Result<Self, RoutesError> {
        Ok(Self {
            _statistics: statistics,
        })
    }

    /// What Postfix should use for a domain. From memory, at once.
    pub fn transport(&self, _domain: &Domain) -> Transport {
        Transport::Smtp
    }

    /// Begins to find a peer's endpoint and to connect to it, for a message that is about to come.
    pub fn prepare(&self, _domain: &Domain) {}

    /// Posts a message; returns once a peer has taken it.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub async fn post(&self, _domain: &Domain, _post: &Post) -> Result<(), NotTaken> {
        Err(NotTaken("not built".into()))
    }
}
