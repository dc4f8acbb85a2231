//! Connections that have done their work and wait for the next message.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::Connection;

/// Most connections that wait. Each keeps a process of the server's busy.
const COUNT_MAX: usize = 16;

/// How long one waits, and at most as long again until it is closed.
const AGE_MAX: Duration = Duration::from_secs(5);

/// The waiting connections of a client.
#[derive(Debug, Default)]
pub(super) struct Idle {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    connections: Vec<(Instant, Connection)>,
    /// Whether a task closes the old ones.
    is_swept: bool,
}

impl Idle {
    /// The one that was used last, unless its server has closed it.
    pub(super) async fn take(&self) -> Option<Connection> {
        loop {
            let newest = self.kept().connections.pop();
            let (since, mut connection) = newest?;
            if since.elapsed() < AGE_MAX && connection.is_quiet().await {
                return Some(connection);
            }
        }
    }

    /// Lets a connection wait, if there is room for it.
    pub(super) fn keep(self: &Arc<Self>, connection: Connection) {
        let mut kept = self.kept();
        if kept.connections.len() < COUNT_MAX {
            kept.connections.push((Instant::now(), connection));
        }
        if !kept.is_swept {
            kept.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Those that have waited long enough; `None` when none waits and none is to be looked after.
    fn old(&self) -> Option<Vec<Connection>> {
        let mut kept = self.kept();
        if kept.connections.is_empty() {
            kept.is_swept = false;
            return None;
        }
        let young = |(since, _): &(Instant, Connection)| since.elapsed() < AGE_MAX;
        let all = &mut kept.connections;
        let count = all.iter().position(young).unwrap_or(all.len());
        Some(
            all.drain(..count)
                .map(|(_, connection)| connection)
                .collect(),
        )
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes old connections until there are none or the client is gone.
async fn sweep(idle: Weak<Idle>) {
    loop {
        sleep(AGE_MAX).await;
        let old = idle.upgrade().and_then(|idle| idle.old());
        let Some(old) = old else { return };
        for connection in old {
            connection.quit().await;
        }
    }
}
