//! The daemon: sockets are bound first, then it serves until it is told to stop.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use chatmail::config::Listen;
use chatmail::{Config, lifecycle};
use prometheus_client::registry::Registry;
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::Metrics;
use crate::milter::{self, Socket};
use crate::outgoing::{Policy, Submission};
use crate::rate_limit::FORGET_INTERVAL;

/// Permissions of the milter's unix socket: whoever reaches the folder it lies in may connect. So
/// the folder decides; it belongs to filtermail and to Postfix's group, with mode 0750.
const SOCKET_MODE: u32 = 0o666;

/// filtermail with its sockets bound, not yet serving.
pub struct Daemon {
    socket: Socket,
    metrics_server: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    metrics: Metrics,
    policy: Arc<Policy>,
}

/// Which address could not be listened on, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address as `chatmail.ini` has it.
    pub address: String,
    /// What the system says.
    pub source: io::Error,
}

impl Daemon {
    /// Binds `filtermail_listen` and `filtermail_metrics`, and logs each.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let listen = &config.filtermail_listen;
        let socket = match listen {
            Listen::Unix(path) => chatmail::listen::unix(path, SOCKET_MODE).map(Socket::Unix),
            Listen::Tcp(address) => chatmail::listen::tcp(*address).map(Socket::Tcp),
        };
        let socket = socket.map_err(|source| BindError {
            address: listen.to_string(),
            source,
        })?;
        tracing::info!("milter for submission: {listen}");

        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let registry = Arc::new(registry);
        let metrics_server = match config.filtermail_metrics {
            None => None,
            Some(address) => {
                let server =
                    chatmail::metrics::serve(address, registry).map_err(|source| BindError {
                        address: address.to_string(),
                        source,
                    })?;
                tracing::info!("metrics: http://{address}/metrics");
                Some(Box::pin(server) as Pin<Box<dyn Future<Output = ()> + Send>>)
            }
        };
        let policy = Arc::new(Policy::new(config, metrics.clone()));
        Ok(Self {
            socket,
            metrics_server,
            metrics,
            policy,
        })
    }

    /// Serves until `stop` is ready and messages under way are finished, or
    /// [`lifecycle::DRAIN_DEADLINE`] after that.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self {
            socket,
            metrics_server,
            metrics,
            policy,
        } = self;
        let metrics_server = metrics_server.unwrap_or_else(|| Box::pin(std::future::pending()));
        let session = {
            let policy = policy.clone();
            move || Submission::new(policy.clone())
        };
        let milter = milter::serve(
            socket,
            session,
            metrics.sessions,
            stop,
            lifecycle::DRAIN_DEADLINE,
        );
        tokio::select! {
            () = milter => {}
            never = forget_idle_senders(&policy) => never,
            () = async { metrics_server.await; std::future::pending().await } => {}
        }
    }
}

/// Keeps the rate limits' memory to what is needed.
async fn forget_idle_senders<T>(policy: &Policy) -> T {
    let mut timer = interval(FORGET_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        policy.limits().forget_idle();
    }
}
