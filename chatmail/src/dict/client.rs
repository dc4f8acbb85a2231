//! Lookups in a dict, and changes to it, for our own daemons.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::codec::{Malformed, escape_into, unescape};
use super::line_buffer::LineBuffer;
use super::server::Row;
use super::session::Change;

/// What opens a connection: protocol 3.2, values are strings, no user, no name.
const HELLO: &[u8] = b"H3\t2\t0\t\t\n";

/// Idle connections that are kept.
const IDLE_MAX: usize = 16;

/// The number of the only transaction that a connection has open.
const TRANSACTION: &str = "1";

/// Why there is no answer. All of these are temporary.
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
    /// A client of the dict at this path; `timeout` is for a whole lookup, iteration or commit. Connects
    /// when needed.
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
        match self.in_time(self.ask(&request)).await? {
            Answer::Found(value) => Ok(Some(value)),
            Answer::NotFound => Ok(None),
            Answer::Failed(why) => Err(self.failed(why)),
        }
    }

    /// All keys that begin with `path`, with their values, in the dict's order; `max` rows at most, which
    /// bounds what is held, or 0 for all.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn iterate(&self, path: &[u8], max: usize) -> Result<Vec<Row>, ClientError> {
        let mut request = format!("I0\t{max}\t").into_bytes();
        escape_into(path, &mut request);
        request.extend_from_slice(b"\t\n");
        // A connection of its own: rows that nobody reads any more must not be taken for an answer.
        let rows = async {
            let mut connection = Connection::open(&self.path).await?;
            connection.stream.write_all(&request).await?;
            connection.rows(max).await
        };
        let rows = self.in_time(rows).await?;
        rows.map_err(|why| self.failed(why))
    }

    /// Makes all of these changes, or none if there is an error that the dict itself gives. After any other
    /// error they may have been made.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn commit(&self, changes: &[Change]) -> Result<(), ClientError> {
        let request = transaction(changes);
        let answer = async {
            let mut connection = Connection::open(&self.path).await?;
            connection.stream.write_all(&request).await?;
            connection.line(parse_commit).await
        };
        let answer = self.in_time(answer).await?;
        answer.map_err(|why| self.failed(why))
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, ClientError> {
        let path = || self.path.clone();
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done.map_err(|source| ClientError::Io {
                path: path(),
                source,
            }),
            Err(_) => Err(ClientError::Timeout {
                path: path(),
                after: self.timeout,
            }),
        }
    }

    fn failed(&self, why: String) -> ClientError {
        let path = self.path.clone();
        ClientError::Failed { path, why }
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
        self.line(parse_answer).await
    }

    /// The rows of an iteration; the inner error is the dict's.
    async fn rows(&mut self, max: usize) -> io::Result<Result<Vec<Row>, String>> {
        let mut rows = Vec::new();
        loop {
            match self.line(parse_row).await? {
                Ok(Some(_)) if max > 0 && rows.len() >= max => return Err(malformed()),
                Ok(Some(row)) => rows.push(row),
                Ok(None) => return Ok(Ok(rows)),
                Err(why) => return Ok(Err(why)),
            }
        }
    }

    /// What the next line says.
    async fn line<T>(&mut self, parse: impl Fn(&[u8]) -> io::Result<T>) -> io::Result<T> {
        let too_long = |error: Malformed| io::Error::new(io::ErrorKind::InvalidData, error);
        loop {
            if let Some(line) = self.input.next_line().map_err(too_long)? {
                return parse(line);
            }
            if self.stream.read_buf(self.input.space()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The lines of a transaction with these changes.
fn transaction(changes: &[Change]) -> Vec<u8> {
    let mut lines = format!("B{TRANSACTION}\t\n").into_bytes();
    for change in changes {
        let (letter, key) = match change {
            Change::Set { key, .. } => (b'S', key),
            Change::Unset { key } => (b'U', key),
            Change::Increment { key, .. } => (b'A', key),
        };
        lines.push(letter);
        lines.extend_from_slice(TRANSACTION.as_bytes());
        lines.push(b'\t');
        escape_into(key, &mut lines);
        match change {
            Change::Set { value, .. } => {
                lines.push(b'\t');
                escape_into(value, &mut lines);
            }
            Change::Unset { .. } => {}
            Change::Increment { by, .. } => lines.extend_from_slice(format!("\t{by}").as_bytes()),
        }
        lines.push(b'\n');
    }
    lines.extend_from_slice(format!("C{TRANSACTION}\n").as_bytes());
    lines
}

fn parse_answer(line: &[u8]) -> io::Result<Answer> {
    match line.split_first() {
        Some((b'O', value)) => Ok(Answer::Found(unescape(value).into_owned())),
        Some((b'N', _)) => Ok(Answer::NotFound),
        Some((b'F', why)) => Ok(Answer::Failed(text(why))),
        _ => Err(malformed()),
    }
}

/// A row, `None` after the last, or why the dict cannot say.
fn parse_row(line: &[u8]) -> io::Result<Result<Option<Row>, String>> {
    match line.split_first() {
        None => Ok(Ok(None)),
        Some((b'O', row)) => {
            let mut fields = row.splitn(2, |&byte| byte == b'\t');
            let (Some(key), Some(value)) = (fields.next(), fields.next()) else {
                return Err(malformed());
            };
            let (key, value) = (unescape(key).into_owned(), unescape(value).into_owned());
            Ok(Ok(Some((key, value))))
        }
        Some((b'F', why)) => Ok(Err(text(why))),
        _ => Err(malformed()),
    }
}

fn parse_commit(line: &[u8]) -> io::Result<Result<(), String>> {
    let mut fields = line.splitn(2, |&byte| byte == b'\t');
    let (answer, why) = (fields.next().unwrap_or_default(), fields.next());
    match answer.split_first() {
        Some((b'O', id)) if id == TRANSACTION.as_bytes() => Ok(Ok(())),
        // Without a number when the line before it was no command.
        Some((b'F', id)) => Ok(Err(text(why.unwrap_or(id)))),
        _ => Err(malformed()),
    }
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an answer of a dict")
}

#[cfg(test)]
mod tests {
    use super::super::codec::Iterate;
    use super::super::server::{Failure, Handler, Rows, serve};
    use super::super::session::ChangeSet;
    use super::*;
    use rstest::rstest;
    use std::sync::Arc;
    use tokio::sync::watch;
    use tokio::task::JoinHandle;

    /// Knows the keys that begin with `k`, has trouble with `bad`, and is slow for `slow`. Lists three
    /// rows below anything else, and takes what is set, as long as it is not `bad`.
    #[derive(Default)]
    struct Echo {
        changes: Mutex<Vec<Change>>,
    }

    impl Handler for Echo {
        async fn lookup(&self, key: &[u8], user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
            match key {
                b"bad" => Err(Failure("broken\tstore".into())),
                b"slow" => std::future::pending().await,
                [b'k', ..] => Ok(Some([key, b"=", user].concat())),
                _ => Ok(None),
            }
        }

        fn iterate(&self, request: &Iterate) -> Rows {
            let rows = (0..3_u8).map(|number| Ok((vec![b'r', number], b"a\tb\n".to_vec())));
            match request.path.as_slice() {
                b"bad" => Box::new(rows.chain([Err(Failure("broken".into()))])),
                b"none" => Box::new(std::iter::empty()),
                _ => Box::new(rows),
            }
        }

        async fn commit(&self, changes: ChangeSet) -> Result<(), Failure> {
            let is_bad = |change: &Change| matches!(change, Change::Unset { key } if key == b"bad");
            if changes.changes.iter().any(is_bad) {
                return Err(Failure("full\tdisk".into()));
            }
            *self.changes.lock().unwrap() = changes.changes;
            Ok(())
        }
    }

    fn start(path: &std::path::Path) -> (watch::Sender<bool>, JoinHandle<()>) {
        start_this(path, Arc::default())
    }

    fn start_this(
        path: &std::path::Path,
        echo: Arc<Echo>,
    ) -> (watch::Sender<bool>, JoinHandle<()>) {
        let listener = crate::listen::unix(path, 0o600).unwrap();
        let (stop, stopped) = watch::channel(false);
        (stop, tokio::spawn(serve("echo", listener, echo, stopped)))
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

    #[tokio::test]
    async fn who_has_just_connected_may_ask_when_the_server_is_told_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("echo");
        let (stop, server) = start(&path);
        let mut new = UnixStream::connect(&path).await.unwrap();
        // Accepted before this one, which is answered.
        let client = Client::new(&path, Duration::from_secs(5));
        assert!(client.lookup(b"k", b"").await.unwrap().is_some());
        stop.send(true).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        new.write_all(b"Lk\tbob\n").await.unwrap();
        let mut answer = String::new();
        new.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "Ok=bob\n");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn rows_come_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("echo");
        let _running = start(&path);
        let client = Client::new(&path, Duration::from_secs(5));
        let rows = client.iterate(b"some\t", 0).await.unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2], (vec![b'r', 2], b"a\tb\n".to_vec()));
        assert_eq!(client.iterate(b"some", 2).await.unwrap(), rows[..2]);
        assert_eq!(client.iterate(b"none", 9).await.unwrap(), []);
        let failed = client.iterate(b"bad", 9).await;
        assert!(matches!(failed, Err(ClientError::Failed { why, .. }) if why == "broken"));
    }

    #[tokio::test]
    async fn changes_arrive_as_they_were_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("echo");
        let echo = Arc::<Echo>::default();
        let _running = start_this(&path, echo.clone());
        let client = Client::new(&path, Duration::from_secs(5));
        let key = |key: &[u8]| key.to_vec();
        let changes = [
            Change::Set {
                key: key(b"a\tb"),
                value: key(b"\n\0"),
            },
            Change::Unset { key: key(b"c") },
            Change::Increment {
                key: key(b"d"),
                by: -3,
            },
        ];
        client.commit(&changes).await.unwrap();
        assert_eq!(*echo.changes.lock().unwrap(), changes);
        let failed = client.commit(&[Change::Unset { key: key(b"bad") }]).await;
        assert!(matches!(failed, Err(ClientError::Failed { why, .. }) if why == "full\tdisk"));
        assert_eq!(*echo.changes.lock().unwrap(), changes);
        let too_many = vec![Change::Unset { key: key(b"c") }; 300];
        let refused = client.commit(&too_many).await;
        assert!(matches!(refused, Err(ClientError::Failed { why, .. }) if why.contains("large")));
    }

    #[rstest]
    #[case(b"O1", Some(Ok(())))]
    #[case(b"F1\twhy", Some(Err("why")))]
    #[case(b"Fwhy", Some(Err("why")))]
    #[case(b"O2", None)]
    #[case(b"O", None)]
    #[case(b"N", None)]
    #[case(b"", None)]
    fn answers_to_commits(#[case] line: &[u8], #[case] answer: Option<Result<(), &str>>) {
        let answer = answer.map(|answer| answer.map_err(str::to_owned));
        assert_eq!(parse_commit(line).ok(), answer);
    }

    #[rstest]
    #[case(b"Ok")]
    #[case(b"N")]
    #[case(b"\xff")]
    fn no_rows(#[case] line: &[u8]) {
        assert!(parse_row(line).is_err());
    }
}
