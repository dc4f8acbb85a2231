//! Carries sessions over a unix socket.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::session::{Request, Session};
use super::{HeldMessage, Transactions};
use crate::budget::Reservation;
use crate::daemon::{Stop, stopped};

/// Most connections at once; more wait in the backlog. Above what Postfix has processes for.
const CONNECTIONS_MAX: usize = 2000;

/// How long to wait when the system refuses to accept, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a client may say nothing between commands (RFC 5321 section 4.5.3.2.7).
const COMMAND_TIME: Duration = Duration::from_secs(300);

/// How long a message may take to come, from `DATA` to its end.
const MESSAGE_TIME: Duration = Duration::from_secs(600);

/// How long a client may take to read what it is told.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// Octets that are read at once: a few commands, or a piece of a message.
const COMMAND_READ: usize = 4 * 1024;
const MESSAGE_READ: usize = 64 * 1024;

/// Replies are sent when so many octets of them wait, so that a client which sends ahead cannot make
/// them pile up.
const FLUSH_AT: usize = 16 * 1024;

/// Serves until it is told to stop; then takes no new connections, finishes the transactions that were
/// begun, and returns. `size_max` is the largest message in octets, `name` what the log calls the
/// socket.
pub async fn serve<T: Transactions>(
    name: &'static str,
    listener: UnixListener,
    transactions: Arc<T>,
    size_max: u64,
    stop: Stop,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Every connection holds a sender: the channel closes with the last of them.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let mut stopping = pin!(stopped(stop.clone()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopping => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let connection = Connection::new(stream, Arc::clone(&transactions), size_max);
                let (stop, open) = (stop.clone(), open.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection.run(stop).await {
                        // A client that goes before it reads its answer is no news.
                        tracing::debug!(socket = name, "connection lost: {error}");
                    }
                    drop((place, open));
                });
            }
            Err(error) => {
                tracing::error!(socket = name, "cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, open));
    all_closed.recv().await;
}

type Accepted = (UnixStream, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &UnixListener, places: &Arc<Semaphore>) -> io::Result<Accepted> {
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    Ok((listener.accept().await?.0, place))
}

struct Connection<T> {
    stream: UnixStream,
    session: Session,
    input: BytesMut,
    output: Vec<u8>,
    transactions: Arc<T>,
    /// The room of the message that is coming.
    room: Vec<Reservation>,
    /// When the client must have said the next thing.
    deadline: Instant,
}

impl<T: Transactions> Connection<T> {
    fn new(stream: UnixStream, transactions: Arc<T>, size_max: u64) -> Self {
        let mut output = Vec::new();
        Self {
            stream,
            session: Session::new(size_max, &mut output),
            input: BytesMut::new(),
            output,
            transactions,
            room: Vec::new(),
            deadline: Instant::now() + COMMAND_TIME,
        }
    }

    async fn run(mut self, stop: Stop) -> io::Result<()> {
        let mut stopping = pin!(stopped(stop));
        loop {
            self.flush().await?;
            if self.session.is_closed() {
                return Ok(());
            }
            let idle = self.session.is_idle();
            self.make_room_to_read(idle);
            let read = self.stream.read_buf(&mut self.input);
            let read = tokio::select! {
                // What a client has sent before it could know is still answered.
                biased;
                read = timeout_at(self.deadline, read) => read,
                () = &mut stopping, if idle => {
                    self.session.close((4, 3, 2), "Shutting down", &mut self.output);
                    continue;
                }
            };
            match read {
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(_)) => self.answer().await?,
                Ok(Err(error)) => return Err(error),
                Err(_) => self
                    .session
                    .close((4, 4, 2), "Waited too long", &mut self.output),
            }
        }
    }

    /// Answers all that has come.
    async fn answer(&mut self) -> io::Result<()> {
        while !self.input.is_empty() && !self.session.is_closed() {
            let mut input = &self.input[..];
            let request = self.session.take(&mut input, &mut self.output);
            let taken = self.input.len() - input.len();
            self.input.advance(taken);
            if self.output.len() >= FLUSH_AT {
                self.flush().await?;
            }
            match request {
                Some(request) => self.fulfil(request).await?,
                None => break,
            }
        }
        if !self.session.is_in_message() {
            self.room.clear();
            self.deadline = Instant::now() + COMMAND_TIME;
        }
        Ok(())
    }

    async fn fulfil(&mut self, request: Request) -> io::Result<()> {
        match request {
            Request::Recipient(recipient) => {
                let Some(envelope) = self.session.envelope() else {
                    return Ok(());
                };
                let verdict = self.transactions.recipient(envelope, &recipient).await;
                self.session.judged(recipient, verdict, &mut self.output);
            }
            Request::Room { held, octets } => self.find_room(held, octets).await?,
            Request::Message(envelope, octets) => {
                // The client does not wait for this until it has that.
                self.flush().await?;
                self.let_go();
                let count = envelope.recipients.len();
                let message = HeldMessage {
                    octets: octets.into(),
                    _room: std::mem::take(&mut self.room),
                };
                let replies = self.transactions.message(envelope, message).await;
                self.session
                    .message_ended(count, &replies, &mut self.output);
            }
        }
        Ok(())
    }

    async fn find_room(&mut self, held: u64, octets: u64) -> io::Result<()> {
        self.flush().await?;
        let Some(envelope) = self.session.envelope() else {
            return Ok(());
        };
        match self.transactions.room(envelope, held, octets).await {
            Ok(room) => {
                if !self.session.is_in_message() {
                    self.deadline = Instant::now() + MESSAGE_TIME;
                }
                self.room.extend(room);
                self.session.room_found(octets, &mut self.output);
            }
            Err(_) => {
                self.room.clear();
                self.session.no_room(&mut self.output);
            }
        }
        Ok(())
    }

    fn make_room_to_read(&mut self, idle: bool) {
        if idle {
            self.let_go();
        }
        self.input.reserve(if self.session.is_in_message() {
            MESSAGE_READ
        } else {
            COMMAND_READ
        });
    }

    /// A connection that may wait for long holds next to no memory besides its message.
    fn let_go(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            self.output = Vec::new();
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            timeout(WRITE_TIME, self.stream.write_all(&self.output)).await??;
            self.output.clear();
        }
        Ok(())
    }
}
