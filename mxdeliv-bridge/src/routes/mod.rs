//! Which way a domain's mail goes, what is known of peers, and connections to them.

mod endpoint;
pub mod oracle;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use chatmail::database::DatabaseError;
use chatmail::dns::{Dns, DnsFailure, NoServers};
use chatmail::{Config, Domain};
use prometheus_client::registry::Registry;
use rustls::ClientConfig;

use crate::statistics::{Statistics, Transport};

pub use endpoint::{Endpoint, Override, OverrideError, PATH};

/// Knows peers and posts to them. Clones share what is known.
#[derive(Clone, Debug)]
pub struct Routes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    _statistics: Statistics,
    dns: Dns,
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
    /// Opens what is known of peers.
    ///
    /// # Errors
    /// See [`RoutesError`].
    pub fn open(
        config: &Config,
        statistics: Statistics,
        _registry: &mut Registry,
    ) -> Result<Self, RoutesError> {
        let shared = Shared {
            _statistics: statistics,
            dns: Dns::new(config)?,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// What Postfix should use for a domain. From memory, at once.
    pub fn transport(&self, _domain: &Domain) -> Transport {
        Transport::Smtp
    }

    /// Begins to find a peer's endpoint and to connect to it, for a message that is about to come.
    pub fn prepare(&self, _domain: &Domain) {}

    /// Posts a message; returns once a peer has taken it.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub async fn post(&self, _domain: &Domain, _post: &Post) -> Result<(), NotTaken> {
        Err(NotTaken("not built".into()))
    }

    /// The operator's decisions, by domain.
    pub fn overrides(&self) -> Vec<(Domain, Override)> {
        Vec::new()
    }

    /// Decides about a domain: from now on, and once this returns also after a restart.
    ///
    /// # Errors
    /// It cannot be written down; it holds until the daemon ends all the same.
    pub async fn set_override(
        &self,
        _domain: Domain,
        _decision: Override,
    ) -> Result<(), DatabaseError> {
        Ok(())
    }

    /// Takes a decision back; `false` when there was none.
    ///
    /// # Errors
    /// It cannot be written down; it holds until the daemon ends all the same.
    pub async fn unset_override(&self, _domain: &Domain) -> Result<bool, DatabaseError> {
        Ok(false)
    }

    /// What is known of a domain.
    pub fn peer(&self, domain: &Domain) -> PeerView {
        PeerView {
            domain: domain.clone(),
            transport: self.transport(domain),
            decided: None,
            endpoint: None,
            state: PeerState::Unknown,
            since: None,
            next_try: None,
        }
    }

    /// What is known of all domains, by domain; at most some thousands.
    pub fn peers(&self) -> Vec<PeerView> {
        Vec::new()
    }

    /// Where mail for a domain can be posted, in the order of trying: what the operator has decided, or
    /// else what DNS says.
    ///
    /// # Errors
    /// DNS does not say, or says that the domain takes no mail.
    pub async fn endpoints(&self, domain: &Domain) -> Result<Vec<Endpoint>, DnsFailure> {
        let hosts = self.shared.dns.mail_hosts(domain).await?;
        let port = 443;
        let lax = false;
        let endpoints = hosts.into_iter().map(|host| Endpoint { host, port, lax });
        Ok(endpoints.collect())
    }

    /// The resolver that peers' hosts are looked up with.
    pub fn dns(&self) -> &Dns {
        &self.shared.dns
    }

    /// The TLS settings of connections to peers; `lax` takes any certificate.
    pub fn tls(&self, _lax: bool) -> Arc<ClientConfig> {
        let roots = rustls::RootCertStore::empty();
        let builder = ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ));
        let builder = builder.with_safe_default_protocol_versions();
        #[expect(clippy::expect_used, reason = "replaced in the next step")]
        let builder = builder.expect("the provider has the default versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}
