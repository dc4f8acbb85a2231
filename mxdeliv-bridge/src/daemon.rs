//! The daemon: everything is bound first, then it serves until it is told to stop.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use chatmail::Config;
use chatmail::lifecycle::Exit;
use filtermail::dkim::{KeyCache, KeyCacheError};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::routes::{Routes, RoutesError, oracle};
use crate::statistics::{Statistics, StatisticsError};
use crate::{admin, inbound, outbound};

/// Something that serves until it is told to stop, and returns when it has nothing under way.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Becomes true when the daemon is to stop.
pub type Stop = watch::Receiver<bool>;

/// The bridge with its sockets bound, not yet serving.
pub struct Daemon {
    stop: watch::Sender<bool>,
    servers: Vec<Serving>,
    /// Serves metrics until it is dropped.
    metrics: Option<Serving>,
}

/// Why the bridge cannot begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address as `chatmail.ini` has it.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is nobody to ask for other domains' DKIM keys.
    #[error(transparent)]
    KeyCache(#[from] KeyCacheError),
    /// What is known of peers cannot be used.
    #[error(transparent)]
    Routes(#[from] RoutesError),
    /// The figures of peers cannot be used.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
}

impl StartError {
    /// A reason to fail for `map_err`.
    pub(crate) fn bind(address: impl ToString) -> impl FnOnce(io::Error) -> Self {
        let address = address.to_string();
        move |source| Self::Bind { address, source }
    }

    /// How the process ends for this reason.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Bind { .. } => Exit::System,
            Self::KeyCache(_) | Self::Routes(_) | Self::Statistics(_) => Exit::Configuration,
        }
    }
}

/// Whether all work was finished when the daemon stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All of it.
    All,
    /// The deadline came first; senders will try again.
    Some,
}

impl Daemon {
    /// Opens what is known of peers, binds all sockets, and logs each address. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let stop = watch::Sender::new(false);
        let mut registry = Registry::default();
        let statistics = Statistics::open(config)?;
        let routes = Routes::open(config, statistics.clone(), &mut registry)?;
        let keys = KeyCache::new(config)?;
        let stopped = || stop.subscribe();
        let mut servers = inbound::bind(config, keys, &statistics, &mut registry, &stopped())?;
        servers.push(outbound::bind(config, &routes, &mut registry, stopped())?);
        servers.push(oracle::bind(config, &routes, stopped())?);
        servers.push(admin::bind(config, &routes, &statistics, stopped())?);
        servers.push(statistics.keep(config, stopped())?);
        let metrics = match config.mxdeliv_metrics {
            Some(address) => {
                let server = chatmail::metrics::serve(address, registry.into());
                let server = server.map_err(StartError::bind(address))?;
                tracing::info!("metrics: http://{address}/metrics");
                Some(Box::pin(server) as Serving)
            }
            None => None,
        };
        Ok(Self {
            stop,
            servers,
            metrics,
        })
    }

    /// Serves until `stop` is ready; then finishes what was begun, within `deadline`.
    pub async fn run(self, stop: impl Future<Output = ()>, deadline: Duration) -> Drained {
        let mut servers: JoinSet<()> = self.servers.into_iter().collect();
        let mut metrics = JoinSet::new();
        if let Some(server) = self.metrics {
            metrics.spawn(server);
        }
        stop.await;
        self.stop.send_replace(true);
        let finished = async { while servers.join_next().await.is_some() {} };
        match tokio::time::timeout(deadline, finished).await {
            Ok(()) => Drained::All,
            Err(_) => Drained::Some,
        }
    }
}

/// Returns when the daemon is told to stop, or when nobody is left to tell it.
pub(crate) async fn stopped(mut stop: Stop) {
    // An error is a sender that is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}
