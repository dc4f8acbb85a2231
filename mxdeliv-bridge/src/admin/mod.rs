//! The operator's commands: a unix socket of the daemon, and the command line that asks it.

use chatmail::Config;

use crate::daemon::{Serving, StartError, Stop, stopped};
use crate::routes::Routes;
use crate::statistics::Statistics;

/// Binds the socket for the commands.
///
/// # Errors
/// It cannot be listened on.
pub fn bind(
    _config: &Config,
    _routes: &Routes,
    _statistics: &Statistics,
    stop: Stop,
) -> Result<Serving, StartError> {
    Ok(Box::pin(stopped(stop)))
}
