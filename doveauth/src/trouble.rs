//! Errors on their way to Dovecot and into our own log.

use chatmail::dict::Failure;
use chatmail::log_limit::LogLimit;

/// Reports what a dict cannot do: always to the client, to the log not more often than it can
/// be read.
#[derive(Debug)]
pub(crate) struct Trouble {
    dict: &'static str,
    limit: LogLimit,
}

impl Trouble {
    /// For the dict of this name.
    pub(crate) fn new(dict: &'static str) -> Self {
        Self {
            dict,
            limit: LogLimit::new(),
        }
    }

    /// Makes the answer of an error, whose text must name no address.
    pub(crate) fn failure(&self, error: &dyn std::error::Error) -> Failure {
        if let Some(suppressed) = self.limit.allow() {
            tracing::error!(dict = self.dict, suppressed, "{error}");
        }
        Failure(error.to_string())
    }
}
