//! A connection to a mail server: commands out, replies in, each within its time.

use std::fmt::Debug;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use chatmail::smtp::{
    ClientName, Command, Extensions, Greeting, Protocol, ReplyReader, ServerReply,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::{DeliveryError, Server};

/// How long to wait for a connection. The server is on this machine.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long a reply, or the next piece of what is sent, may take.
const STEP_TIME: Duration = Duration::from_secs(30);

/// How long to wait for a server to take a `QUIT`.
const QUIT_TIME: Duration = Duration::from_secs(1);

/// A connection on which both sides have said hello.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    input: BytesMut,
    replies: ReplyReader,
    extensions: Extensions,
    deadline: Instant,
}

/// A stream of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Debug> Stream for T {}

impl Connection {
    /// Connects and says hello. Nothing on it takes longer than to `deadline`.
    pub(super) async fn open(
        server: &Server,
        protocol: Protocol,
        name: &ClientName,
        deadline: Instant,
    ) -> Result<Self, DeliveryError> {
        let soon = deadline.min(Instant::now() + CONNECT_TIME);
        let stream = timeout_at(soon, connect(server)).await;
        let mut connection = Self {
            stream: stream.map_err(|_| DeliveryError::Silence)??,
            input: BytesMut::new(),
            replies: ReplyReader::new(),
            extensions: Extensions::default(),
            deadline,
        };
        serving(connection.reply().await?)?;
        let greeting = match protocol {
            Protocol::Smtp => Greeting::Ehlo,
            Protocol::Lmtp => Greeting::Lhlo,
        };
        let hello = Command::Hello(greeting, name.clone());
        connection.command(&hello).await?;
        let offered = serving(connection.reply().await?)?;
        connection.extensions = Extensions::from_reply(&offered);
        Ok(connection)
    }

    /// What the server offers.
    pub(super) fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// For another message: nothing takes longer than to `deadline`.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Whether the server has neither closed it nor said anything that it was not asked.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let mut octet = [0];
        let unread = poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut octet);
            let read = Pin::new(&mut *self.stream).poll_read(context, &mut buffer);
            Poll::Ready(read.is_pending())
        });
        self.input.is_empty() && unread.await
    }

    /// Sends one command.
    pub(super) async fn command(&mut self, command: &Command) -> Result<(), DeliveryError> {
        let mut wire = Vec::new();
        command.write_to(&mut wire);
        self.send(&wire).await
    }

    /// Sends octets.
    pub(super) async fn send(&mut self, wire: &[u8]) -> Result<(), DeliveryError> {
        let sent = timeout_at(self.step(), self.stream.write_all(wire)).await;
        sent.map_err(|_| DeliveryError::Silence)?
            .map_err(DeliveryError::Io)
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<ServerReply, DeliveryError> {
        self.reply_by(self.step()).await
    }

    /// The reply to a message, which may take until the deadline.
    pub(super) async fn last_reply(&mut self) -> Result<ServerReply, DeliveryError> {
        self.reply_by(self.deadline).await
    }

    /// Takes leave.
    pub(super) async fn quit(mut self) {
        self.deadline = Instant::now() + QUIT_TIME;
        // Nothing depends on it: the server gets the end of the connection at least.
        let _ = self.command(&Command::Quit).await;
    }

    fn step(&self) -> Instant {
        self.deadline.min(Instant::now() + STEP_TIME)
    }

    async fn reply_by(&mut self, deadline: Instant) -> Result<ServerReply, DeliveryError> {
        loop {
            let mut input = &self.input[..];
            let reply = self.replies.take(&mut input);
            let taken = self.input.len() - input.len();
            self.input.advance(taken);
            if let Some(reply) = reply {
                return Ok(reply?);
            }
            let read = timeout_at(deadline, self.stream.read_buf(&mut self.input)).await;
            if read.map_err(|_| DeliveryError::Silence)?? == 0 {
                return Err(DeliveryError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

async fn connect(server: &Server) -> io::Result<Box<dyn Stream>> {
    Ok(match server {
        Server::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Server::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            // A failure here costs time, not mail.
            let _ = stream.set_nodelay(true);
            Box::new(stream)
        }
    })
}

fn serving(reply: ServerReply) -> Result<ServerReply, DeliveryError> {
    if reply.is_positive() {
        Ok(reply)
    } else {
        Err(DeliveryError::NotServing(reply.code))
    }
}
