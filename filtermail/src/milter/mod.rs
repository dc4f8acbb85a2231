//! Carries the decisions of a [`Session`] over the milter protocol.
//!
//! Postfix waits for an answer only at `RCPT` and at the end: `CONNECT`, `MAIL`, header fields, the
//! end of the header section and body chunks are announced as never answered, `HELO`, `DATA` and
//! unknown commands as not wanted. Each answer that it need not wait for saves two changes of
//! process, and a 5 MB message has 80 chunks. The price: Postfix replays the whole of a message
//! that is refused already, since an answer that is never given cannot say "skip". Cleartext is
//! rare and the replay is local.
//!
//! The protocol is spoken here and not by a library because it is on the path of each message. The
//! library that came into question moves every packet between two tasks, holds body chunks whole and
//! remembers the macros of earlier messages. With eight sessions of 2 KB messages on two cores it
//! left Postfix 0.88 of its rate without a milter, this leaves 0.94. Here a connection is one task,
//! and what one read brings is judged where it lies.
//!
//! While a session makes up its mind nothing is judged; what the MTA sends meanwhile, which Postfix
//! never does, is kept up to [`LATER_MAX`] and read from the socket no further. An MTA that goes away
//! meanwhile ends the connection at once: nobody waits for an answer that nobody reads.
//!
//! Whatever comes over the socket that the protocol does not allow closes the connection, which
//! Postfix turns into a temporary failure (`milter_default_action = tempfail`).

mod conversation;
#[cfg(fuzzing)]
pub mod fuzz;
mod wire;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, BytesMut};
use chatmail::log_limit::LogLimit;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::session::Session;
use conversation::Conversation;

pub use wire::Malformed;

/// The most connections served at once; more wait in the backlog. Above any sensible
/// `default_process_limit` of Postfix.
const CONNECTIONS_MAX: usize = 10_000;

/// How long to wait when the system refuses to accept, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Octets that are read at once: a body chunk of Postfix's and its head.
const READ_MAX: usize = 64 * 1024 + 16;

/// Octets that are kept while an answer is being waited for.
const LATER_MAX: usize = 2 * READ_MAX;

thread_local! {
    /// What was read last. It is judged before anything else is read, so one buffer serves all
    /// connections of a thread.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_MAX]);
}

/// A socket to listen on.
#[derive(Debug)]
pub enum Socket {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// Serves milter connections until `stop` is ready, then takes no new ones, closes those that are
/// between messages, and goes on until no message is under way or `drain` is over.
///
/// `connections` counts the open connections; `session` makes the session of a new one.
pub async fn serve<S: Session>(
    socket: Socket,
    session: impl Fn() -> S,
    connections: Gauge,
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let stopping = watch::Sender::new(false);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let complaints = Arc::new(LogLimit::new());
    // Every connection holds a sender: the channel closes with the last of them.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&socket, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let conversation = Conversation::new(session());
                let (stopping, complaints) = (stopping.subscribe(), complaints.clone());
                let held = (place, open.clone(), Counted::new(&connections));
                tokio::spawn(async move {
                    report(&complaints, converse(stream, conversation, stopping).await);
                    drop(held);
                });
            }
            Err(error) => {
                tracing::error!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((socket, open));
    stopping.send_replace(true);
    if timeout(drain, all_closed.recv()).await.is_err() {
        tracing::warn!("Messages were under way at the end of the drain; clients try again.");
    }
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

type Accepted = (Box<dyn Stream>, tokio::sync::OwnedSemaphorePermit);

async fn accept(socket: &Socket, places: &Arc<Semaphore>) -> io::Result<Accepted> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let stream: Box<dyn Stream> = match socket {
        Socket::Unix(listener) => Box::new(listener.accept().await?.0),
        Socket::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            // A failure here costs time, not mail.
            let _ = stream.set_nodelay(true);
            Box::new(stream)
        }
    };
    Ok((stream, place))
}

/// Counts a connection while it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Why a connection ended before the MTA said so.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn report(complaints: &LogLimit, ended: Result<(), Ended>) {
    match ended {
        Ok(()) => {}
        // An MTA that goes before it reads its answer is no news.
        Err(Ended::Io(error)) => tracing::debug!("connection lost: {error}"),
        Err(Ended::Malformed(malformed)) => {
            if let Some(suppressed) = complaints.allow() {
                tracing::error!(suppressed, "closed a milter connection: {malformed}");
            }
        }
    }
}

async fn converse<S: Session>(
    mut stream: Box<dyn Stream>,
    mut conversation: Conversation<S>,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), Ended> {
    let mut answers = Vec::new();
    // What came behind a question.
    let mut later = BytesMut::new();
    loop {
        let between_messages = !conversation.message_under_way();
        let taken = tokio::select! {
            biased;
            taken = read(&mut stream, &mut conversation, &mut answers, &mut later) => taken,
            _ = stopping.wait_for(|stopping| *stopping), if between_messages => return Ok(()),
        };
        let taken = match taken {
            Ok(octets) => answer(&mut stream, &mut conversation, &mut answers, &mut later)
                .await
                .map(|waited_for| octets > 0 && waited_for),
            malformed => malformed.map(|_| false),
        };
        // What was answered before something malformed came is still sent.
        send(&mut stream, &mut answers).await?;
        if !taken? || conversation.is_closed() {
            return Ok(());
        }
        if !conversation.message_under_way() {
            conversation.rest();
            later = BytesMut::new();
        }
    }
}

/// Reads once and lets the conversation have it, up to a question; the number of octets, 0 at the
/// end.
async fn read<S: Session>(
    stream: &mut Box<dyn Stream>,
    conversation: &mut Conversation<S>,
    answers: &mut Vec<u8>,
    later: &mut BytesMut,
) -> Result<usize, Ended> {
    poll_fn(|context| {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            std::task::ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            later.extend_from_slice(conversation.take(buffer.filled(), answers)?);
            Poll::Ready(Ok(buffer.filled().len()))
        })
    })
    .await
}

/// Answers questions as long as there are any; `false` when the MTA does not wait for the answer.
async fn answer<S: Session>(
    stream: &mut Box<dyn Stream>,
    conversation: &mut Conversation<S>,
    answers: &mut Vec<u8>,
    later: &mut BytesMut,
) -> Result<bool, Ended> {
    while conversation.is_asked() {
        // The MTA does not wait for this until it has that.
        send(stream, answers).await?;
        tokio::select! {
            biased;
            () = conversation.answer(answers) => {}
            gone = peer_gone(stream, later) => return gone.map(|()| false),
        }
        let left = conversation.take(later, answers)?.len();
        later.advance(later.len() - left);
    }
    Ok(true)
}

/// Keeps what the MTA sends, as far as there is room, until it sends no more.
async fn peer_gone(stream: &mut Box<dyn Stream>, later: &mut BytesMut) -> Result<(), Ended> {
    while later.len() < LATER_MAX {
        let room = LATER_MAX - later.len();
        if stream.read_buf(&mut (&mut *later).limit(room)).await? == 0 {
            return Ok(());
        }
    }
    // The kernel holds the rest, and with it the news of the MTA's end.
    std::future::pending().await
}

async fn send(stream: &mut Box<dyn Stream>, answers: &mut Vec<u8>) -> io::Result<()> {
    if !answers.is_empty() {
        stream.write_all(answers).await?;
        answers.clear();
    }
    Ok(())
}
