//! A stand-in for doveauth's policy dict. What an account is like stands in its name.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use chatmail::dict::{self, Failure, Handler};
use chatmail::policy::{BLOCKED_PREFIX, Blocked, BlockedQuery, KEY_PREFIX, Policy};
use chatmail::registration::{self, Answer, Answered, Question};
use tokio::sync::watch;

/// A client on the block list.
pub const BLOCKED_CLIENT: &str = "192.0.2.99";

pub struct Doveauth {
    _stop: watch::Sender<bool>,
    lookups: Arc<AtomicUsize>,
    registration: Arc<Mutex<Option<Answer>>>,
    empty: Arc<AtomicBool>,
}

impl Doveauth {
    pub fn start(socket: &Path) -> Self {
        let listener = chatmail::listen::unix(socket, 0o600).unwrap();
        let (stop, stopped) = watch::channel(false);
        let lookups = Arc::<AtomicUsize>::default();
        let empty = Arc::<AtomicBool>::default();
        let registration = Arc::new(Mutex::new(Some(Answer::Open)));
        let accounts = Accounts(lookups.clone(), registration.clone(), empty.clone());
        tokio::spawn(dict::serve("policy", listener, Arc::new(accounts), stopped));
        Self {
            _stop: stop,
            lookups,
            registration,
            empty,
        }
    }

    /// From now on there is no account.
    pub fn has_no_accounts(&self) {
        self.empty.store(true, SeqCst);
    }

    /// What it says from now on when it is asked whether accounts can be made; `None`: that it cannot tell.
    pub fn answers(&self, answer: Option<Answer>) {
        *self.registration.lock().unwrap() = answer;
    }

    /// How many accounts it was asked for.
    pub fn lookups(&self) -> usize {
        self.lookups.load(SeqCst)
    }
}

struct Accounts(
    Arc<AtomicUsize>,
    Arc<Mutex<Option<Answer>>>,
    Arc<AtomicBool>,
);

impl Handler for Accounts {
    async fn lookup(&self, key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let key = str::from_utf8(key).unwrap();
        let answer = if let Some(name) = key.strip_prefix(KEY_PREFIX) {
            self.0.fetch_add(1, SeqCst);
            if name.starts_with("broken") {
                return Err(Failure("the store cannot be read".to_owned()));
            }
            serde_json::to_vec(&Policy {
                exists: !name.starts_with("nobody")
                    && name.ends_with("@chat.example")
                    && !self.2.load(SeqCst),
                cleartext: name.starts_with("open"),
                blocked: name.starts_with("barred"),
                over_quota: name.starts_with("full"),
            })
        } else if let Some(question) = key.strip_prefix(registration::KEY_PREFIX) {
            let question = Question::parse(question.as_bytes()).unwrap();
            let answer = match (*self.1.lock().unwrap(), question.invite) {
                (Some(Answer::Invited), None) => Answer::InviteNeeded,
                (Some(answer), _) => answer,
                (None, _) => return Err(Failure("invites: the file is broken".to_owned())),
            };
            serde_json::to_vec(&Answered { answer })
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
