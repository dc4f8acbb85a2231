//! What Postfix hands over for peers: posted to them, or else sent by SMTP.
//!
//! Postfix's lmtp(8) hands a message over for the recipients of one domain at a time and waits for a
//! reply for each of them. They hear 250 when the peer has answered 2xx, or when Postfix has queued the
//! message again, at an smtpd whose mail goes by SMTP in any case. A failure over HTTP alone bounces
//! nothing; what that smtpd says is final. When it cannot be reached either, Postfix keeps the message
//! and tries again. So a bridge that is killed between the peer's answer and its own has the message
//! sent twice, and never lost.
//!
//! - [`lmtp`]: the server, for this and for the way back
//! - `plan`: which recipients a post can serve, and the posts
//! - `flow`: posts first, then SMTP for whom no post was taken
//! - `shares`: memory, of which one slow peer cannot take all

mod examination;
mod flow;
pub mod lmtp;
mod metrics;
mod plan;
mod shares;

use std::sync::Arc;

use chatmail::Config;
use prometheus_client::registry::Registry;

use crate::daemon::{Serving, StartError, Stop};
use crate::routes::Routes;

pub use flow::{Outbound, Peers};

/// Permissions of the socket: whoever reaches the folder it lies in may connect. So the folder decides.
const SOCKET_MODE: u32 = 0o666;

/// Binds the LMTP socket for Postfix.
///
/// # Errors
/// It cannot be listened on.
pub fn bind(
    config: &Config,
    routes: &Routes,
    registry: &mut Registry,
    stop: Stop,
) -> Result<Serving, StartError> {
    let path = &config.mxdeliv_lmtp_socket;
    let listener = chatmail::listen::unix(path, SOCKET_MODE);
    let listener = listener.map_err(StartError::bind(path.display()))?;
    tracing::info!("mail for peers: unix:{}", path.display());
    let size_max = flow::size_max(config);
    let outbound = Arc::new(Outbound::new(config, routes.clone(), registry));
    Ok(Box::pin(lmtp::serve(
        "outbound", listener, outbound, size_max, stop,
    )))
}
