//! Lines and counted bytes over TCP or TLS, with a time limit on every wait.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::PATIENCE;
use super::tls::{self, Security, TlsVersion};
use crate::target::Endpoint;

/// The longest line that is read before the peer is called broken, in bytes.
const LINE_MAX: usize = 1 << 20;
/// How much is handed to the socket at once; each piece has its own time limit.
const WRITE_PIECE: usize = 256 * 1024;

/// Why a client could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there, or it does not accept.
    #[error("connecting to {to}: {source}")]
    Connect {
        /// The host and port.
        to: String,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake with {with}: {source}")]
    Tls {
        /// The host and port.
        with: String,
        /// What the TLS library said.
        source: io::Error,
    },
    /// The time was over before the answer was complete.
    #[error("waited {after:?} for {awaited}; {received}")]
    Timeout {
        /// What was awaited.
        awaited: String,
        /// How long.
        after: Duration,
        /// What had come until then.
        received: String,
    },
    /// The server closed the connection.
    #[error("connection closed while waiting for {awaited}; {received}")]
    Closed {
        /// What was awaited.
        awaited: String,
        /// What had come until then.
        received: String,
    },
    /// The system could not read or write.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The answer is complete, but not what the caller insisted on, or not the protocol.
    #[error("expected {awaited}, got {received}")]
    Unexpected {
        /// What was awaited.
        awaited: String,
        /// What came.
        received: String,
    },
}

impl ClientError {
    /// Whether the server closed or reset the connection, or is not there, as when it is killed.
    pub fn is_disconnect(&self) -> bool {
        match self {
            Self::Closed { .. } | Self::Io { .. } => true,
            Self::Connect { source, .. } | Self::Tls { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
            ),
            Self::Timeout { .. } | Self::Unexpected { .. } => false,
        }
    }
}

/// A byte stream in both directions: TCP, or TLS over it.
trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// One connection to a server.
pub struct Connection {
    stream: Box<dyn Duplex>,
    received: BytesMut,
    patience: Duration,
    endpoint: String,
}

impl Connection {
    /// Opens a TCP connection without Nagle's delay and, for [`Security::Implicit`], TLS over it.
    /// A `STARTTLS` is up to the protocol: see [`Connection::start_tls`].
    ///
    /// # Errors
    /// Nobody accepts, the handshake fails, or [`PATIENCE`] is over.
    pub async fn open(endpoint: &Endpoint, security: Security) -> Result<Self, ClientError> {
        let connect = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
        Self::over(connect, endpoint, security).await
    }

    /// As [`Connection::open`], from an address of this machine.
    ///
    /// # Errors
    /// As [`Connection::open`], or the address is not ours.
    pub async fn open_from(
        source: Ipv4Addr,
        endpoint: &Endpoint,
        security: Security,
    ) -> Result<Self, ClientError> {
        let connect = async {
            let to = format!("{}:{}", endpoint.host, endpoint.port);
            let to = to.parse().map_err(io::Error::other)?;
            let socket = TcpSocket::new_v4()?;
            socket.bind((source, 0).into())?;
            socket.connect(to).await
        };
        Self::over(connect, endpoint, security).await
    }

    async fn over(
        connect: impl Future<Output = io::Result<TcpStream>>,
        endpoint: &Endpoint,
        security: Security,
    ) -> Result<Self, ClientError> {
        let to = endpoint.to_string();
        let tcp = match timeout(PATIENCE, connect).await {
            Ok(result) => result.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
        .map_err(|source| ClientError::Connect {
            to: to.clone(),
            source,
        })?;
        let connection = Self {
            stream: Box::new(tcp),
            received: BytesMut::with_capacity(4096),
            patience: PATIENCE,
            endpoint: to,
        };
        match security {
            Security::Implicit(version) => connection.start_tls(version).await,
            Security::Plain | Security::StartTls(_) => Ok(connection),
        }
    }

    /// Puts TLS over what was plain until now. What the server sent beforehand in clear text is
    /// thrown away, as RFC 3207 section 4.2 demands.
    ///
    /// # Errors
    /// The handshake fails or [`PATIENCE`] is over.
    pub async fn start_tls(self, version: TlsVersion) -> Result<Self, ClientError> {
        self.start_tls_for(version, &[]).await
    }

    /// As [`Connection::start_tls`], offering protocols by their names (ALPN, RFC 7301), such as `h2`.
    ///
    /// # Errors
    /// As [`Connection::start_tls`].
    pub async fn start_tls_for(
        self,
        version: TlsVersion,
        protocols: &[&str],
    ) -> Result<Self, ClientError> {
        let with = self.endpoint;
        let failed = |source| ClientError::Tls {
            with: with.clone(),
            source,
        };
        let handshake = tls::handshake(self.stream, version, protocols);
        let stream = match timeout(PATIENCE, handshake).await {
            Ok(result) => result.map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        Ok(Self {
            stream: Box::new(stream),
            received: BytesMut::with_capacity(4096),
            patience: self.patience,
            endpoint: with,
        })
    }

    /// Sets how long each later wait may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// How long each wait may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is gone, or the server takes nothing for the patience's time.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for piece in bytes.chunks(WRITE_PIECE) {
            self.timed_write(piece).await?;
        }
        let flush = timeout(self.patience, self.stream.flush()).await;
        self.written(flush)
    }

    /// Reads one line and takes off its CRLF or LF. `awaited` is for the error.
    ///
    /// # Errors
    /// See [`ClientError`]; a line over 1 MiB is unexpected.
    pub async fn read_line(&mut self, awaited: &str) -> Result<Bytes, ClientError> {
        self.read_line_within(self.patience, awaited).await
    }

    /// As [`Connection::read_line`], with a time limit of its own.
    ///
    /// # Errors
    /// As [`Connection::read_line`].
    pub async fn read_line_within(
        &mut self,
        limit: Duration,
        awaited: &str,
    ) -> Result<Bytes, ClientError> {
        let deadline = Instant::now() + limit;
        let mut searched = 0;
        loop {
            let fresh = self.received.get(searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                let mut line = self.received.split_to(searched + at + 1);
                line.truncate(line.len() - 1);
                if line.ends_with(b"\r") {
                    line.truncate(line.len() - 1);
                }
                return Ok(line.freeze());
            }
            searched = self.received.len();
            if searched > LINE_MAX {
                return Err(ClientError::Unexpected {
                    awaited: awaited.to_owned(),
                    received: format!("a line without an end; {}", self.excerpt()),
                });
            }
            self.fill(deadline, limit, awaited).await?;
        }
    }

    /// Reads exactly `count` bytes. Each piece that arrives renews the time limit.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn read_exact(&mut self, count: usize, awaited: &str) -> Result<Bytes, ClientError> {
        self.received
            .reserve(count.saturating_sub(self.received.len()));
        while self.received.len() < count {
            self.fill(Instant::now() + self.patience, self.patience, awaited)
                .await?;
        }
        Ok(self.received.split_to(count).freeze())
    }

    /// Waits until the server closes the connection, and gives what it said before.
    ///
    /// # Errors
    /// The server keeps it open for longer than the patience.
    pub async fn read_to_end(&mut self) -> Result<Bytes, ClientError> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self
                .fill(deadline, self.patience, "the end of the connection")
                .await
            {
                Ok(()) => {}
                Err(error) if error.is_disconnect() => return Ok(self.received.split().freeze()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends our direction, as a client that has died would.
    ///
    /// # Errors
    /// The connection is gone already.
    pub async fn half_close(&mut self) -> Result<(), ClientError> {
        let shutdown = timeout(self.patience, self.stream.shutdown()).await;
        self.written(shutdown)
    }

    async fn timed_write(&mut self, piece: &[u8]) -> Result<(), ClientError> {
        let write = timeout(self.patience, self.stream.write_all(piece)).await;
        self.written(write)
    }

    fn written(
        &self,
        result: Result<io::Result<()>, tokio::time::error::Elapsed>,
    ) -> Result<(), ClientError> {
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(ClientError::Io {
                doing: format!("writing to {}", self.endpoint),
                source,
            }),
            Err(_) => Err(ClientError::Timeout {
                awaited: format!("{} to take what was sent", self.endpoint),
                after: self.patience,
                received: self.excerpt(),
            }),
        }
    }

    async fn fill(
        &mut self,
        deadline: Instant,
        limit: Duration,
        awaited: &str,
    ) -> Result<(), ClientError> {
        match timeout_at(deadline, self.stream.read_buf(&mut self.received)).await {
            Ok(Ok(0)) => Err(ClientError::Closed {
                awaited: awaited.to_owned(),
                received: self.excerpt(),
            }),
            Ok(Ok(_)) => Ok(()),
            // A server that ends TLS without `close_notify` is as closed as any other.
            Ok(Err(source)) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ClientError::Closed {
                    awaited: awaited.to_owned(),
                    received: self.excerpt(),
                })
            }
            Ok(Err(source)) => Err(ClientError::Io {
                doing: format!("waiting for {awaited}"),
                source,
            }),
            Err(_) => Err(ClientError::Timeout {
                awaited: awaited.to_owned(),
                after: limit,
                received: self.excerpt(),
            }),
        }
    }

    fn excerpt(&self) -> String {
        match self.received.get(..200).unwrap_or(&self.received) {
            [] => "nothing came".to_owned(),
            some => format!("what came: {:?}", String::from_utf8_lossy(some)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that sends `bytes` in one write and then keeps quiet or closes.
    async fn server(bytes: &'static [u8], stays: bool) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().into();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            if stays {
                std::future::pending::<()>().await;
            }
        });
        Connection::open(&endpoint, Security::Plain).await.unwrap()
    }

    #[tokio::test]
    async fn lines_and_counted_bytes_follow_each_other() {
        let mut connection = server(b"one\r\ntwo\nabc\r\nrest", false).await;
        assert_eq!(connection.read_line("a line").await.unwrap(), "one");
        assert_eq!(connection.read_line("a line").await.unwrap(), "two");
        assert_eq!(connection.read_exact(5, "bytes").await.unwrap(), "abc\r\n");
        assert_eq!(connection.read_to_end().await.unwrap(), "rest");
    }

    #[tokio::test]
    async fn a_timeout_tells_what_was_awaited_and_what_came() {
        let mut connection = server(b"half a li", true).await;
        let limit = Duration::from_millis(200);
        let error = connection
            .read_line_within(limit, "the greeting")
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "waited 200ms for the greeting; what came: \"half a li\""
        );
    }

    #[tokio::test]
    async fn an_early_close_tells_what_was_awaited() {
        let mut connection = server(b"", false).await;
        let error = connection.read_line("the greeting").await.unwrap_err();
        assert!(error.is_disconnect());
        assert!(
            error.to_string().ends_with("the greeting; nothing came"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn nobody_there_names_the_endpoint() {
        let endpoint: Endpoint = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .into();
        let error = Connection::open(&endpoint, Security::Plain)
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
    }
}
