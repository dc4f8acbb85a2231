//! The server of push notifications that a relay is told of, played: the real one is outside, and would wake
//! up real phones.

use std::fs;
use std::net::SocketAddr;

use anyhow::Context as _;
use chatmail::Config;
use tokio::net::TcpListener;

pub use ::notifications::{Answer, Http, NotificationServer, Post};

use crate::authority::{Authority, Certificate};
use crate::target::Target;

/// Begins to serve where this relay posts its notifications, with a certificate that it trusts.
///
/// # Errors
/// The relay posts elsewhere, or somebody serves there already.
pub async fn play(
    relay: &Target,
    judge: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> anyhow::Result<NotificationServer> {
    let (config, _) = Config::load(&relay.chatmail_ini)?;
    let url = config.notification_url.context("a relay without pushes")?;
    let host = url.as_str().trim_start_matches("https://");
    let (host, _) = host.split_once('/').unwrap_or((host, ""));
    let address: SocketAddr = host
        .parse()
        .with_context(|| format!("{url} is elsewhere"))?;
    let folder = tempfile::tempdir()?;
    let (chain, key) = (
        folder.path().join("chain.pem"),
        folder.path().join("key.pem"),
    );
    let authority = Authority::open(&config.notification_authorities)?;
    authority.write(
        Certificate::Right,
        vec![address.ip().to_string()],
        &chain,
        &key,
    )?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address}"))?;
    let (chain, key) = (fs::read(chain)?, fs::read(key)?);
    Ok(NotificationServer::start(
        listener,
        &chain,
        &key,
        Http::Both,
        judge,
    )?)
}
