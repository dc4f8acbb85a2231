//! Push notifications: phones sleep, and the notification server can wake them up.
//!
//! 1. Dovecot's push script says that a message was delivered: it writes the account's address into a file, and waits
//!    for nobody; see [`arrivals`]. Scripts of classic relays set `messagenew` in the metadata dict instead, and are
//!    answered after the next step.
//! 2. A notification is queued for each device token of the account, on a file that outlives us; see [`queue`].
//! 3. The [`sender`] posts each token to `notification_url`. `200` means that the device is woken up, `410` that the
//!    token is of no use any more: it is removed from the account. After anything else the notification waits for 8, 64,
//!    512 and 4096 seconds, as on classic relays, and is then dropped.
//!
//! A notification says that there is something to fetch, not what. So messages that come before it is sent need
//! none of their own. One that comes while it is being sent does: the app may have looked before.
//!
//! What the server has acknowledged, and we have noted, is not sent again. If we die in between, it is.
//!
//! - [`arrivals`]: what was delivered
//! - [`queue`], `worker`: what waits, in a file, and the thread that has it
//! - [`sender`], `client`, `link`: what is sent, over one connection
//! - [`backoff`]: when to try again

pub mod arrivals;
pub mod backoff;
mod client;
mod link;
mod queue;
mod sender;
mod worker;

use std::io;
use std::sync::Arc;

use chatmail::{Address, Config};

use crate::metadata::file::TokenStore;
use crate::metadata::tokens::Token;
use crate::metrics::Metrics;
use queue::New;
pub use queue::{Full, PENDING_MAX};
pub use sender::Sender;
pub use worker::AddError;
use worker::Worker;

/// Takes notifications that are to be sent.
#[derive(Clone, Debug)]
pub struct Push {
    worker: Worker,
}

impl Push {
    /// Opens the queue, and gives what sends what is in it; `None` when the relay has no notification server.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start(
        config: &Config,
        tokens: Arc<TokenStore>,
        metrics: Metrics,
    ) -> io::Result<Option<(Self, Sender)>> {
        let Some(url) = &config.notification_url else {
            return Ok(None);
        };
        let path = &config.notification_queue_path;
        let worker = Worker::start(path, &config.mail_user, metrics.clone())?;
        let authorities = &config.notification_authorities;
        let sender = Sender::new(url, authorities, worker.clone(), tokens, metrics);
        Ok(Some((Self { worker }, sender)))
    }

    /// A message has come for an account with these tokens. The notifications survive our death when this
    /// returns.
    ///
    /// # Errors
    /// They cannot be queued.
    pub async fn new_message(&self, address: &Address, tokens: Vec<Token>) -> Result<(), AddError> {
        let address = address.to_string();
        self.worker.add(New { address, tokens }).await
    }
}
