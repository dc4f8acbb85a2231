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
//! What core sends by itself (read receipts, syncs between devices) it limits to a burst of three messages and
//! then one a second, in which what people send counts too. What people send waits for nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::fs;
use tokio::process::Command;

mod account;
mod contact;
pub mod install;
mod names;
pub mod picture;
mod rpc;
pub mod webxdc;

pub use account::{Account, ChatId, IncomingMessage, MessageId};
pub use contact::make_contact;
pub use rpc::{Event, RpcError};

use crate::dns::Dns;

/// How long a client may take for one step that goes through the relay.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The library with JSON-RPC and the token of a device.
const DEVICE: &str = include_str!("device.py");

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
        let program = Command::new(install::server_program().await?);
        Self::started(rpc::Rpc::start(program, folder, |program| {
            Ok(program.spawn()?)
        })?)
        .await
    }

    /// As [`DeltaChat::start`], where names are those that a testbed's DNS knows.
    ///
    /// # Errors
    /// As there, or it cannot be made to ask that DNS.
    pub async fn start_with_names(folder: &Path, dns: &Dns) -> anyhow::Result<Self> {
        let program = Command::new(install::server_program().await?);
        let spawn = |program: &mut Command| names::spawn(program, folder, dns);
        Self::started(rpc::Rpc::start(program, folder, spawn)?).await
    }

    /// As [`DeltaChat::start`], on a device that is woken up by pushes with this token. It is the library that
    /// apps for phones have in them, since the program knows no tokens, and an older one.
    ///
    /// # Errors
    /// As there.
    pub async fn start_with_device_token(folder: &Path, token: &str) -> anyhow::Result<Self> {
        let library = install::library().await?;
        fs::create_dir_all(folder).await?;
        let script = folder.join("device.py");
        fs::write(&script, DEVICE)
            .await
            .with_context(|| format!("writing {}", script.display()))?;
        let mut program = Command::new("python3");
        program.arg(script).arg(library).arg(token);
        Self::started(rpc::Rpc::start(program, folder, |program| {
            Ok(program.spawn()?)
        })?)
        .await
    }

    async fn started(rpc: rpc::Rpc) -> anyhow::Result<Self> {
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
