//! Peers that are played: domains in the testbed's DNS whose port 25 and whose `/mxdeliv` this process
//! serves, each as wrong as a test wants it, and each message that came.
//!
//! [`classic`] and [`madmail`] are the two implementations in the field, as far as a relay meets them.

pub mod classic;
mod client;
mod https;
pub mod madmail;
mod smtp;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use chatmail::dns::Dns;
use chatmail::{Address, Config, Domain};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use client::Letter;
pub use https::{Answer, Behaviour, Post};

use crate::authority::{Authority, Certificate};
use crate::dns::Data;
use crate::host::addresses::{Port, RelayAddress};
use crate::target::Target;

/// Seconds for which its records are good.
const TTL: u32 = 60;

/// How a peer is.
pub struct Manner {
    /// What answers at the HTTPS port; nobody listens if none.
    pub https: Option<Behaviour>,
    /// What its `/mxdeliv` shows.
    pub certificate: Certificate,
    /// Whether it takes mail at port 25, whatever it is; else nobody listens.
    pub smtp: bool,
}

/// What carried a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `POST /mxdeliv`.
    Https,
    /// SMTP.
    Smtp,
}

/// A message that a peer has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What carried it.
    pub by: By,
    /// The envelope sender; empty for the null sender.
    pub sender: String,
    /// The recipients.
    pub recipients: Vec<String>,
    /// The message as it came.
    pub message: Bytes,
}

/// A peer that is played. It ends with this value.
pub struct Peer {
    domain: String,
    address: RelayAddress,
    authority: Authority,
    authorities: PathBuf,
    names: Dns,
    inbox: Inbox,
    servers: Vec<JoinHandle<()>>,
}

/// What a peer has seen. Clones share it.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    received: Vec<Received>,
    posts: usize,
}

impl Peer {
    /// Takes an address, tells the DNS of a domain there, and serves it.
    ///
    /// # Errors
    /// As [`Peer::announce`] and [`Peer::open`].
    pub async fn start(relay: &Target, domain: &str, manner: Manner) -> anyhow::Result<Self> {
        let mut peer = Self::announce(relay, domain)?;
        peer.open(manner).await?;
        Ok(peer)
    }

    /// Takes an address and tells the DNS of a domain there; nobody serves it yet.
    ///
    /// # Errors
    /// No address is free, or the testbed of this relay has no DNS or authority.
    pub fn announce(relay: &Target, domain: &str) -> anyhow::Result<Self> {
        let ports = [Port::Https.number(), Port::Mx.number()];
        let dns = relay.dns.as_ref().context("a testbed without DNS")?;
        let address = match relay.network {
            None => RelayAddress::take_for(&ports)?,
            // There is one for all that is not a host.
            Some(_) => RelayAddress::on_own_network(dns.ipv4()?),
        };
        dns.change(|zone| {
            zone.set(domain, TTL, &[Data::Mx(10, domain.into())])?;
            zone.set(domain, TTL, &[Data::A(address.ip())])
        })?;
        let (config, _) = Config::load(&relay.chatmail_ini)?;
        Ok(Self {
            domain: domain.to_owned(),
            address,
            authority: Authority::open(&config.mxdeliv_authorities)?,
            names: Dns::new(&config)?,
            authorities: config.mxdeliv_authorities,
            inbox: Inbox::default(),
            servers: Vec::new(),
        })
    }

    /// Begins to serve.
    ///
    /// # Errors
    /// It does so already.
    pub async fn open(&mut self, manner: Manner) -> anyhow::Result<()> {
        if let Some(behaviour) = manner.https {
            let tls = self.acceptor(manner.certificate)?;
            let listener = TcpListener::bind(self.socket(Port::Https)).await?;
            let server = https::serve(listener, tls, behaviour, self.inbox.clone());
            self.servers.push(tokio::spawn(server));
        }
        if manner.smtp {
            let tls = self.acceptor(Certificate::Right)?;
            let listener = TcpListener::bind(self.socket(Port::Mx)).await?;
            let server = smtp::serve(listener, tls, self.inbox.clone());
            self.servers.push(tokio::spawn(server));
        }
        Ok(())
    }

    /// The domain of its addresses.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Its address with one of its ports.
    pub fn socket(&self, port: Port) -> SocketAddr {
        (self.address.ip(), port.number()).into()
    }

    /// The messages that it has taken so far.
    pub fn received(&self) -> Vec<Received> {
        self.inbox.seen(|seen| seen.received.clone())
    }

    /// How many posts have come so far, whatever became of them.
    pub fn posts(&self) -> usize {
        self.inbox.seen(|seen| seen.posts)
    }

    /// Posts a message to a host that has this name.
    async fn post(
        &self,
        host: &Domain,
        trust: client::Trust<'_>,
        letter: &Letter<'_>,
    ) -> anyhow::Result<(u16, String)> {
        let addresses = self.names.addresses(host).await?;
        let address = *addresses.first().context("a host without an address")?;
        let to = SocketAddr::new(address, Port::Https.number());
        let name = host.ip().map_or(host.to_string(), |ip| ip.to_string());
        client::post(self.address.ip().into(), to, &name, trust, letter).await
    }

    /// TLS with a new certificate.
    fn acceptor(&self, certificate: Certificate) -> anyhow::Result<TlsAcceptor> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name);
        let (chain, key) = (file("certificate.pem"), file("key.pem"));
        let names = vec![self.domain.clone()];
        self.authority.write(certificate, names, &chain, &key)?;
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(read_chain(&chain)?, PrivateKeyDer::from_pem_file(&key)?)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

impl Inbox {
    fn take(&self, received: Received) {
        self.seen(|seen| seen.received.push(received));
    }

    fn count_post(&self) {
        self.seen(|seen| seen.posts += 1);
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read_chain(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(file)?;
    Ok(certificates.collect::<Result<_, _>>()?)
}

/// The domain of a message's recipients.
fn domain_of(letter: &Letter<'_>) -> anyhow::Result<Domain> {
    let recipient = letter.recipients.first().context("no recipient")?;
    let recipient: Address = recipient.parse()?;
    Ok(recipient.domain().clone())
}
