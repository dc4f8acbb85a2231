//! The daemon: sockets are bound first, then it serves until it is told to stop.
//!
//! One process has three milters, each on a socket of its own: for submission, for port 25, and for
//! what Postfix itself sends. The socket is what tells them apart, so Postfix's configuration decides
//! which rules hold for a port.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use chatmail::Config;
use chatmail::config::Listen;
use chatmail::lifecycle::{self, Exit};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::dkim::{KeyCache, KeyCacheError, Signer, SignerError};
use crate::metrics::{Door, Metrics};
use crate::milter::{self, Socket};
use crate::rate_limit::FORGET_INTERVAL;
use crate::report::Reporter;
use crate::session::Session;
use crate::{bounce, incoming, outgoing};

/// Permissions of the milters' unix sockets: whoever reaches the folder they lie in may connect. So
/// the folder decides; it belongs to filtermail and to Postfix's group, with mode 0750.
const SOCKET_MODE: u32 = 0o666;

/// filtermail with its sockets bound, not yet serving.
pub struct Daemon {
    outgoing: Socket,
    incoming: Socket,
    bounce: Socket,
    metrics_server: MetricsServer,
    metrics: Metrics,
    submission_rules: Arc<outgoing::Policy>,
    incoming_rules: Arc<incoming::Policy>,
    reporter: Arc<Reporter>,
    bounce_rules: bounce::Policy,
}

/// Why filtermail cannot begin to serve.
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
    /// Our own DKIM keys cannot be used.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

impl StartError {
    /// How the process ends for this reason.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Bind { .. } => Exit::System,
            Self::KeyCache(_) | Self::Signer(_) => Exit::Configuration,
        }
    }
}

impl Daemon {
    /// Loads the DKIM keys, binds the sockets of the three milters and `filtermail_metrics`, and logs
    /// each address. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let keys = KeyCache::new(config)?;
        let signer = Signer::load(config)?;
        let outgoing = listen(&config.filtermail_listen, "submission")?;
        let incoming = listen(&config.filtermail_incoming_listen, "mail from outside")?;
        let bounce = listen(&config.filtermail_bounce_listen, "bounces")?;

        let metrics = Metrics::default();
        let metrics_server = serve_metrics(config, &metrics)?;
        let submission_rules = outgoing::Policy::new(config, signer.clone(), metrics.clone());
        let incoming_rules = incoming::Policy::new(config, keys, metrics.at(Door::Incoming));
        Ok(Self {
            outgoing,
            incoming,
            bounce,
            metrics_server,
            submission_rules: Arc::new(submission_rules),
            incoming_rules: Arc::new(incoming_rules),
            reporter: Arc::new(Reporter::new(config)),
            bounce_rules: bounce::Policy::new(config, signer),
            metrics,
        })
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Serves until `stop` is ready and messages under way are finished, or
    /// [`lifecycle::DRAIN_DEADLINE`] after that.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (stopping, stopped) = watch::channel(false);
        let sessions = |door| self.metrics.at(door).sessions();
        let submission = {
            let rules = self.submission_rules.clone();
            let session = move || outgoing::Submission::new(rules.clone());
            serve(self.outgoing, session, sessions(Door::Outgoing), &stopped)
        };
        let incoming = {
            let (rules, reporter) = (self.incoming_rules, self.reporter);
            let session = move || incoming::Incoming::new(rules.clone(), reporter.clone());
            serve(self.incoming, session, sessions(Door::Incoming), &stopped)
        };
        let bounce = {
            let rules = self.bounce_rules;
            let session = move || bounce::Bounce::new(rules.clone());
            serve(self.bounce, session, sessions(Door::Bounce), &stopped)
        };
        let stop = async {
            stop.await;
            stopping.send_replace(true);
        };
        tokio::select! {
            _ = async { tokio::join!(submission, incoming, bounce, stop) } => {}
            never = forget_idle_senders(&self.submission_rules) => never,
            () = forever(self.metrics_server) => {}
        }
    }
}

fn listen(listen: &Listen, purpose: &str) -> Result<Socket, StartError> {
    let socket = match listen {
        Listen::Unix(path) => chatmail::listen::unix(path, SOCKET_MODE).map(Socket::Unix),
        Listen::Tcp(address) => chatmail::listen::tcp(*address).map(Socket::Tcp),
    };
    let socket = socket.map_err(|source| StartError::Bind {
        address: listen.to_string(),
        source,
    })?;
    tracing::info!("milter for {purpose}: {listen}");
    Ok(socket)
}

type MetricsServer = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

fn serve_metrics(config: &Config, metrics: &Metrics) -> Result<MetricsServer, StartError> {
    let Some(address) = config.filtermail_metrics else {
        return Ok(None);
    };
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let server = chatmail::metrics::serve(address, Arc::new(registry)).map_err(|source| {
        StartError::Bind {
            address: address.to_string(),
            source,
        }
    })?;
    tracing::info!("metrics: http://{address}/metrics");
    Ok(Some(Box::pin(server)))
}

/// Serves one milter until it is told to stop and has nothing under way.
fn serve<S: Session>(
    socket: Socket,
    session: impl Fn() -> S,
    connections: Gauge,
    stopped: &watch::Receiver<bool>,
) -> impl Future<Output = ()> {
    let mut stopped = stopped.clone();
    let stop = async move {
        // An error is a sender that is gone, which is as good a reason to stop.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    milter::serve(
        socket,
        session,
        connections,
        stop,
        lifecycle::DRAIN_DEADLINE,
    )
}

/// Never ends, whatever becomes of the server.
async fn forever(server: MetricsServer) {
    if let Some(server) = server {
        server.await;
    }
    std::future::pending().await
}

/// Keeps the rate limits' memory to what is needed.
async fn forget_idle_senders<T>(policy: &outgoing::Policy) -> T {
    let mut timer = interval(FORGET_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        policy.limits().forget_idle();
    }
}
