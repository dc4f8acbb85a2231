//! Small, exact protocol clients for tests and measurements.
//!
//! They do what they are told, one step at a time, and hide nothing: a reply is a value that the
//! caller judges, an error says what was awaited and what came instead, and every wait ends after
//! [`PATIENCE`] at the latest unless the caller names another time.
//!
//! - [`smtp`]: submission and port 25 (RFC 5321)
//! - [`imap`]: what a chat client does with a mailbox (RFC 3501, RFC 2177, RFC 5464)
//! - [`tls`]: the three ways to reach a port; trusts any certificate
//! - [`connection`]: lines and counted bytes with a time limit

use std::time::Duration;

pub mod connection;
pub mod imap;
pub mod smtp;
pub mod tls;

pub use connection::{ClientError, Connection};
pub use imap::{ImapClient, ImapError};
pub use smtp::{Content, Envelope, SmtpClient};
pub use tls::{Security, TlsVersion};

/// How long a client waits for the server's next answer, unless it is told otherwise.
///
/// Above Postfix's and Dovecot's own delays (a wrong password takes Dovecot two seconds) and the
/// time a loaded two-core machine needs for a message of 30 MiB.
pub const PATIENCE: Duration = Duration::from_secs(60);
