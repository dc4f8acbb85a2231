//! A stand-in for doveauth's policy dict. What an account is like stands in its name.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use chatmail::dict::{self, Failure, Handler};
use chatmail::policy::{BLOCKED_PREFIX, Blocked, BlockedQuery, KEY_PREFIX, Policy};
use tokio::sync::watch;

/// A client on the block list.
pub const BLOCKED_CLIENT: &str = "192.0.2.99";

pub struct Doveauth {
    _stop: watch::Sender<bool>,
    lookups: Arc<AtomicUsize>,
}

impl Doveauth {
    pub fn start(socket: &Path) -> Self {
        let listener = chatmail::listen::unix(socket, 0o600).unwrap();
        let (stop, stopped) = watch::channel(false);
        let lookups = Arc::<AtomicUsize>::default();
        let accounts = Accounts(lookups.clone());
        tokio::spawn(dict::serve("policy", listener, Arc::new(accounts), stopped));
        Self {
            _stop: stop,
            lookups,
        }
    }

    /// How many accounts it was asked for.
    pub fn lookups(&self) -> usize {
        self.lookups.load(SeqCst)
    }
}

struct Accounts(Arc<AtomicUsize>);

impl Handler for Accounts {
    async fn lookup(&self, key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let key = str::from_utf8(key).unwrap();
        let answer = if let Some(name) = key.strip_prefix(KEY_PREFIX) {
            self.0.fetch_add(1, SeqCst);
            if name.starts_with("broken") {
                return Err(Failure("the store cannot be read".to_owned()));
            }
            serde_json::to_vec(&Policy {
                exists: !name.starts_with("nobody") && name.ends_with("@chat.example"),
                cleartext: name.starts_with("open"),
                blocked: name.starts_with("barred"),
                over_quota: name.starts_with("full"),
            })
        } else {
            let question = key.strip_prefix(BLOCKED_PREFIX).unwrap();
            let question = BlockedQuery::parse(question.as_bytes()).unwrap();
            let client = question.client.map(|client| client.to_string());
            let blocked = client.as_deref() == Some(BLOCKED_CLIENT);
            serde_json::to_vec(&Blocked { blocked })
        };
        Ok(Some(answer.unwrap()))
    }
}
