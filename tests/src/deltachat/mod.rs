//! Real Delta Chat clients.
//!
//! [`DeltaChat`] runs `deltachat-rpc-server`, the core of every Delta Chat app as a program, and
//! speaks JSON-RPC with it over its standard input and output. PyPI's `deltachat-rpc-client` does
//! the same in Python, but its waits have no time limit, so a relay that loses a message would hang
//! a test instead of failing it; hence this driver, in which every wait ends.
//!
//! The program comes from PyPI (see [`install`]): the first use needs the network and Debian's
//! `python3-venv`; later ones find it in the cache folder.
//!
//! Core itself sends a burst of three messages and then one a second.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

mod account;
pub mod install;
pub mod picture;
mod rpc;
pub mod webxdc;

pub use account::{Account, ChatId, IncomingMessage, MessageId, make_contact};
pub use rpc::{Event, RpcError};

/// How long a client may take for one step that goes through the relay.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `deltachat-rpc-server`, with any number of accounts. Dropping it ends the program.
pub struct DeltaChat {
    rpc: rpc::Rpc,
}

impl DeltaChat {
    /// Starts the program with its data and its log (`deltachat-rpc-server.log`) below `folder`,
    /// installing it first when it is not in the cache.
    ///
    /// # Errors
    /// It cannot be installed or does not start.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let program = install::server_program().await?;
        let rpc = rpc::Rpc::start(&program, folder)?;
        let version = rpc
            .call("get_system_info", json!([]))
            .await
            .context("starting Delta Chat")?;
        tracing::debug!(%version, "Delta Chat core runs");
        Ok(Self { rpc })
    }

    /// Makes an account without an address; [`Account::login`] gives it one.
    ///
    /// # Errors
    /// The program failed.
    pub async fn add_account(&self) -> anyhow::Result<Account> {
        Account::add(self.rpc.clone()).await
    }
}
