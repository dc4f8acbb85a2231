//! Mail between relays over HTTPS: `POST /mxdeliv`, both ways.
//!
//! - [`inbound`]: nginx hands over what peers post; after the same rules as on port 25 it goes to Dovecot
//! - `new_account`: `POST /new`, an address and a password for whoever wants an account
//! - [`outbound`]: Postfix hands over what is for peers (LMTP); it is posted to them, or sent by SMTP
//! - [`routes`]: which way a domain's mail goes, what is known of peers, and connections to them
//! - [`statistics`]: how mail to and from each peer fares
//! - `postfix_log`: how mail to peers fares over SMTP, as Postfix tells
//! - [`queue`]: what waits in Postfix's queue
//! - [`probe`]: how a domain can be reached, step by step
//! - [`redaction`]: takes addresses out of what other servers say
//! - [`admin`]: answers the operator's commands; [`commands`]: the command line that asks
//! - [`pages`]: the relay's web pages
//! - [`database`]: the file of what is known of peers
//!
//! There is no queue here: Postfix has it. Nothing is acknowledged before the next one has it, be that
//! a peer, Dovecot or Postfix.

pub mod admin;
pub mod budget;
pub mod commands;
pub mod daemon;
pub mod database;
pub mod envelope;
pub mod inbound;
pub mod mail_client;
mod new_account;
pub mod outbound;
pub mod pages;
mod postfix_log;
pub mod probe;
pub mod queue;
pub mod redaction;
pub mod routes;
pub mod statistics;

pub use daemon::{Daemon, StartError};
