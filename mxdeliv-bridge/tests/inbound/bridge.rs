//! The inbound side of a bridge, and all that it talks to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chatmail::Config;
use filtermail::dkim::KeyCache;
use mxdeliv_bridge::inbound;
use mxdeliv_bridge::statistics::Statistics;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::dns::Dns;
use crate::doveauth::Doveauth;
use crate::http::{Answer, Post};
use crate::mail_server::MailServer;

/// Where the peers of the tests are. Mail from `[192.0.2.1]` needs no signature.
pub const CLIENT: &str = "192.0.2.1";
/// Somebody there.
pub const SENDER: &str = "carol@[192.0.2.1]";

pub struct Bridge {
    pub dir: tempfile::TempDir,
    pub dns: Dns,
    pub doveauth: Doveauth,
    pub dovecot: MailServer,
    pub postfix: MailServer,
    pub statistics: Statistics,
    registry: Registry,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
}

impl Bridge {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// Starts it with these lines of chatmail.ini.
    pub async fn with(keys: &str) -> Self {
        Self::of(&format!("mail_domain = chat.example\n{keys}")).await
    }

    /// Starts it with these lines of chatmail.ini, its domain among them.
    pub async fn of(keys: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let dns = Dns::start().await;
        let doveauth = Doveauth::start(&at("policy.sock"));
        let dovecot = MailServer::lmtp(&at("lmtp.sock"));
        let postfix = MailServer::smtp().await;
        let text = format!(
            "[params]\nmxdeliv_listen = unix:{}\n\
             mxdeliv_return_socket = {}\npolicy_socket = {}\ndovecot_lmtp_socket = {}\n\
             mxdeliv_database_path = {}\npostfix_return = {}\n{}\n{keys}\n",
            at("http.sock").display(),
            at("return.sock").display(),
            at("policy.sock").display(),
            at("lmtp.sock").display(),
            at("peers.sqlite").display(),
            postfix.address(),
            dns.config_line(),
        );
        let (config, warnings) = Config::parse(&text, Path::new("chatmail.ini")).unwrap();
        assert_eq!(warnings, []);
        let statistics = Statistics::open(&config).unwrap();
        let mut registry = Registry::default();
        let (stop, stopped) = watch::channel(false);
        let keys = KeyCache::new(&config).unwrap();
        let servers = inbound::bind(&config, keys, &statistics, &mut registry, &stopped).unwrap();
        Self {
            dir,
            dns,
            doveauth,
            dovecot,
            postfix,
            statistics,
            registry,
            stop,
            serving: servers.into_iter().collect(),
        }
    }

    /// Where nginx connects to.
    pub fn http(&self) -> PathBuf {
        self.dir.path().join("http.sock")
    }

    /// Where Postfix brings back.
    pub fn return_socket(&self) -> PathBuf {
        self.dir.path().join("return.sock")
    }

    /// Posts; the answer.
    pub async fn post(&self, post: &Post) -> Answer {
        post.send(&self.http()).await
    }

    /// The value of a metric, 0 when nothing was counted.
    pub fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has this value.
    pub async fn until(&self, name: &str, value: f64) {
        let reached = async {
            while self.metric(name) != value {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(reached).await;
    }

    /// Waits until nothing of a message is held.
    pub async fn until_idle(&self) {
        self.until("mxdeliv_inbound_reserved_octets", 0.0).await;
    }

    /// Tells it to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for its end.
    pub async fn ended(mut self) {
        soon(async { while self.serving.join_next().await.is_some() {} }).await;
    }
}

/// What must happen without a hang.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it hangs")
}
