//! The rules of port 25: who gets mail from other relays, and that it is encrypted and signed.
//!
//! At `RCPT`, so that no bounce goes to anybody: an account that does not exist, is blocked or full,
//! a sender or a peer on the block list. After the final dot: `From` is one mailbox, it is not on the
//! block list, and its domain signed the message (DKIM, RFC 6376); an author at an address literal
//! has no DNS and must be where the mail comes from. Encrypted mail and securejoin requests pass, and
//! delivery reports ([`delivery_report`]); other cleartext passes when each of its recipients takes
//! it. An envelope sender of another domain than the author's becomes `<>`: nobody vouches for it, so
//! nobody is to get a bounce there.
//!
//! [`Message`] knows no milter: the same rules hold for mail that comes by HTTP, where
//! [`WireMessage`] reads what no MTA has looked at, and [`Policy::accept_unsigned`] may let mail in
//! from domains that sign nothing. Whatever cannot be found out now, be it doveauth's or DNS's, is a
//! temporary failure and never a pass.

pub mod delivery_report;
mod message;
mod refusal;
mod session;
mod unsigned;
mod wire;

use std::net::IpAddr;

use chatmail::config::AcceptUnsigned;
use chatmail::dns::Dns;
use chatmail::log_limit::LogLimit;
use chatmail::policy::{Policy as AccountPolicy, PolicyClient, PolicyError};
use chatmail::{Address, Config};

use crate::dkim::KeyCache;
use crate::metrics::Metrics;

pub use message::{Message, Passed};
pub use refusal::{RecipientRefusal, Refusal};
pub use session::{Incoming, log};
pub use wire::WireMessage;

use unsigned::Unsigned;

/// What holds for all messages: where accounts, keys and the block list are, and the counters.
#[derive(Debug)]
pub struct Policy {
    accounts: PolicyClient,
    keys: KeyCache,
    metrics: Metrics,
    complaints: LogLimit,
    /// Without it mail must be signed.
    unsigned: Option<Unsigned>,
}

/// doveauth does not answer, which was logged. Temporary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unavailable;

impl Policy {
    /// The policy that asks doveauth at `policy_socket`; `keys` may be shared, `metrics` count what
    /// becomes of messages.
    pub fn new(config: &Config, keys: KeyCache, metrics: Metrics) -> Self {
        Self {
            accounts: PolicyClient::new(&config.policy_socket),
            keys,
            metrics,
            complaints: LogLimit::new(),
            unsigned: None,
        }
    }

    /// Lets mail in that carries no signature of its author's domain, from whom `accept` says. A
    /// signature that is there must be valid all the same.
    pub fn accept_unsigned(self, accept: AcceptUnsigned, dns: Dns) -> Self {
        Self {
            unsigned: Some(Unsigned { accept, dns }),
            ..self
        }
    }

    async fn account(&self, address: &Address) -> Result<AccountPolicy, Unavailable> {
        self.answered(self.accounts.lookup(address).await)
    }

    async fn is_blocked(
        &self,
        client: Option<IpAddr>,
        address: Option<&Address>,
    ) -> Result<bool, Unavailable> {
        if client.is_none() && address.is_none() {
            return Ok(false);
        }
        self.answered(self.accounts.is_blocked(client, address).await)
    }

    /// Errors name no address, so they may be logged.
    fn answered<T>(&self, answer: Result<T, PolicyError>) -> Result<T, Unavailable> {
        answer.map_err(|error| {
            if let Some(suppressed) = self.complaints.allow() {
                tracing::error!(suppressed, "Mail from outside has to wait: {error}");
            }
            Unavailable
        })
    }
}
