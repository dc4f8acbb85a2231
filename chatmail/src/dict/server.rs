//! Serves a dict on a unix socket.
//!
//! Each connection is a task that reads what the socket has, answers all whole lines of it in
//! order, and writes the answers at once, so a client that pipelines costs one read and one write
//! per batch. Idle connections may stay for ever and hold some four kilobytes.

use std::io;
use std::os::fd::AsRawFd as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use super::codec::{Iterate, Malformed, Reply};
use super::line_buffer::LineBuffer;
use super::session::{ChangeSet, Request, Session};
use crate::log_limit::LogLimit;

/// The answer to a request that cannot be answered now. Dovecot makes it a temporary failure.
///
/// The text goes into Dovecot's log: it names no address and quotes no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// A key and its value, both as they are, without escapes.
pub type Row = (Vec<u8>, Vec<u8>);

/// The rows of an iteration. It runs on a thread that may block.
pub type Rows = Box<dyn Iterator<Item = Result<Row, Failure>> + Send>;

/// A dict: what is behind one socket.
pub trait Handler: Send + Sync + 'static {
    /// The value of a key, `None` when there is none.
    ///
    /// Runs on the connection's task: what may take long belongs on another thread.
    fn lookup(
        &self,
        key: &[u8],
        user: &[u8],
    ) -> impl Future<Output = Result<Option<Vec<u8>>, Failure>> + Send;

    /// The keys below a path, unsorted. Unless a dict says otherwise it lists none.
    fn iterate(&self, _request: &Iterate) -> Rows {
        Box::new(std::iter::empty())
    }

    /// Makes all of these changes. Doing it twice must be the same as doing it once. Unless a
    /// dict says otherwise it can be read only.
    fn commit(&self, _changes: ChangeSet) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Err(Failure("this dict is read-only".into())))
    }
}

/// Serves until `stop` becomes true, or its sender is gone; then takes no more connections,
/// answers what has been asked, closes each connection, and returns when the last is closed.
///
/// `name` is what log lines call the dict.
pub async fn serve<H: Handler>(
    name: &'static str,
    listener: UnixListener,
    handler: Arc<H>,
    mut stop: watch::Receiver<bool>,
) {
    let limit = Arc::new(LogLimit::new());
    // Every connection holds a sender: the channel closes with the last of them.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let stopped = stop.clone();
    let mut stopping = pin!(stop.wait_for(|stop| *stop));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stopping => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = Connection::new(stream, Arc::clone(&handler));
                let (stop, limit, open) = (stopped.clone(), Arc::clone(&limit), open.clone());
                tokio::spawn(async move {
                    report(name, &limit, connection.run(stop).await);
                    drop(open);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: the client waits in the backlog meanwhile.
                tracing::warn!(dict = name, "cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, open));
    all_closed.recv().await;
}

/// How long to wait after a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that was just made may take to ask when the daemon is told to stop.
const FIRST_QUESTION: Duration = Duration::from_secs(1);

/// Answers are written when this many bytes of them are waiting.
const FLUSH_AT: usize = 64 * 1024;

/// Room for answers that a connection keeps between batches.
const KEPT_OUTPUT: usize = 1024;

/// Rows are made and written in pieces of about this many bytes.
const ROWS_AT_ONCE: usize = 64 * 1024;

/// Why a connection ended before its client or the daemon wished so.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the connection ended within a line")]
    WithinLine,
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn report(name: &str, limit: &LogLimit, result: Result<(), Ended>) {
    let Err(ended) = result else { return };
    if let Ended::Io(error) = ended {
        // A client that goes before it reads its answer is no news.
        tracing::debug!(dict = name, "connection lost: {error}");
    } else if let Some(suppressed) = limit.allow() {
        tracing::warn!(dict = name, suppressed, "closed a connection: {ended}");
    }
}

struct Connection<H> {
    stream: UnixStream,
    handler: Arc<H>,
    session: Session,
    input: LineBuffer,
    output: Vec<u8>,
    /// Whether anything has come.
    was_asked: bool,
}

impl<H: Handler> Connection<H> {
    fn new(stream: UnixStream, handler: Arc<H>) -> Self {
        let (session, input, output) = Default::default();
        Self {
            stream,
            handler,
            session,
            input,
            output,
            was_asked: false,
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Ended> {
        let mut stopping = pin!(stop.wait_for(|stop| *stop));
        loop {
            let read = tokio::select! {
                biased;
                _ = &mut stopping => break,
                read = self.stream.read_buf(self.input.space()) => read?,
            };
            if !self.take(read).await? {
                return Ok(());
            }
        }
        // Whoever has just connected is about to ask.
        if !self.was_asked {
            let first = self.stream.read_buf(self.input.space());
            match tokio::time::timeout(FIRST_QUESTION, first).await {
                Ok(read) => {
                    if !self.take(read?).await? {
                        return Ok(());
                    }
                }
                Err(_) => return Ok(()),
            }
        }
        // What was asked before the stop is still answered.
        while let Some(read) = self.read_now()? {
            if !self.take(read).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads what the socket holds; `None` when that is nothing. The runtime may not have heard of it yet, and whoever sent
    /// it would find the connection reset if it were closed over it.
    fn read_now(&mut self) -> io::Result<Option<usize>> {
        let mut piece = [0; 4096];
        let flags = MsgFlags::MSG_DONTWAIT;
        match recv(self.stream.as_raw_fd(), &mut piece, flags) {
            Ok(read) => {
                let piece = piece.get(..read).unwrap_or_default();
                self.input.space().extend_from_slice(piece);
                Ok(Some(read))
            }
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Answers the whole lines after a read of this many bytes; `false` at the end of input.
    async fn take(&mut self, read: usize) -> Result<bool, Ended> {
        if read == 0 {
            return if self.input.is_empty() {
                Ok(false)
            } else {
                Err(Ended::WithinLine)
            };
        }
        self.was_asked = true;
        let answered = self.answer_lines().await;
        if let Err(Ended::Malformed(malformed)) = &answered {
            Reply::Failed(&malformed.to_string()).write_to(&mut self.output);
        }
        self.flush().await?;
        self.output.shrink_to(KEPT_OUTPUT);
        answered.map(|()| true)
    }

    async fn answer_lines(&mut self) -> Result<(), Ended> {
        while let Some(line) = self.input.next_line()? {
            match self.session.line(line)? {
                None => {}
                Some(Request::Lookup { key, user }) => {
                    match self.handler.lookup(&key, &user).await {
                        Ok(Some(value)) => Reply::Found(&value).write_to(&mut self.output),
                        Ok(None) => Reply::NotFound.write_to(&mut self.output),
                        Err(Failure(why)) => Reply::Failed(&why).write_to(&mut self.output),
                    }
                }
                Some(Request::Iterate(request)) => self.iterate(&request).await?,
                Some(Request::Commit(id, changes)) => match self.handler.commit(changes).await {
                    Ok(()) => Reply::Committed(id).write_to(&mut self.output),
                    Err(Failure(why)) => {
                        Reply::CommitFailed(id, &why).write_to(&mut self.output);
                    }
                },
                Some(Request::RefuseCommit(id, why)) => {
                    Reply::CommitFailed(id, &why.to_string()).write_to(&mut self.output);
                }
            }
            if self.output.len() >= FLUSH_AT {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn iterate(&mut self, request: &Iterate) -> io::Result<()> {
        if request.flags & (Iterate::SORT_BY_KEY | Iterate::SORT_BY_VALUE) != 0 {
            Reply::Failed("sorted iteration is not served").write_to(&mut self.output);
            return Ok(());
        }
        let rows = self.handler.iterate(request);
        let mut rows: Rows = match usize::try_from(request.max_rows) {
            Ok(0) | Err(_) => rows,
            Ok(max) => Box::new(rows.take(max)),
        };
        loop {
            let mut piece = std::mem::take(&mut self.output);
            let (back, filled, more) = tokio::task::spawn_blocking(move || {
                let more = fill(&mut piece, &mut rows);
                (rows, piece, more)
            })
            .await?;
            (rows, self.output) = (back, filled);
            if !more {
                return Ok(());
            }
            self.flush().await?;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
        }
        Ok(())
    }
}

/// Appends rows until there are enough of them for one write; `false` after the last.
fn fill(piece: &mut Vec<u8>, rows: &mut Rows) -> bool {
    while piece.len() < ROWS_AT_ONCE {
        match rows.next() {
            Some(Ok((key, value))) => Reply::Row {
                key: &key,
                value: &value,
            }
            .write_to(piece),
            Some(Err(Failure(why))) => {
                Reply::Failed(&why).write_to(piece);
                return false;
            }
            None => {
                Reply::EndOfRows.write_to(piece);
                return false;
            }
        }
    }
    true
}
