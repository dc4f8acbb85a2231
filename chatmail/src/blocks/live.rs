//! The list in memory, as the table is at the moment of each question.
//!
//! Each question looks whether the file is the one that was read and whether SQLite has seen a
//! change since (`PRAGMA data_version`): some microseconds, no reading. So a change holds for
//! every question that is asked after it was made. Only after a change is the table read again,
//! on a thread of its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::table::{generation, read};
use super::{BlockList, BlocksError};
use crate::database::{Database, FileState, SCHEMA};
use crate::pace::Pace;
use crate::postgres::{LiveBlocks, Postgres};

/// How long a reader waits for a file that is locked. Writers do not lock readers out, so this is
/// for the moments in which SQLite mends a file after a crash.
const PATIENCE: Duration = Duration::from_secs(2);

/// The list, or why there is none.
pub type Outcome = Result<Arc<BlockList>, Arc<BlocksError>>;

/// Told of each reading of the table: how it went.
pub type Observer = Box<dyn Fn(Result<&BlockList, &BlocksError>) + Send + Sync>;

/// The list of a file, or of a database, that others change.
#[derive(Debug)]
pub struct LiveBlockList(Source);

#[derive(Debug)]
enum Source {
    File(FileList),
    Postgres(LiveBlocks),
}

impl LiveBlockList {
    /// The list in this file, which is first read when it is first asked for.
    pub fn new(path: impl Into<PathBuf>, observer: Observer) -> Self {
        Self(Source::File(FileList::new(path, observer)))
    }

    /// The list in a database, which holds for `grace` when that is away.
    pub fn in_postgres(postgres: Postgres, grace: Duration, observer: Observer) -> Self {
        Self(Source::Postgres(LiveBlocks::new(postgres, grace, observer)))
    }

    /// The list as it is now. Without a file it is empty.
    ///
    /// # Errors
    /// It cannot be read, or not in full. Temporary: nobody is to be let in because of that.
    pub async fn current(&self) -> Outcome {
        match &self.0 {
            Source::File(list) => list.current().await,
            Source::Postgres(list) => list.current().await,
        }
    }
}

/// The list of a file.
struct FileList {
    path: PathBuf,
    observer: Arc<Observer>,
    pace: Arc<Pace>,
    loaded: Arc<Mutex<Option<Loaded>>>,
    /// Readings that have been begun.
    begun: AtomicU64,
    /// Why the last one failed, if it did. Locked while one is going on.
    failed: tokio::sync::Mutex<Option<Arc<BlocksError>>>,
}

impl FileList {
    fn new(path: impl Into<PathBuf>, observer: Observer) -> Self {
        Self {
            path: path.into(),
            observer: Arc::new(observer),
            pace: Arc::new(Pace::new()),
            loaded: Arc::default(),
            begun: AtomicU64::new(0),
            failed: tokio::sync::Mutex::new(None),
        }
    }

    async fn current(&self) -> Outcome {
        match self.unchanged().await {
            Some(list) => Ok(list),
            None => self.read_again().await,
        }
    }

    /// The list that was read last, if it is still the one in the file.
    async fn unchanged(&self) -> Option<Arc<BlockList>> {
        if self.pace.is_quick()
            && let Ok(mut loaded) = self.loaded.try_lock()
        {
            let look = || loaded.as_mut()?.if_current(&self.path);
            return self.pace.observe(look);
        }
        let (loaded, pace) = (Arc::clone(&self.loaded), Arc::clone(&self.pace));
        let path = self.path.clone();
        let look = move || {
            let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
            pace.observe(|| loaded.as_mut()?.if_current(&path))
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    /// Reads the table, unless somebody does who began after this was called.
    async fn read_again(&self) -> Outcome {
        let begun = self.begun.load(SeqCst);
        let mut failed = self.failed.lock().await;
        if let Some(list) = self.unchanged().await {
            return Ok(list);
        }
        if self.begun.load(SeqCst) != begun
            && let Some(error) = &*failed
        {
            return Err(Arc::clone(error));
        }
        self.begun.fetch_add(1, SeqCst);
        // Whoever asks may go away while it is read; then nobody says how it ended.
        *failed = None;
        let (loaded, observer) = (Arc::clone(&self.loaded), Arc::clone(&self.observer));
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || load_into(&loaded, &path, &observer));
        let outcome = read.await.unwrap_or(Err(BlocksError::Worker));
        let outcome = outcome.map_err(Arc::new);
        *failed = outcome.as_ref().err().cloned();
        outcome
    }
}

impl fmt::Debug for FileList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FileList")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A list, and what must not have changed for it to be current.
struct Loaded {
    list: Arc<BlockList>,
    /// None: there was no file.
    source: Option<Opened>,
}

struct Opened {
    file: FileState,
    connection: Connection,
    /// Changes with each change that others make to the file (`PRAGMA data_version`).
    data_version: i64,
    /// Changes with each change of our table.
    generation: i64,
}

impl Loaded {
    /// Of a file that is not there.
    fn empty() -> Self {
        Self {
            list: Arc::new(BlockList::from_iter([])),
            source: None,
        }
    }

    /// The list, unless it may have changed. What cannot be looked at may have changed.
    fn if_current(&mut self, path: &Path) -> Option<Arc<BlockList>> {
        let file = FileState::of(path).ok()?;
        let same = match (&mut self.source, file) {
            (None, None) => true,
            (Some(source), Some(file)) => {
                source.file == file && source.is_unchanged().unwrap_or(false)
            }
            _ => false,
        };
        same.then(|| Arc::clone(&self.list))
    }
}

impl Opened {
    fn is_unchanged(&mut self) -> rusqlite::Result<bool> {
        let data_version = data_version(&self.connection)?;
        if data_version == self.data_version {
            return Ok(true);
        }
        // Another table of the same file, perhaps.
        let unchanged = generation(&self.connection)? == self.generation;
        if unchanged {
            self.data_version = data_version;
        }
        Ok(unchanged)
    }
}

/// Reads the table, keeps what was read for the next questions, and lets go of what was before.
fn load_into(
    loaded: &Mutex<Option<Loaded>>,
    path: &Path,
    observer: &Observer,
) -> Result<Arc<BlockList>, BlocksError> {
    let read = load(path);
    observer(read.as_ref().map(|loaded| &*loaded.list));
    let (now, outcome) = match read {
        Ok(now) => {
            let list = Arc::clone(&now.list);
            (Some(now), Ok(list))
        }
        Err(error) => (None, Err(error)),
    };
    let before = std::mem::replace(
        &mut *loaded.lock().unwrap_or_else(PoisonError::into_inner),
        now,
    );
    // A long list takes some milliseconds: not under the lock.
    drop(before);
    outcome
}

fn load(path: &Path) -> Result<Loaded, BlocksError> {
    // Before it is opened: should it be replaced in between, the next question sees that.
    let Some(file) = FileState::of(path)? else {
        return Ok(Loaded::empty());
    };
    let Some(database) = Database::open(&SCHEMA, path, PATIENCE)? else {
        return Ok(Loaded::empty());
    };
    let error = database.error();
    snapshot(database.into_reader()?, file).map_err(error)?
}

/// Reads the table and everything beside it in one transaction, so that all of it is of the same
/// moment. The outer error is SQLite's.
fn snapshot(
    connection: Connection,
    file: FileState,
) -> rusqlite::Result<Result<Loaded, BlocksError>> {
    let moment = connection.unchecked_transaction()?;
    let generation = generation(&moment)?;
    let data_version = data_version(&moment)?;
    let list = read(&moment)?;
    moment.commit()?;
    // From here on it is asked by a thread that does not wait.
    connection.busy_timeout(Duration::ZERO)?;
    Ok(list.map(|list| Loaded {
        list: Arc::new(list),
        source: Some(Opened {
            file,
            connection,
            data_version,
            generation,
        }),
    }))
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}

#[cfg(test)]
mod tests;
