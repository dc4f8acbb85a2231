//! What peers post.

use chatmail::Config;
use filtermail::dkim::KeyCache;
use prometheus_client::registry::Registry;

use crate::daemon::{Serving, StartError, Stop};
use crate::statistics::Statistics;

/// Binds the socket for nginx and the one for mail that comes back from Postfix.
///
/// # Errors
/// One of them cannot be listened on.
pub fn bind(
    _config: &Config,
    _keys: KeyCache,
    _statistics: &Statistics,
    _registry: &mut Registry,
    _stop: &Stop,
) -> Result<Vec<Serving>, StartError> {
    Ok(Vec::new())
}
