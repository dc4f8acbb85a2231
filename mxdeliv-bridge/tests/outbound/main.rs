//! Mail for peers, over real sockets: the mail client, the LMTP server and what lies between them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    missing_docs,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod bridge;
mod flow;
mod lmtp;
mod lmtp_client;
mod mail_client;
mod mail_client_failures;
mod mail_server;
