//! How mail to and from each peer fares.
//!
//! Attempts are counted by peer, direction and transport in buckets of five minutes, which are kept for
//! 7 days. Counting never waits: it adds to what is pending in memory, at most 4096 buckets of 2.5 KiB,
//! and every few seconds another thread writes that into the database. What operators see is read from
//! there, so memory does not grow with the number of peers.
//!
//! The file does not grow without end either: it holds at most 10 000 peers, of which those go first that
//! mail never went to or came from, then those that were not heard of for longest; and at most two million
//! buckets, of which the oldest go first. Strangers get no row by sending: what comes in counts only for a
//! domain that has proved itself.

mod figures;
mod histogram;
mod pending;
mod reports;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chatmail::database::DatabaseError;
use chatmail::log_limit::LogLimit;
use chatmail::{Config, Domain};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use crate::daemon::{Serving, StartError, Stop, stopped};
use crate::{database, postfix_log, redaction};
use pending::{Key, PENDING_MAX, Pending};
use store::Store;

pub use figures::{PeerFigures, SpanFigures, WayFigures};
pub use histogram::{Histogram, LONGEST, SHORTEST};

/// How long a bucket is.
const SLOT_SECONDS: i64 = 300;

/// How many buckets lie before the current one in an hour, a day, and all the time that they are kept.
const HOUR_SLOTS: i64 = 12;
const DAY_SLOTS: i64 = 24 * HOUR_SLOTS;
const KEPT_SLOTS: i64 = 7 * DAY_SLOTS;

/// How often what is pending is written.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// Peers that wait for whoever reads them.
const READ_AHEAD: usize = 16;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
struct Limits {
    peers: usize,
    buckets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 10_000,
            buckets: 2_000_000,
        }
    }
}

/// Counts attempts. Clones share the counts; a call never waits.
///
/// The default one keeps nothing beyond what is pending, for tests.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    shared: Arc<Shared>,
}

/// One try to move a message, or one message that came.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The peer: one that we send to, or one that has proved who it is.
    pub peer: Domain,
    /// Which way the message went.
    pub direction: Direction,
    /// What carried it.
    pub transport: Transport,
    /// Whether it was taken; else why not, without addresses.
    pub outcome: Result<(), String>,
    /// How long it took.
    pub took: Duration,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// From the peer to us.
    #[serde(rename = "in")]
    Inbound,
    /// From us to the peer.
    #[serde(rename = "out")]
    Outbound,
}

/// What carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// `POST /mxdeliv`.
    Mxdeliv,
    /// SMTP.
    Smtp,
}

/// Why figures cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// The file cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The thread that reads or writes them has died.
    #[error("the thread that reads the figures failed")]
    Worker,
}

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    /// There is much to write.
    much: Notify,
    kept: Option<Kept>,
    complaints: LogLimit,
}

/// Where figures are kept.
struct Kept {
    config: Config,
    store: Mutex<Store>,
    clock: Clock,
}

/// Tells the time.
type Clock = Box<dyn Fn() -> SystemTime + Send + Sync>;

impl Statistics {
    /// Opens the figures that are kept in `mxdeliv_database_path`.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub fn open(config: &Config) -> Result<Self, StatisticsError> {
        Self::with(config, Limits::default(), Box::new(SystemTime::now))
    }

    fn with(config: &Config, limits: Limits, clock: Clock) -> Result<Self, StatisticsError> {
        let kept = Kept {
            config: config.clone(),
            store: Mutex::new(Store::new(database::open(config)?, limits)),
            clock,
        };
        let mut shared = Shared::default();
        shared.kept = Some(kept);
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Writes figures down now and then and listens for what filtermail and Postfix tell, until it is
    /// told to stop.
    ///
    /// # Errors
    /// A socket cannot be bound.
    pub fn keep(&self, config: &Config, stop: Stop) -> Result<Serving, StartError> {
        let reports = reports::bind(config, self.clone(), stop.clone())?;
        let log = postfix_log::follow(config, self.clone(), stop.clone());
        let writing = self.clone().write_until(stop);
        Ok(Box::pin(async move {
            tokio::join!(reports, log, writing);
        }))
    }

    /// Counts an attempt.
    pub fn record(&self, attempt: Attempt) {
        let now = self.shared.now();
        let key = Key {
            peer: attempt.peer,
            direction: attempt.direction,
            transport: attempt.transport,
            slot: now.div_euclid(SLOT_SECONDS),
        };
        let outcome = match attempt.outcome {
            Ok(()) => Ok(attempt.took),
            Err(why) => Err(redaction::without_addresses(&why)),
        };
        let mut pending = lock(&self.shared.pending);
        if let Some(counts) = pending.bucket(key) {
            counts.add(outcome, now);
        }
        if pending.len() >= PENDING_MAX / 2 {
            self.shared.much.notify_one();
        }
    }

    /// The figures of all peers in the order of their names, or of one of them. They come one by one, as
    /// fast as they are taken; after an error there are no more.
    pub fn peers(
        &self,
        only: Option<Domain>,
    ) -> mpsc::Receiver<Result<PeerFigures, StatisticsError>> {
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || {
            let send = |figures| sender.blocking_send(figures).is_ok();
            if let Err(error) = shared.read(only.as_ref(), |figures| send(Ok(figures))) {
                send(Err(error.into()));
            }
        });
        receiver
    }

    async fn write_until(self, stop: Stop) {
        let mut stop = std::pin::pin!(stopped(stop));
        let mut timer = interval(WRITE_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                () = &mut stop => true,
                _ = timer.tick() => false,
                () = self.shared.much.notified() => false,
            };
            let shared = self.shared.clone();
            // An error here is a panic, which has been reported.
            let _ = tokio::task::spawn_blocking(move || shared.write()).await;
            if last {
                return;
            }
        }
    }
}

impl Shared {
    /// In seconds since 1970.
    fn now(&self) -> i64 {
        let clock = self.kept.as_ref().map(|kept| &kept.clock);
        let now = clock.map_or_else(SystemTime::now, |clock| clock());
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// Writes what is pending; when that fails it stays pending.
    fn write(&self) {
        let Some(kept) = &self.kept else { return };
        let slot = self.now().div_euclid(SLOT_SECONDS);
        let mut store = lock(&kept.store);
        let (buckets, lost) = lock(&self.pending).take();
        if lost > 0 {
            tracing::warn!("{lost} attempts to move mail are missing from the figures");
        }
        if let Err(error) = store.write(&buckets, slot) {
            lock(&self.pending).put_back(buckets);
            if let Some(suppressed) = self.complaints.allow() {
                tracing::error!(suppressed, "cannot write figures of peers: {error}");
            }
        }
    }

    /// Reads over a connection of its own: whoever reads slowly keeps nobody from writing.
    fn read(
        &self,
        only: Option<&Domain>,
        show: impl FnMut(PeerFigures) -> bool,
    ) -> Result<(), DatabaseError> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        self.write();
        let slot = self.now().div_euclid(SLOT_SECONDS);
        let mut store = Store::new(database::open(&kept.config)?, Limits::default());
        store.read(only, slot, show)
    }
}

/// Writes what was counted after the last time, while other parts of the daemon came to their end.
impl Drop for Shared {
    fn drop(&mut self) {
        self.write();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Direction {
    /// In a word, for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "in",
            Self::Outbound => "out",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Inbound, Self::Outbound];
        all.into_iter().find(|direction| direction.as_str() == text)
    }
}

impl Transport {
    /// In a word, for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mxdeliv => "mxdeliv",
            Self::Smtp => "smtp",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Mxdeliv, Self::Smtp];
        all.into_iter().find(|transport| transport.as_str() == text)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
