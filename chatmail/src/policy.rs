//! What the daemons that judge mail may know of an account, and how they ask doveauth for it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Address;
use crate::dict::{Client, ClientError};

/// Where policies are in doveauth's policy dict; the address follows.
pub const KEY_PREFIX: &str = "shared/policy/";

/// Where doveauth's policy dict tells whether a client or sender is blocked: `CLIENT/SENDER` follows,
/// an IP address and a mail address, each `-` when there is none.
pub const BLOCKED_PREFIX: &str = "shared/blocked/";

/// Stands in a key for a client or sender that there is not.
const NOBODY: &str = "-";

/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How mail to and from an address is to be treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// There is such an account on this relay.
    pub exists: bool,
    /// It takes cleartext mail from outside.
    pub cleartext: bool,
    /// It neither gets nor sends mail: the operator has put it on the [block list](crate::blocks), or has
    /// [blocked](crate::accounts::Account::Blocked) it, so that it cannot log in either.
    pub blocked: bool,
    /// Its mailbox is full.
    pub over_quota: bool,
}

/// Whether mail is to be refused because of where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The operator has put its client or its sender on the [block list](crate::blocks).
    pub blocked: bool,
}

/// The question behind a [`Blocked`], as it stands in a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedQuery {
    /// Who has connected; `None` when it was not over TCP, or does not matter.
    pub client: Option<IpAddr>,
    /// Who has sent the mail; `None` for the null sender.
    pub sender: Option<Address>,
}

impl BlockedQuery {
    /// Reads what follows [`BLOCKED_PREFIX`]; `None` when it is not a question.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (client, sender) = std::str::from_utf8(key).ok()?.split_once('/')?;
        Some(Self {
            client: parse_unless_nobody(client)?,
            // An address may hold `/`: it is the whole rest.
            sender: parse_unless_nobody(sender)?,
        })
    }
}

/// Outer `None`: not what was expected. Inner `None`: nobody.
fn parse_unless_nobody<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    match text {
        NOBODY => Some(None),
        text => text.parse().ok().map(Some),
    }
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
    /// doveauth knows no such question; it may be an older version.
    #[error("doveauth does not know such a question")]
    Unknown,
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
        match self.ask(&format!("{KEY_PREFIX}{address}")).await? {
            Some(json) => Ok(serde_json::from_slice(&json)?),
            None => Ok(Policy::default()),
        }
    }

    /// Whether the [block list](crate::blocks) names this sender, its domain, or a network that
    /// holds the client. `None` is a client that there is not, or the null sender.
    ///
    /// # Errors
    /// See [`PolicyError`]; nobody is let in because the list cannot be read.
    pub async fn is_blocked(
        &self,
        client: Option<IpAddr>,
        sender: Option<&Address>,
    ) -> Result<bool, PolicyError> {
        let text = |part: Option<String>| part.unwrap_or_else(|| NOBODY.into());
        let client = text(client.map(|client| client.to_string()));
        let sender = text(sender.map(Address::to_string));
        let key = format!("{BLOCKED_PREFIX}{client}/{sender}");
        let answer = self.ask(&key).await?;
        let answer: Blocked = serde_json::from_slice(&answer.ok_or(PolicyError::Unknown)?)?;
        Ok(answer.blocked)
    }

    pub(crate) async fn ask(&self, key: &str) -> Result<Option<Vec<u8>>, ClientError> {
        self.0.lookup(key.as_bytes(), b"").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("-/-", None, None)]
    #[case("192.0.2.1/-", Some("192.0.2.1"), None)]
    #[case("2001:db8::1/a@x.org", Some("2001:db8::1"), Some("a@x.org"))]
    #[case("-/a/b@x.org", None, Some("a/b@x.org"))]
    #[case("-/-/-@x.org", None, Some("-/-@x.org"))]
    #[case("-/-@x.org", None, Some("-@x.org"))]
    fn questions(#[case] key: &str, #[case] client: Option<&str>, #[case] sender: Option<&str>) {
        let expected = BlockedQuery {
            client: client.map(|client| client.parse().unwrap()),
            sender: sender.map(|sender| sender.parse().unwrap()),
        };
        assert_eq!(BlockedQuery::parse(key.as_bytes()), Some(expected));
    }

    #[rstest]
    #[case(b"")]
    #[case(b"-")]
    #[case(b"-/")]
    #[case(b"/-")]
    #[case(b"x.org/-")]
    #[case(b"192.0.2.1")]
    #[case(b"192.0.2.0/24/-")]
    #[case(b"-/nobody")]
    #[case(b"-/\xff@x.org")]
    fn no_questions(#[case] key: &[u8]) {
        assert_eq!(BlockedQuery::parse(key), None);
    }
}
