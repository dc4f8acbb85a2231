//! What Postfix hands over for peers.

pub mod lmtp;

use chatmail::Config;
use prometheus_client::registry::Registry;

use crate::daemon::{Serving, StartError, Stop, stopped};
use crate::routes::Routes;

/// Binds the LMTP socket for Postfix.
///
/// # Errors
/// It cannot be listened on.
pub fn bind(
    _config: &Config,
    _routes: &Routes,
    _registry: &mut Registry,
    stop: Stop,
) -> Result<Serving, StartError> {
    Ok(Box::pin(stopped(stop)))
}
