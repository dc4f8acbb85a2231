//! The thread that has the queue's file: changes that come at the same time are written together.
//!
//! Whoever adds a message is answered when it is committed. What comes while a batch is being written makes
//! the next batch, so the busier it is, the less each message costs. A second thread brings what was committed to
//! the disk, once in [`SYNC_EVERY`].
//!
//! A file that cannot be used stops neither logins nor mail: messages are then refused, one after the other,
//! and it is tried again after [`REOPEN_AFTER`]. One that is damaged is set aside and begun anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chatmail::database::DatabaseError;
use chatmail::log_limit::LogLimit;
use tokio::sync::{Notify, mpsc, oneshot};

use super::queue::{Due, Full, New, Outcome, Queue, Sync};
use crate::metrics::{Metrics, PushOutcome};

/// Requests that may wait for the thread.
const WAITING_MAX: usize = 1024;

/// The most requests that are answered together.
const TOGETHER_MAX: usize = 512;

/// How long a commit may be in the kernel's hands alone.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How long a file that could not be used is left alone.
const REOPEN_AFTER: Duration = Duration::from_secs(10);

/// How soon to ask again when nothing can be written.
const RETRY_SECONDS: u64 = 1;

/// A message cannot be told. Temporary; the text names no address and no token.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The file.
    #[error("notification queue: {0}")]
    Database(#[from] Arc<DatabaseError>),
    /// There are too many.
    #[error("notification queue: {0}")]
    Full(#[from] Full),
    /// The file was tried a moment ago, or the thread has died.
    #[error("the notification queue is not available")]
    Unavailable,
}

enum Request {
    Add(New, oneshot::Sender<Result<(), AddError>>),
    Settle(i64, Outcome),
    Take(usize, oneshot::Sender<Due>),
}

/// Reaches the thread, which ends with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    requests: mpsc::Sender<Request>,
    /// Told when something may be due that was not.
    news: Arc<Notify>,
}

impl Worker {
    /// Starts the thread. What waits in the file is due at once, or when it was.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(path: &Path, mail_user: &str, metrics: Metrics) -> std::io::Result<Self> {
        let (requests, waiting) = mpsc::channel(WAITING_MAX);
        let news = Arc::new(Notify::new());
        let (dirty, syncs) = sync_channel(1);
        let path: Arc<Path> = path.into();
        let thread = Thread {
            path: Arc::clone(&path),
            mail_user: mail_user.to_owned(),
            queue: None,
            tried: None,
            unsettled: Vec::new(),
            news: Arc::clone(&news),
            dirty,
            metrics,
            trouble: LogLimit::new(),
        };
        thread::Builder::new()
            .name("push-queue".into())
            .spawn(move || thread.run(waiting))?;
        thread::Builder::new()
            .name("push-sync".into())
            .spawn(move || sync_all(&path, &syncs))?;
        Ok(Self { requests, news })
    }

    /// Adds a notification for each token of an account. It survives our death when this returns.
    pub(super) async fn add(&self, new: New) -> Result<(), AddError> {
        let (tell, told) = oneshot::channel();
        let sent = self.requests.send(Request::Add(new, tell)).await;
        sent.map_err(|_| AddError::Unavailable)?;
        told.await.unwrap_or(Err(AddError::Unavailable))
    }

    /// Writes what came of sending a notification, soon.
    pub(super) async fn settle(&self, id: i64, outcome: Outcome) {
        // It fails only when the thread has died; then the notification is sent again.
        let _ = self.requests.send(Request::Settle(id, outcome)).await;
    }

    /// What is to be sent now. Returns after everything that was settled before is written.
    pub(super) async fn take(&self, limit: usize) -> Due {
        let (tell, told) = oneshot::channel();
        let _ = self.requests.send(Request::Take(limit, tell)).await;
        told.await.unwrap_or_default()
    }

    /// Returns when something may be due that was not when it was last looked.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}

struct Thread {
    path: Arc<Path>,
    mail_user: String,
    queue: Option<Queue>,
    /// When opening the file has failed.
    tried: Option<Instant>,
    /// What came of notifications and could not be written yet. Until it is, they are not sent again.
    unsettled: Vec<(i64, Outcome)>,
    news: Arc<Notify>,
    dirty: SyncSender<()>,
    metrics: Metrics,
    trouble: LogLimit,
}

impl Thread {
    fn run(mut self, mut waiting: mpsc::Receiver<Request>) {
        let mut requests = Vec::with_capacity(TOGETHER_MAX);
        while waiting.blocking_recv_many(&mut requests, TOGETHER_MAX) > 0 {
            self.answer(&mut requests);
        }
    }

    fn answer(&mut self, requests: &mut Vec<Request>) {
        let (mut new, mut told, mut takes) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests.drain(..) {
            match request {
                Request::Add(message, tell) => {
                    new.push(message);
                    told.push(tell);
                }
                Request::Settle(id, outcome) => self.unsettled.push((id, outcome)),
                Request::Take(limit, tell) => takes.push((limit, tell)),
            }
        }
        let mut answers = self.write(&new).into_iter();
        for tell in told {
            // Who asked may be gone.
            let _ = tell.send(answers.next().unwrap_or(Err(AddError::Unavailable)));
        }
        for (limit, tell) in takes {
            let _ = tell.send(self.take(limit));
        }
        let pending = self.queue.as_ref().map_or(0, Queue::pending);
        self.metrics.set_pending_pushes(pending);
    }

    /// Writes what is new, and what has not been written yet.
    fn write(&mut self, new: &[New]) -> Vec<Result<(), AddError>> {
        if new.is_empty() && self.unsettled.is_empty() {
            return Vec::new();
        }
        let now = now();
        let unsettled = std::mem::take(&mut self.unsettled);
        let written = match self.queue(!new.is_empty()) {
            Ok(Some(queue)) => Ok(queue),
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
        };
        let written = written.and_then(|queue| {
            let written = queue.write(new, &unsettled, now);
            written.map_err(|error| Some(Arc::new(error)))
        });
        match written {
            Ok(written) => {
                self.metrics
                    .count_pushes(PushOutcome::Dropped, written.dropped);
                if written.news {
                    self.news.notify_one();
                }
                // One that is on its way to the disk is enough.
                let _ = self.dirty.try_send(());
                let added = written.added.into_iter();
                added.map(|added| Ok(added?)).collect()
            }
            Err(error) => {
                self.unsettled = unsettled;
                if let Some(error) = &error {
                    self.complain(error);
                }
                let answer = || match &error {
                    Some(error) => AddError::Database(Arc::clone(error)),
                    None => AddError::Unavailable,
                };
                new.iter().map(|_| Err(answer())).collect()
            }
        }
    }

    fn take(&mut self, limit: usize) -> Due {
        // What is not settled must not be sent again and again while the disk is full.
        let later = Due {
            next: Some(now() + RETRY_SECONDS),
            ..Due::default()
        };
        if !self.unsettled.is_empty() {
            return later;
        }
        let taken = match self.queue(false) {
            Ok(Some(queue)) => queue.take(limit, now()).map_err(Arc::new),
            Ok(None) => {
                // Without a file nothing waits.
                let is_missing = self.tried.is_none();
                return if is_missing { Due::default() } else { later };
            }
            Err(error) => Err(error),
        };
        match taken {
            Ok(due) => {
                self.metrics.count_pushes(PushOutcome::Dropped, due.dropped);
                due
            }
            Err(error) => {
                self.complain(&error);
                later
            }
        }
    }

    /// The open queue; `None` when there is no file and none is to be made, or when it was of no use a
    /// moment ago.
    fn queue(&mut self, make: bool) -> Result<Option<&mut Queue>, Arc<DatabaseError>> {
        if self.queue.is_none() {
            if self
                .tried
                .is_some_and(|tried| tried.elapsed() < REOPEN_AFTER)
            {
                return Ok(None);
            }
            let open = |thread: &Self| match make {
                true => Queue::open_or_create(&thread.path, &thread.mail_user, now()).map(Some),
                false => Queue::open(&thread.path, now()),
            };
            let mut opened = open(self);
            if opened.as_ref().is_err_and(is_damaged) && set_aside(&self.path).is_ok() {
                tracing::error!(
                    "{} was damaged and is begun anew: notifications may be lost",
                    self.path.display()
                );
                opened = open(self);
            }
            self.tried = opened.is_err().then(Instant::now);
            self.queue = opened.map_err(Arc::new)?;
        }
        Ok(self.queue.as_mut())
    }

    fn complain(&mut self, error: &DatabaseError) {
        if let Some(suppressed) = self.trouble.allow() {
            tracing::error!(suppressed, "notifications cannot be queued: {error}");
        }
        // It is opened anew, which sets it aside.
        if is_damaged(error) {
            self.queue = None;
            self.unsettled.clear();
        }
    }
}

/// Whether SQLite finds no sense in a file.
fn is_damaged(error: &DatabaseError) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error {
        DatabaseError::Sqlite { source, .. } => source
            .sqlite_error_code()
            .is_some_and(|code| matches!(code, DatabaseCorrupt | NotADatabase)),
        _ => false,
    }
}

/// Moves a file and its log out of the way.
fn set_aside(path: &Path) -> std::io::Result<()> {
    let beside = |path: &Path, ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    for ending in ["-wal", "-shm"] {
        let log = beside(path, ending);
        if log.exists() {
            std::fs::remove_file(log)?;
        }
    }
    std::fs::rename(path, beside(path, ".broken"))
}

/// Brings to the disk what was committed, until the other thread ends.
fn sync_all(path: &Path, dirty: &Receiver<()>) {
    let trouble = LogLimit::new();
    let mut file = None;
    while let Ok(()) = dirty.recv() {
        // What comes meanwhile is brought there too.
        thread::sleep(SYNC_EVERY);
        match dirty.recv_timeout(Duration::ZERO) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        let synced = open(path, &mut file).and_then(|file| match file {
            Some(file) => file.sync(),
            None => Ok(()),
        });
        if let Err(error) = synced {
            // The file may be another one by now.
            file = None;
            if let Some(suppressed) = trouble.allow() {
                tracing::error!(
                    suppressed,
                    "notifications cannot be brought to the disk: {error}"
                );
            }
        }
    }
}

fn open<'a>(
    path: &Path,
    file: &'a mut Option<Sync>,
) -> Result<Option<&'a mut Sync>, DatabaseError> {
    if file.is_none() {
        *file = Sync::open(path)?;
    }
    Ok(file.as_mut())
}

/// Unix seconds.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
