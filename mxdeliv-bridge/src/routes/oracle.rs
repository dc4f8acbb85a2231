//! Tells Postfix which way mail for a domain goes (socketmap_table(5)).

use chatmail::Config;

use super::Routes;
use crate::daemon::{Serving, StartError, Stop, stopped};

/// Binds the socket that Postfix's `transport_maps` asks.
///
/// # Errors
/// It cannot be listened on.
pub fn bind(_config: &Config, _routes: &Routes, stop: Stop) -> Result<Serving, StartError> {
    Ok(Box::pin(stopped(stop)))
}
