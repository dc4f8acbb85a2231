//! Dovecot's dict protocol, as client and server.
//!
//! A dict is a key-value store that Dovecot reaches through a unix socket. The protocol is made of
//! lines: the first byte is the command or the kind of reply, the rest are fields separated by
//! TAB, escaped so that TAB, CR, LF and NUL can stand in them. Fields are bytes, not text.
//!
//! A client opens with `H`, then looks up (`L`), iterates (`I`), or changes several keys at once:
//! `B` begins a transaction under a number of the client's choice, `S`, `U` and `A` add changes,
//! `C` commits. Replies come in command order. Versions 2 (Dovecot 2.3.0), 3 (2.3.17) and 4 (2.4)
//! differ in fields at the end of a command only, which are therefore all optional here.
//!
//! - [`codec`]: lines to commands, replies to lines; no I/O
//! - `line_buffer`: lines out of the bytes of a socket; no I/O
//! - [`session`]: one connection's commands, with its open transactions; no I/O
//! - [`server`]: a listener that serves a [`Handler`]
//! - [`client`]: lookups, over connections that are kept; iterations and commits
//!
//! Not served: replies with several values (`M`), which no dict of ours has, and sorted iteration.

pub mod client;
pub mod codec;
#[cfg(fuzzing)]
pub mod fuzz;
mod line_buffer;
pub mod server;
pub mod session;

pub use client::{Client, ClientError};
pub use server::{Failure, Handler, Rows, serve};
pub use session::{Change, ChangeSet};

/// Longest line in bytes, its newline not counted, that either side accepts.
pub const LINE_MAX: usize = 64 * 1024;
