//! Which way a domain's mail goes, what is known of peers, and connections to them.
//!
//! A message for a domain is posted to the endpoint that the operator has set, or else to that which
//! answered last, to the MX hosts by preference, and to the domain itself, until one takes it or refuses
//! it. When none does, it goes by SMTP. What each request teaches about its endpoint is remembered, so
//! that [`oracle`] can tell Postfix at once which way to go, and so that peers that are down cost
//! nothing.
//!
//! - `endpoint`: a host and a port; overrides
//! - `knowledge`: what is remembered and what follows from it; `known`: of one endpoint; `store`: the same
//!   on disk
//! - `post`: a message's way; `request`: one request of it; `prepare`: connections ahead of messages
//! - `https`, `tls`: requests; `answer`: what the answers mean
//! - `oracle`, `socketmap`, `links`: what Postfix asks

mod answer;
mod clock;
mod endpoint;
mod https;
mod knowledge;
mod known;
mod links;
mod metrics;
pub mod oracle;
mod post;
mod prepare;
mod request;
mod socketmap;
mod store;
mod tls;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use chatmail::database::DatabaseError;
use chatmail::dns::{Dns, DnsFailure, NoServers};
use chatmail::tls::TlsError;
use chatmail::{Config, Domain};
use prometheus_client::registry::Registry;
use rustls::ClientConfig;

use crate::statistics::{Statistics, Transport};
use clock::Clock;
use https::Https;
use knowledge::Knowledge;
use metrics::Metrics;
use post::Shared;
use store::Store;

pub use endpoint::{Endpoint, Override, OverrideError, PATH};

/// Knows peers and posts to them. Clones share what is known.
#[derive(Clone, Debug)]
pub struct Routes {
    shared: Arc<Shared>,
}

/// How long things take, and how long what was learnt holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest that connecting takes, TLS and DNS included.
    pub connect: Duration,
    /// The longest that a message takes with all endpoints of its domain.
    pub total: Duration,
    /// How long an endpoint that does not speak mxdeliv is left alone.
    pub silent: Duration,
    /// How long an endpoint is left alone after its first failure; each further one doubles it.
    pub failing_first: Duration,
    /// The longest that a failing endpoint is left alone.
    pub failing_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            total: Duration::from_secs(60),
            silent: Duration::from_secs(30 * 60),
            failing_first: Duration::from_secs(5),
            failing_max: Duration::from_secs(10 * 60),
        }
    }
}

/// Why peers cannot be known.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// There is nobody to ask for peers' hosts.
    #[error(transparent)]
    Dns(#[from] NoServers),
    /// What was known of peers cannot be read.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No peer could be trusted.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP library does not take our settings.
    #[error("HTTPS cannot be used: {0}")]
    Https(#[from] reqwest::Error),
}

/// A message for the recipients of one domain.
#[derive(Clone, Debug)]
pub struct Post {
    /// The envelope sender as `X-Mail-From` has it; empty for `<>`.
    pub sender: String,
    /// The recipients as `X-Mail-To` has them, lower case, at most 50.
    pub recipients: Vec<String>,
    /// The message, CRLF at line ends and at its end.
    pub message: Bytes,
    /// Hash of envelope and message, for `Idempotency-Key`.
    pub key: String,
}

/// No endpoint of a peer took a message; SMTP is to try. Why, without addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotTaken(pub String);

/// What is known of a domain, for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// The domain.
    pub domain: Domain,
    /// What Postfix is told now.
    pub transport: Transport,
    /// What the operator has decided.
    pub decided: Option<Override>,
    /// Where the next message would be posted, or the last one was.
    pub endpoint: Option<Endpoint>,
    /// What is known of that endpoint.
    pub state: PeerState,
    /// Since when; `None` when nothing is known.
    pub since: Option<SystemTime>,
    /// When it is tried again, if that is to be waited for.
    pub next_try: Option<SystemTime>,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Nothing.
    Unknown,
    /// It takes messages, or refuses them as mxdeliv does.
    Speaks,
    /// It does not speak mxdeliv, or cannot be reached.
    Silent,
    /// It fails, although it could be reached.
    Failing,
}

impl Routes {
    /// Opens what is known of peers. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`RoutesError`].
    pub fn open(
        config: &Config,
        statistics: Statistics,
        registry: &mut Registry,
    ) -> Result<Self, RoutesError> {
        Self::with_limits(config, statistics, registry, Limits::default())
    }

    /// The same with other times than [`open`](Self::open)'s.
    ///
    /// # Errors
    /// See [`RoutesError`].
    pub fn with_limits(
        config: &Config,
        statistics: Statistics,
        registry: &mut Registry,
        limits: Limits,
    ) -> Result<Self, RoutesError> {
        let dns = Dns::new(config)?;
        let strict = chatmail::tls::client(&config.mxdeliv_authorities, "mxdeliv_authorities")?;
        let source = config.mxdeliv_source_address;
        let lax = tls::lax().map_err(TlsError::from)?;
        let https = Https::new(strict, lax, &dns, source, &limits)?;
        let (store, loaded) = Store::open(config)?;
        let clock = Clock::new();
        let mut knowledge = Knowledge::new(limits, config.mxdeliv_peer_port);
        knowledge.load(clock.now(), loaded);
        let knowledge = Arc::new(Mutex::new(knowledge));
        let metrics = Metrics::register(registry, knowledge.clone());
        let shared = Shared {
            statistics,
            dns,
            clock,
            knowledge,
            store,
            https,
            metrics,
            limits,
            preparing: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// What Postfix should use for a domain. From memory, at once.
    pub fn transport(&self, domain: &Domain) -> Transport {
        let now = self.shared.clock.now();
        self.shared.knowledge().transport(domain, now)
    }

    /// Begins to find a peer's endpoint and to connect to it, for a message that is about to come. Must
    /// be called within a tokio runtime.
    pub fn prepare(&self, domain: &Domain) {
        prepare::prepare(&self.shared, domain);
    }

    /// Posts a message; returns once a peer has taken it, after at most a minute. Of requests that
    /// were made the statistics hear.
    ///
    /// # Errors
    /// See [`NotTaken`]. When the connection broke, a peer may have the message all the same.
    pub async fn post(&self, domain: &Domain, post: &Post) -> Result<(), NotTaken> {
        self.shared.post(domain, post).await
    }

    /// The operator's decisions, by domain.
    pub fn overrides(&self) -> Vec<(Domain, Override)> {
        let knowledge = self.shared.knowledge();
        let overrides = knowledge.overrides().iter();
        overrides
            .map(|(domain, decision)| (domain.clone(), decision.clone()))
            .collect()
    }

    /// Decides about a domain: from now on, and once this returns also after a restart.
    ///
    /// # Errors
    /// It cannot be written down; it holds until the daemon ends all the same.
    pub async fn set_override(
        &self,
        domain: Domain,
        decision: Override,
    ) -> Result<(), DatabaseError> {
        let changed = (domain.clone(), decision.clone());
        self.shared
            .change(|knowledge, _| knowledge.decide(changed.0, changed.1));
        self.shared
            .store
            .write_override(domain, Some(decision))
            .await
    }

    /// Takes a decision back; `false` when there was none.
    ///
    /// # Errors
    /// It cannot be written down; it holds until the daemon ends all the same.
    pub async fn unset_override(&self, domain: &Domain) -> Result<bool, DatabaseError> {
        let there = self.shared.knowledge().undecide(domain);
        // Also when there was none in memory: what could not be written before is written now.
        self.shared
            .store
            .write_override(domain.clone(), None)
            .await?;
        Ok(there)
    }

    /// What is known of a domain.
    pub fn peer(&self, domain: &Domain) -> PeerView {
        let now = self.shared.clock.now();
        self.shared.knowledge().view(domain, now)
    }

    /// What is known of all domains, by domain; at most some thousands.
    pub fn peers(&self) -> Vec<PeerView> {
        let now = self.shared.clock.now();
        let knowledge = self.shared.knowledge();
        let domains = knowledge.domains();
        domains
            .iter()
            .map(|domain| knowledge.view(domain, now))
            .collect()
    }

    /// Where mail for a domain can be posted, in the order of trying: where the operator has decided, or
    /// else where DNS says; nowhere when the operator wants SMTP.
    ///
    /// # Errors
    /// DNS does not say, or says that the domain takes no mail.
    pub async fn endpoints(&self, domain: &Domain) -> Result<Vec<Endpoint>, DnsFailure> {
        self.shared.endpoints(domain).await
    }

    /// The resolver that peers' hosts are looked up with.
    pub fn dns(&self) -> &Dns {
        &self.shared.dns
    }

    /// The TLS settings of connections to peers; `lax` takes any certificate.
    pub fn tls(&self, lax: bool) -> Arc<ClientConfig> {
        self.shared.https.tls(lax)
    }

    /// Returns when all that was learnt so far is on disk, or cannot be.
    pub async fn flush(&self) {
        self.shared.store.flush().await;
    }
}
