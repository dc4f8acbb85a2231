//! Lookups in a dict, for our own daemons.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::codec::{Malformed, escape_into, unescape};
use super::line_buffer::LineBuffer;

/// What opens a connection: protocol 3.2, values are strings, no user, no name.
const HELLO: &[u8] = b"H3\t2\t0\t\t\n";

/// Idle connections that are kept.
const IDLE_MAX: usize = 16;

/// Why there is no answer to a lookup. All of these are temporary.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The dict cannot be reached, or the connection broke twice.
    #[error("dict {path}: {source}", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There was no answer in time.
    #[error("dict {path}: no answer within {after:?}", path = path.display())]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// The dict says that it is out of order.
    #[error("dict {path}: {why}", path = path.display())]
    Failed {
        /// The socket.
        path: PathBuf,
        /// Its reason.
        why: String,
    },
}

/// A dict behind a unix socket.
///
/// Keeps connections and makes as many as there are lookups at a time. A connection that has gone
/// stale, as after a restart of the server, is replaced without notice.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    timeout: Duration,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// A client of the dict at this path; `timeout` is for a whole lookup. Connects when needed.
    pub fn new(path: impl Into<PathBuf>, timeout: Duration) -> Self {
        Self {
            path: path.into(),
            timeout,
            idle: Mutex::default(),
        }
    }

    /// The value of a key; `None` when there is none. Most dicts want no user: `b""`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn lookup(&self, key: &[u8], user: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
        let mut request = vec![b'L'];
        escape_into(key, &mut request);
        request.push(b'\t');
        escape_into(user, &mut request);
        request.push(b'\n');
        let path = || self.path.clone();
        match tokio::time::timeout(self.timeout, self.ask(&request)).await {
            Ok(Ok(Answer::Found(value))) => Ok(Some(value)),
            Ok(Ok(Answer::NotFound)) => Ok(None),
            Ok(Ok(Answer::Failed(why))) => Err(ClientError::Failed { path: path(), why }),
            Ok(Err(source)) => Err(ClientError::Io {
                path: path(),
                source,
            }),
            Err(_) => Err(ClientError::Timeout {
                path: path(),
                after: self.timeout,
            }),
        }
    }

    async fn ask(&self, request: &[u8]) -> io::Result<Answer> {
        let kept = self.lock_idle().pop();
        if let Some(mut connection) = kept {
            if let Ok(answer) = connection.ask(request).await {
                self.keep(connection);
                return Ok(answer);
            }
            // The others are as old: a server that restarted has closed them all.
            self.lock_idle().clear();
        }
        let mut connection = Connection::open(&self.path).await?;
        let answer = connection.ask(request).await?;
        self.keep(connection);
        Ok(answer)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.lock_idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Answer {
    Found(Vec<u8>),
    NotFound,
    Failed(String),
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    input: LineBuffer,
}

impl Connection {
    async fn open(path: &std::path::Path) -> io::Result<Self> {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(HELLO).await?;
        Ok(Self {
            stream,
            input: LineBuffer::default(),
        })
    }

    async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        loop {
            let too_long = |error: Malformed| io::Error::new(io::ErrorKind::InvalidData, error);
            if let Some(line) = self.input.next_line().map_err(too_long)? {
                return parse_answer(line);
            }
            if self.stream.read_buf(self.input.space()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn parse_answer(line: &[u8]) -> io::Result<Answer> {
    match line.split_first() {
        Some((b'O', value)) => Ok(Answer::Found(unescape(value).into_owned())),
        Some((b'N', _)) => Ok(Answer::NotFound),
        Some((b'F', why)) => Ok(Answer::Failed(
            String::from_utf8_lossy(&unescape(why)).into_owned(),
        )),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not an answer to a lookup",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{Failure, Handler, serve};
    use super::*;
    use std::sync::Arc;
    use tokio::sync::watch;
    use tokio::task::JoinHandle;

    /// Knows the keys that begin with `k`, has trouble with `bad`, and is slow for `slow`.
    struct Echo;

    impl Handler for Echo {
        async fn lookup(&self, key: &[u8], user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
            match key {
                b"bad" => Err(Failure("broken\tstore".into())),
                b"slow" => std::future::pending().await,
                [b'k', ..] => Ok(Some([key, b"=", user].concat())),
                _ => Ok(None),
            }
        }
    }

    fn start(path: &std::path::Path) -> (watch::Sender<bool>, JoinHandle<()>) {
        let listener = crate::listen::unix(path, 0o600).unwrap();
        let (stop, stopped) = watch::channel(false);
        (
            stop,
            tokio::spawn(serve("echo", listener, Arc::new(Echo), stopped)),
        )
    }

    #[tokio::test]
    async fn answers_of_every_kind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("echo");
        let _running = start(&path);
        let client = Client::new(&path, Duration::from_millis(200));
        let value = client.lookup(b"k\t\n\0\xff", b"bob").await.unwrap();
        assert_eq!(value.as_deref(), Some(&b"k\t\n\0\xff=bob"[..]));
        assert_eq!(client.lookup(b"other", b"").await.unwrap(), None);
        let failed = client.lookup(b"bad", b"").await;
        assert!(matches!(failed, Err(ClientError::Failed { why, .. }) if why == "broken\tstore"));
        let late = client.lookup(b"slow", b"").await;
        assert!(matches!(late, Err(ClientError::Timeout { .. })));
        // The timed-out connection is not used again: its answer would be taken for this one's.
        assert_eq!(
            client.lookup(b"k", b"").await.unwrap().as_deref(),
            Some(&b"k="[..])
        );
    }

    #[tokio::test]
    async fn a_restarted_server_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("echo");
        let client = Client::new(&path, Duration::from_secs(5));
        assert!(matches!(
            client.lookup(b"k", b"").await,
            Err(ClientError::Io { .. })
        ));
        for _ in 0..2 {
            let (stop, server) = start(&path);
            assert!(client.lookup(b"k", b"").await.unwrap().is_some());
            stop.send(true).unwrap();
            server.await.unwrap();
        }
    }
}
