//! How mail to and from each peer fares.

use std::time::Duration;

use chatmail::{Config, Domain};

use crate::daemon::{Serving, StartError, Stop, stopped};

/// Counts attempts. Clones share the counts; a call never waits.
#[derive(Clone, Debug, Default)]
pub struct Statistics;

/// One try to move a message, or one message that came.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The peer: one that we send to, or one that has proved who it is.
    pub peer: Domain,
    /// Which way the message went.
    pub direction: Direction,
    /// What carried it.
    pub transport: Transport,
    /// Whether it was taken; else why not, without addresses.
    pub outcome: Result<(), String>,
    /// How long it took.
    pub took: Duration,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer to us.
    Inbound,
    /// From us to the peer.
    Outbound,
}

/// What carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `POST /mxdeliv`.
    Mxdeliv,
    /// SMTP.
    Smtp,
}

/// Why figures cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {}

impl Statistics {
    /// Opens the figures that are kept in `mxdeliv_database_path`.
    ///
    /// # Errors
    /// See [`StatisticsError`].
    pub fn open(_config: &Config) -> Result<Self, StatisticsError> {
        Ok(Self)
    }

    /// Writes figures down now and then and listens for what filtermail and Postfix tell, until it is
    /// told to stop.
    ///
    /// # Errors
    /// A socket cannot be bound.
    pub fn keep(&self, _config: &Config, stop: Stop) -> Result<Serving, StartError> {
        Ok(Box::pin(stopped(stop)))
    }

    /// Counts an attempt.
    pub fn record(&self, _attempt: Attempt) {}
}
