//! The block list in memory, as the table is at the moment of each question.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::Postgres;
use crate::blocks::{BlockList, Observer, Outcome};

/// The list of a database that others change. Each question asks how often it has changed, and reads it again
/// only then. While the database is away the list holds as it was, for as long as accounts do.
pub struct LiveBlocks {
    postgres: Postgres,
    observer: Observer,
    grace: Duration,
    loaded: RwLock<Option<Loaded>>,
    /// Locked while it is being read.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Loaded {
    list: Arc<BlockList>,
    generation: i64,
    /// When the database last said that it is current.
    confirmed: Instant,
}

impl LiveBlocks {
    /// The list of a database, which is first read when it is first asked for.
    pub fn new(postgres: Postgres, grace: Duration, observer: Observer) -> Self {
        Self {
            postgres,
            observer,
            grace,
            loaded: RwLock::new(None),
            reading: tokio::sync::Mutex::new(()),
        }
    }

    /// The list as it is now.
    ///
    /// # Errors
    /// It cannot be read, or not in full. Temporary: nobody is to be let in because of that.
    pub async fn current(&self) -> Outcome {
        let generation = match self.postgres.blocks_generation().await {
            Ok(generation) => generation,
            Err(error) => {
                let usable = self
                    .loaded()
                    .filter(|loaded| loaded.confirmed.elapsed() < self.grace);
                let error = error.into();
                (self.observer)(Err(&error));
                return usable.map(|loaded| loaded.list).ok_or(Arc::new(error));
            }
        };
        if let Some(list) = self.confirm(generation) {
            return Ok(list);
        }
        let _turn = self.reading.lock().await;
        if let Some(list) = self.confirm(generation) {
            return Ok(list);
        }
        let read = self.postgres.block_list().await;
        (self.observer)(read.as_ref().map(|(_, list)| list));
        let (generation, list) = read.map_err(Arc::new)?;
        let loaded = Loaded {
            list: Arc::new(list),
            generation,
            confirmed: Instant::now(),
        };
        let list = Arc::clone(&loaded.list);
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        Ok(list)
    }

    fn loaded(&self) -> Option<Loaded> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.clone()
    }

    /// The list that was read last, if it is of this generation or a later one.
    fn confirm(&self, generation: i64) -> Option<Arc<BlockList>> {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let loaded = loaded.as_mut()?;
        (loaded.generation >= generation).then(|| {
            loaded.confirmed = Instant::now();
            Arc::clone(&loaded.list)
        })
    }
}

impl fmt::Debug for LiveBlocks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LiveBlocks").finish_non_exhaustive()
    }
}
