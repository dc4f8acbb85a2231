//! A stand-in for doveauth's policy dict, which answers on demand what the real one cannot be made to:
//! too late, never, or with a failure. It speaks the real protocol; the end-to-end tests have the real
//! daemon.

use std::path::Path;
use std::sync::Arc;

use chatmail::dict::{self, Failure, Handler};
use chatmail::policy::{BLOCKED_PREFIX, Blocked, BlockedQuery, KEY_PREFIX, Policy};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{ALICE, soon};

/// An account that takes encrypted mail only.
pub const BOB: &str = "bob@chat.example";
/// Accounts that take cleartext too.
pub const OPEN: &str = "open@chat.example";
pub const OPEN_TOO: &str = "open2@chat.example";
/// An account with a full mailbox.
pub const FULL: &str = "full@chat.example";
/// An account on the block list.
pub const BARRED: &str = "barred@chat.example";
/// An account whose lookup ends when the test says so.
pub const SLOW: &str = "slow@chat.example";
/// An account that cannot be read.
pub const BROKEN: &str = "broken@chat.example";

/// Who is on the block list.
pub const MALLORY: &str = "mallory@[192.0.2.66]";
pub const BLOCKED_CLIENT: &str = "192.0.2.99";
/// A sender whose lookup ends when the test says so.
pub const SLOW_SENDER: &str = "slow@[192.0.2.1]";

/// A running stand-in.
pub struct Doveauth {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    waiting: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Doveauth {
    /// Starts it on this socket.
    pub fn start(socket: &Path) -> Self {
        let listener = chatmail::listen::unix(socket, 0o600).unwrap();
        let (stop, stopped) = watch::channel(false);
        let (waiting, released) = (watch::Sender::new(0), watch::Sender::new(false));
        let accounts = Accounts {
            waiting: waiting.clone(),
            released: released.clone(),
        };
        let task = tokio::spawn(dict::serve("policy", listener, Arc::new(accounts), stopped));
        Self {
            stop,
            task,
            waiting,
            released,
        }
    }

    /// Waits until so many lookups were made that wait to be released.
    pub async fn asked(&self, lookups: usize) {
        let mut waiting = self.waiting.subscribe();
        soon(waiting.wait_for(|&waiting| waiting >= lookups))
            .await
            .unwrap();
    }

    /// Lets all lookups end.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Ends it.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        soon(self.task).await.unwrap();
    }
}

struct Accounts {
    waiting: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Accounts {
    async fn account(&self, address: &str) -> Result<Policy, Failure> {
        let there = Policy {
            exists: true,
            ..Policy::default()
        };
        Ok(match address {
            ALICE | BOB => there,
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
            SLOW => {
                self.wait().await;
                there
            }
            BROKEN => return Err(Failure("the store cannot be read".to_owned())),
            _ => Policy::default(),
        })
    }

    async fn is_blocked(&self, question: BlockedQuery) -> bool {
        let client = question.client.map(|client| client.to_string());
        let sender = question.sender.map(|sender| sender.to_string());
        if sender.as_deref() == Some(SLOW_SENDER) {
            self.wait().await;
        }
        client.as_deref() == Some(BLOCKED_CLIENT) || sender.as_deref() == Some(MALLORY)
    }

    async fn wait(&self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let mut released = self.released.subscribe();
        released.wait_for(|released| *released).await.unwrap();
    }
}

impl Handler for Accounts {
    async fn lookup(&self, key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let answer = if let Some(address) = key.strip_prefix(KEY_PREFIX.as_bytes()) {
            let address = str::from_utf8(address).unwrap();
            serde_json::to_vec(&self.account(address).await?)
        } else {
            let question = key.strip_prefix(BLOCKED_PREFIX.as_bytes()).unwrap();
            let blocked = self
                .is_blocked(BlockedQuery::parse(question).unwrap())
                .await;
            serde_json::to_vec(&Blocked { blocked })
        };
        Ok(Some(answer.unwrap()))
    }
}
