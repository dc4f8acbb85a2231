//! A stand-in for doveauth's policy dict, which answers on demand what the real one cannot be made to:
//! too late, never, or with a failure. It speaks the real protocol; the end-to-end tests have the real
//! daemon.

use std::path::Path;
use std::sync::Arc;

use chatmail::dict::{self, Failure, Handler};
use chatmail::policy::{KEY_PREFIX, Policy};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::soon;

/// An account that takes encrypted mail only.
pub const BOB: &str = "bob@chat.example";
/// Accounts that take cleartext too.
pub const OPEN: &str = "open@chat.example";
pub const OPEN_TOO: &str = "open2@chat.example";
/// An account with a full mailbox.
pub const FULL: &str = "full@chat.example";
/// An account on the block list.
pub const BARRED: &str = "barred@chat.example";
/// An account whose lookup never ends.
pub const SLOW: &str = "slow@chat.example";
/// An account that cannot be read.
pub const BROKEN: &str = "broken@chat.example";

/// Who is on the block list.
pub const MALLORY: &str = "mallory@[192.0.2.66]";
pub const BLOCKED_CLIENT: &str = "192.0.2.99";
/// A sender whose lookup never ends.
pub const SLOW_SENDER: &str = "slow@[192.0.2.1]";

/// A running stand-in.
pub struct Doveauth {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Doveauth {
    /// Starts it on this socket.
    pub fn start(socket: &Path) -> Self {
        let listener = chatmail::listen::unix(socket, 0o600).unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(dict::serve("policy", listener, Arc::new(Accounts), stopped));
        Self { stop, task }
    }

    /// Ends it.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        soon(self.task).await.unwrap();
    }
}

struct Accounts;

impl Handler for Accounts {
    async fn lookup(&self, key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let key = str::from_utf8(key).unwrap();
        if let Some(address) = key.strip_prefix(KEY_PREFIX) {
            let policy = account(address).await?;
            return Ok(Some(serde_json::to_vec(&policy).unwrap()));
        }
        let blocked = key.strip_prefix("shared/blocked/").unwrap();
        let (client, address) = blocked.split_once('/').unwrap();
        if address == SLOW_SENDER {
            std::future::pending::<()>().await;
        }
        let blocked = client == BLOCKED_CLIENT || address == MALLORY;
        Ok(Some(serde_json::to_vec(&blocked).unwrap()))
    }
}

async fn account(address: &str) -> Result<Policy, Failure> {
    let there = Policy {
        exists: true,
        ..Policy::default()
    };
    Ok(match address {
        BOB => there,
        OPEN | OPEN_TOO => Policy {
            cleartext: true,
            ..there
        },
        FULL => Policy {
            over_quota: true,
            ..there
        },
        BARRED => Policy {
            blocked: true,
            ..there
        },
        SLOW => std::future::pending().await,
        BROKEN => return Err(Failure("the store cannot be read".to_owned())),
        _ => Policy::default(),
    })
}
