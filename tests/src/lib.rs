//! Whole chatmail relays on loopback: real Postfix, real Dovecot, our daemons, real clients.
//!
//! - [`target`]: the address card of a running relay

pub mod target;

pub use target::{Endpoint, Limits, Process, Target};
