//! Hands a message to the next one by LMTP or SMTP: to Dovecot, or to Postfix.
//!
//! The server is on this machine. Connections that have done their work are kept for a short while,
//! so that under load a message costs no new one. Every step has a deadline, and so has the whole.

mod connection;
mod idle;
mod transaction;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chatmail::smtp::{ClientName, DataFault, Protocol, ReplyError, ServerReply};
use tokio::time::Instant;

use crate::envelope::Envelope;
use connection::Connection;
use idle::Idle;
use transaction::{Ended, Failure};

/// A server that takes mail. Keeps a few connections open for the next message. Clones share them.
#[derive(Clone, Debug)]
pub struct MailClient {
    server: Server,
    protocol: Protocol,
    name: ClientName,
    idle: Arc<Idle>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address, on loopback.
    Tcp(SocketAddr),
}

/// Why nobody is known to have taken a message. It may be sent again; the server may have it all the
/// same, but only with [`DeliveryError::Unknown`]. No text names an address.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The server cannot be reached, or the connection broke before the message was complete.
    #[error("no connection to the mail server: {0}")]
    Io(#[from] std::io::Error),
    /// A step before the end of the message took too long.
    #[error("the mail server does not answer")]
    Silence,
    /// It greets, or answers the client's greeting, with something else than 2yz. That is about the
    /// server and not about the message.
    #[error("the mail server takes no mail now: {0}")]
    NotServing(u16),
    /// What it says is no reply.
    #[error("the mail server is not understood: {0}")]
    Malformed(#[from] ReplyError),
    /// A reply that cannot stand where it stood, by its code.
    #[error("the mail server gave an unexpected reply: {0}")]
    Unexpected(u16),
    /// A message that cannot be sent as it is: a bare CR or LF, or a NUL.
    #[error("a message with {0}")]
    Message(#[from] DataFault),
    /// The message was sent to its end, and then no reply came. The server may have it.
    #[error("the mail server has not said whether it has the message")]
    Unknown,
}

impl MailClient {
    /// A client of this server, to which it says that it is `name`; connects when there is something to
    /// deliver.
    pub fn new(server: Server, protocol: Protocol, name: ClientName) -> Self {
        Self {
            server,
            protocol,
            name,
            idle: Arc::default(),
        }
    }

    /// Delivers a message, CRLF at line ends: the last reply for each recipient, in their order.
    ///
    /// Waits `within` for all of it. Of the envelope's parameters those are sent that the server
    /// understands. Where a reply is the server's for several recipients, each of them gets it. A
    /// recipient whose LMTP reply did not come, when others' did, gets 451.
    ///
    /// Dropping the future closes the connection; the server has the message or has not.
    ///
    /// # Errors
    /// See [`DeliveryError`]. A connection that was kept and turns out to be dead is none: the message
    /// goes over a new one.
    pub async fn deliver(
        &self,
        envelope: &Envelope,
        message: &[u8],
        within: Duration,
    ) -> Result<Vec<ServerReply>, DeliveryError> {
        let deadline = Instant::now() + within;
        if let Some(mut kept) = self.idle.take().await {
            kept.set_deadline(deadline);
            match transaction::run(kept, self.protocol, envelope, message).await {
                Err(failure) if failure.is_dead_connection() => {}
                ended => return self.finish(ended),
            }
        }
        let fresh = Connection::open(&self.server, self.protocol, &self.name, deadline).await?;
        self.finish(transaction::run(fresh, self.protocol, envelope, message).await)
    }

    fn finish(&self, ended: Result<Ended, Failure>) -> Result<Vec<ServerReply>, DeliveryError> {
        let ended = ended.map_err(|failure| failure.error)?;
        if let Some(connection) = ended.connection {
            self.idle.keep(connection);
        }
        Ok(ended.replies)
    }
}
