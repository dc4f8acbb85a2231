//! Clients as chat apps are: each logs in, selects its inbox, idles, takes what comes, and some day comes back on a new
//! connection. Each is a task with one TLS connection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::ClientError;
use crate::client::imap::{ImapClient, ImapError};
use crate::relay::PLAIN_PASSWORD;
use crate::target::Endpoint;

/// Logins under way at a time: the processors are busy then, and no login waits for long.
const AT_ONCE: usize = 24;

/// How long a client waits for news before it says `IDLE` again; apps do the same (RFC 2177).
const IDLE: Duration = Duration::from_secs(28 * 60);

/// How often a client tries to get in, and what it waits in between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// How long nothing may happen before a crowd that grows is called stuck.
const STUCK: Duration = Duration::from_secs(120);

/// Connected clients.
pub(super) struct Crowd {
    shared: Arc<Shared>,
    leave: Vec<Arc<Notify>>,
    tasks: JoinSet<()>,
}

/// What the clients have in common.
struct Shared {
    fronts: Vec<Endpoint>,
    domain: String,
    logging_in: Semaphore,
    counts: Counts,
    /// When the message was sent that a client is yet to see, by the client's number.
    under_way: Mutex<BTreeMap<usize, Instant>>,
    latencies: Mutex<Vec<Duration>>,
    complaints: Mutex<BTreeMap<String, usize>>,
}

#[derive(Default)]
struct Counts {
    idling: AtomicUsize,
    logins: AtomicUsize,
    failed: AtomicUsize,
    given_up: AtomicUsize,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Clients that idle now.
    pub(super) idling: usize,
    /// Logins that ended in `IDLE`.
    pub(super) logins: usize,
    /// Attempts that did not, and connections that ended by themselves.
    pub(super) failed: usize,
}

impl Crowd {
    /// Nobody yet.
    pub(super) fn new(fronts: Vec<Endpoint>, domain: &str) -> Self {
        let shared = Shared {
            fronts,
            domain: domain.to_owned(),
            logging_in: Semaphore::new(AT_ONCE),
            counts: Counts::default(),
            under_way: Mutex::default(),
            latencies: Mutex::default(),
            complaints: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            leave: Vec::new(),
            tasks: JoinSet::new(),
        }
    }

    /// How many there are, connected or not.
    pub(super) fn len(&self) -> usize {
        self.leave.len()
    }

    /// The address of a client.
    pub(super) fn address(&self, number: usize) -> String {
        address(number, &self.shared.domain)
    }

    /// Lets more come, until there are so many and all of them idle, or `may_grow` says that it is enough.
    ///
    /// # Errors
    /// None gets in any more, or `may_grow` fails.
    pub(super) async fn grow(
        &mut self,
        to: usize,
        may_grow: impl Fn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut last = (self.tally(), Instant::now());
        let mut wanted = to;
        loop {
            let tally = self.tally();
            let given_up = self.shared.counts.given_up.load(Ordering::Relaxed);
            let there = tally.idling + given_up;
            if there >= wanted && there >= self.len() {
                return Ok(());
            }
            if !may_grow()? {
                wanted = wanted.min(self.len());
            }
            for number in self.len()..wanted.min(there + 2 * AT_ONCE) {
                let leave = Arc::new(Notify::new());
                self.leave.push(Arc::clone(&leave));
                self.tasks
                    .spawn(live(Arc::clone(&self.shared), number, leave));
            }
            if tally != last.0 {
                last = (tally, Instant::now());
            }
            ensure!(
                last.1.elapsed() < STUCK,
                "{} of {} clients idle, and no more get in: {:?}",
                tally.idling,
                self.len(),
                self.complaints()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has a client drop its connection and come back, as an app does that changes networks.
    pub(super) fn reconnect(&self, number: usize) {
        if let Some(leave) = self.leave.get(number) {
            leave.notify_one();
        }
    }

    /// Notes that a message to a client is under way.
    pub(super) fn sent(&self, number: usize) {
        lock(&self.shared.under_way).insert(number, Instant::now());
    }

    /// What has happened so far.
    pub(super) fn tally(&self) -> Tally {
        let counts = &self.shared.counts;
        Tally {
            idling: counts.idling.load(Ordering::Relaxed),
            logins: counts.logins.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
        }
    }

    /// From the final dot to `EXISTS` at the client, for each message since this was last asked.
    pub(super) fn take_latencies(&self) -> Vec<Duration> {
        std::mem::take(&mut lock(&self.shared.latencies))
    }

    /// What went wrong, and how often.
    pub(super) fn complaints(&self) -> BTreeMap<String, usize> {
        lock(&self.shared.complaints).clone()
    }
}

/// The address of an account of the simulation.
pub(super) fn address(number: usize, domain: &str) -> String {
    format!("{number:09}@{domain}")
}

/// A client's life: sessions, until it does not get in any more.
async fn live(shared: Arc<Shared>, number: usize, leave: Arc<Notify>) {
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        match shared.session(number, &leave).await {
            Ok(()) => attempts = 0,
            Err(error) => {
                attempts += 1;
                shared.counts.failed.fetch_add(1, Ordering::Relaxed);
                *lock(&shared.complaints)
                    .entry(error.to_string())
                    .or_default() += 1;
                sleep(PAUSE).await;
            }
        }
    }
    shared.counts.given_up.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    /// One connection, from the login until the client leaves.
    async fn session(&self, number: usize, leave: &Notify) -> Result<(), ImapError> {
        let permit = self.logging_in.acquire().await;
        let address = address(number, &self.domain);
        // Both halves of the accounts are spread over all fronts.
        let front = &self.fronts[(number / 2) % self.fronts.len()];
        let mut client = ImapClient::login(front, &address, PLAIN_PASSWORD).await?;
        client.select("INBOX").await?;
        let mut idle = client.idle().await?;
        drop(permit);
        self.counts.logins.fetch_add(1, Ordering::Relaxed);
        let _idling = Idling::new(&self.counts.idling);
        loop {
            tokio::select! {
                exists = idle.exists(IDLE) => {
                    match exists {
                        Ok(_) => self.seen(number),
                        Err(ImapError::Client(ClientError::Timeout { .. })) => {}
                        Err(error) => return Err(error),
                    }
                }
                () = leave.notified() => return Ok(()),
            }
            idle.done().await?;
            // As an app does that has nothing more to fetch: it took the message, and it is gone from the server.
            client.fetch("1:*").await?;
            client.delete("1:*").await?;
            idle = client.idle().await?;
        }
    }

    fn seen(&self, number: usize) {
        if let Some(sent) = lock(&self.under_way).remove(&number) {
            lock(&self.latencies).push(sent.elapsed());
        }
    }
}

/// One client more that idles, for as long as this lives.
struct Idling<'a>(&'a AtomicUsize);

impl<'a> Idling<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Idling<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
