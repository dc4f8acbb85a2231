//! The whole way of mail for peers, between a raw LMTP client, a stand-in for peers and one for
//! Postfix.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chatmail::{Config, Domain};
use mxdeliv_bridge::mail_client::Server;
use mxdeliv_bridge::outbound::{Outbound, Peers, lmtp};
use mxdeliv_bridge::routes::{NotTaken, Post};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use tokio::time::{Duration, sleep};

use crate::lmtp_client::LmtpClient;
use crate::mail_server::{Heard, MailServer, Script, polite_smtp, say};

const SIZE_MAX: u64 = 31 * 1024 * 1024;

/// What a peer does with a post.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    Take,
    Refuse,
    /// Takes it, and the answer gets lost on the way.
    TakeInSilence,
    Wait(Duration),
}

/// Says what a peer does with a post.
type PostScript = dyn Fn(&Domain, &Post) -> Deed + Send + Sync;

/// All peers.
#[derive(Clone)]
pub struct StandIn(Arc<Inner>);

struct Inner {
    script: Box<PostScript>,
    posts: Mutex<Vec<(Domain, Post)>>,
    prepared: Mutex<Vec<Domain>>,
    posted: Notify,
}

impl StandIn {
    pub fn new(script: impl Fn(&Domain, &Post) -> Deed + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            script: Box::new(script),
            posts: Mutex::default(),
            prepared: Mutex::default(),
            posted: Notify::new(),
        }))
    }

    /// What was posted, with its domain.
    pub fn posts(&self) -> Vec<(Domain, Post)> {
        self.0.posts.lock().unwrap().clone()
    }

    /// The domains that mail was announced for.
    pub fn prepared(&self) -> Vec<String> {
        let prepared = self.0.prepared.lock().unwrap();
        prepared.iter().map(Domain::to_string).collect()
    }

    /// Waits for a post.
    pub async fn posted(&self) {
        self.0.posted.notified().await;
    }
}

impl Peers for StandIn {
    fn prepare(&self, domain: &Domain) {
        self.0.prepared.lock().unwrap().push(domain.clone());
    }

    async fn post(&self, domain: &Domain, post: &Post) -> Result<(), NotTaken> {
        let entry = (domain.clone(), post.clone());
        self.0.posts.lock().unwrap().push(entry);
        self.0.posted.notify_one();
        match (self.0.script)(domain, post) {
            Deed::Take => Ok(()),
            Deed::Refuse => Err(NotTaken("no such path".into())),
            Deed::TakeInSilence => std::future::pending().await,
            Deed::Wait(time) => {
                sleep(time).await;
                Ok(())
            }
        }
    }
}

/// The bridge's outbound half, served on a socket.
pub struct Bridge {
    pub peers: StandIn,
    pub fallback: MailServer,
    registry: Registry,
    path: PathBuf,
    _dir: TempDir,
    _stop: watch::Sender<bool>,
}

impl Bridge {
    /// Peers that do this, and a Postfix that takes everything.
    pub fn start(script: impl Fn(&Domain, &Post) -> Deed + Send + Sync + 'static) -> Self {
        Self::with_fallback(script, |heard: Heard<'_>| polite_smtp(&heard))
    }

    /// Peers that take nothing, and a Postfix that does this.
    pub fn with_only_fallback(script: impl Script) -> Self {
        Self::with_fallback(|_, _| Deed::Refuse, script)
    }

    /// Peers that take nothing, and no Postfix.
    pub async fn alone() -> Self {
        let mut bridge = Self::with_only_fallback(|_: Heard<'_>| say("421 4.3.2 not today"));
        bridge.fallback.close().await;
        bridge
    }

    fn with_fallback(
        peers: impl Fn(&Domain, &Post) -> Deed + Send + Sync + 'static,
        fallback: impl Script,
    ) -> Self {
        let peers = StandIn::new(peers);
        let fallback = MailServer::start_tcp(fallback);
        let Server::Tcp(address) = fallback.address() else {
            panic!("a TCP address");
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lmtp.sock");
        let mut registry = Registry::default();
        let stop = watch::Sender::new(false);
        serve(&path, address, peers.clone(), &mut registry, &stop);
        Self {
            peers,
            fallback,
            registry,
            path,
            _dir: dir,
            _stop: stop,
        }
    }

    /// A client as Postfix is.
    pub async fn client(&self) -> LmtpClient {
        LmtpClient::ready(&self.path).await
    }

    /// Delivers a message over a connection of its own.
    pub async fn deliver(&self, mail: &str, recipients: &[&str], message: &str) -> Vec<u16> {
        let mut client = self.client().await;
        client.deliver(mail, recipients, message).await
    }

    /// Whether the metrics have this line.
    pub fn counts(&self, line: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.contains(&format!("mxdeliv_outbound_{line}\n"))
    }
}

/// Serves the outbound half in the background.
pub fn serve(
    path: &Path,
    fallback: SocketAddr,
    peers: StandIn,
    registry: &mut Registry,
    stop: &watch::Sender<bool>,
) {
    let text = format!("[params]\nmail_domain = x.example\npostfix_smtp_fallback = {fallback}\n");
    let (config, _) = Config::parse(&text, Path::new("chatmail.ini")).unwrap();
    let listener = chatmail::listen::unix(path, 0o600).unwrap();
    let outbound = Arc::new(Outbound::new(&config, peers, registry));
    let server = lmtp::serve("test", listener, outbound, SIZE_MAX, stop.subscribe());
    tokio::spawn(server);
}
