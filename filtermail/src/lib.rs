//! filtermail: only end-to-end encrypted mail passes.
//!
//! - [`gate`]: the verdict on one message, a push parser that never holds the message
//! - [`session`]: what a milter decides, without I/O
//! - [`outgoing`]: the rules of submission, with [`rate_limit`] and [`hygiene`]
//! - [`incoming`]: the rules of port 25
//! - [`bounce`]: signs what Postfix itself sends
//! - [`milter`]: carries a session's decisions over the milter protocol
//! - [`daemon`]: sockets, timers and the drain
//! - [`dkim`]: signatures of the author's domain, checked and made
//! - [`report`]: tells mxdeliv-bridge how mail from peers fares
//! - [`check`]: `filtermail check FILE`

pub mod bounce;
pub mod check;
pub mod daemon;
pub mod dkim;
pub mod gate;
pub mod hygiene;
pub mod incoming;
pub mod metrics;
pub mod milter;
pub mod outgoing;
pub mod rate_limit;
pub mod report;
pub mod session;
