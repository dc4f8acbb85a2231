//! Routes over real sockets: peers with TLS, a DNS server, Postfix's own client of the oracle. The
//! peers and the DNS server are stand-ins of these tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "../../../filtermail/tests/common/dns.rs"]
#[allow(dead_code, unreachable_pub, reason = "each program uses a part of it")]
mod dns;

mod answers;
mod connections;
mod memory;
mod oracle;
mod peer;
mod search;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use chatmail::{Config, Domain};
use mxdeliv_bridge::routes::{Limits, NotTaken, Post, Routes};
use mxdeliv_bridge::statistics::Statistics;
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use dns::{Dns, Say as DnsSay};
use peer::Peer;

/// Longer than anything takes that ends at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a peer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Good,
    OtherName,
    Expired,
    SelfSigned,
}

/// A bridge's routes, and the world that they see.
struct World {
    dir: TempDir,
    dns: Dns,
    authority: CertifiedIssuer<'static, KeyPair>,
    /// All peers have it, each on an address of its own.
    port: u16,
    limits: Limits,
    http2: bool,
}

impl World {
    async fn new() -> Self {
        // What is closed stays so, unless a test wants otherwise.
        Self::with_limits(Limits {
            failing_first: Duration::from_secs(600),
            ..Limits::default()
        })
        .await
    }

    async fn with_limits(limits: Limits) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("authority.pem"), authority.pem()).unwrap();
        std::fs::create_dir_all(dir.path().join("queue/mxdeliv")).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self {
            dir,
            dns: Dns::start().await,
            authority,
            port: free.local_addr().unwrap().port(),
            limits,
            http2: false,
        }
    }

    fn config(&self) -> Config {
        let dir = self.dir.path().display();
        let text = format!(
            "[params]\nmail_domain = own.test\n{}\n\
             mxdeliv_peer_port = {}\n\
             mxdeliv_authorities = {dir}/authority.pem\n\
             mxdeliv_database_path = {dir}/peers.sqlite\n\
             mxdeliv_lmtp_socket = {dir}/queue/mxdeliv/lmtp.sock\n\
             mxdeliv_route_socket = {dir}/queue/mxdeliv/route.sock\n",
            self.dns.config_line(),
            self.port,
        );
        Config::parse(&text, Path::new("chatmail.ini")).unwrap().0
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn routes(&self) -> Routes {
        self.routes_and_metrics().0
    }

    fn routes_and_metrics(&self) -> (Routes, Registry) {
        let mut registry = Registry::default();
        let statistics = Statistics::open(&self.config()).unwrap();
        let routes = Routes::with_limits(&self.config(), statistics, &mut registry, self.limits);
        (routes.unwrap(), registry)
    }

    /// A peer at an address of its own, known to DNS by this name.
    async fn peer(&self, name: &str) -> Peer {
        self.peer_that_shows(name, Shown::Good).await
    }

    /// The same, for a name that is to have other records beside its address.
    async fn peer_and_address(&self, name: &str) -> (Peer, Ipv4Addr) {
        let address = self.address(name);
        let listener = TcpListener::bind(address).await.unwrap();
        let std::net::IpAddr::V4(ip) = address.ip() else {
            unreachable!()
        };
        (Peer::start(listener, self.tls(name, Shown::Good)), ip)
    }

    async fn peer_that_shows(&self, name: &str, shown: Shown) -> Peer {
        let address = self.address(name);
        let listener = TcpListener::bind(address).await.unwrap();
        Peer::start(listener, self.tls(name, shown))
    }

    /// An address that nobody listens on, known to DNS by this name.
    fn address(&self, name: &str) -> SocketAddr {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let [high, low] = NEXT.fetch_add(1, SeqCst).to_be_bytes();
        let address = Ipv4Addr::new(127, 66, high, low);
        self.dns.set(name, DnsSay::address(address));
        (address, self.port).into()
    }

    /// The hosts of a mail domain.
    fn mail_hosts(&self, domain: &str, hosts: &[(u16, &str)]) {
        self.dns.set(domain, DnsSay::mail_hosts(hosts));
    }

    fn tls(&self, name: &str, shown: Shown) -> ServerConfig {
        let name = match shown {
            Shown::OtherName => "somebody-else.test",
            _ => name,
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if shown == Shown::Expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = match shown {
            Shown::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.authority),
        };
        let certificate = certificate.unwrap().der().clone();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let key = key.serialize_der().try_into().unwrap();
        let mut config = builder
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = match self.http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        config
    }
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

/// A message for somebody at a domain.
fn message(to: &str) -> Post {
    Post {
        sender: "alice@own.test".into(),
        recipients: vec![format!("bob@{to}")],
        message: Bytes::from_static(b"Subject: x\r\n\r\nhello\r\n"),
        key: "0123456789abcdef".into(),
    }
}

async fn post(routes: &Routes, to: &str) -> Result<(), NotTaken> {
    let posted = routes.post(&domain(to), &message(to)).await;
    routes.flush().await;
    posted
}

fn why(posted: Result<(), NotTaken>) -> String {
    posted.unwrap_err().to_string()
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}
