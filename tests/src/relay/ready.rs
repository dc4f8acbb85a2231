//! Waiting for a relay to answer.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::options::Variant;
use super::{Relay, daemons, opendkim};
use crate::host::addresses::Port;

/// A slow machine gets this long; two cores need a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn wait(relay: &Relay) -> anyhow::Result<()> {
    if relay.options.variant == Variant::Full {
        for metrics in daemons::answering(relay) {
            let what = format!("a daemon's metrics at {metrics}");
            // They are for the host itself.
            let connect = || std::net::TcpStream::connect(metrics).is_ok();
            let answers = async || relay.network.enter(connect).unwrap_or(false);
            eventually(&what, answers).await?;
        }
    }
    if relay.options.variant == Variant::OpenDkim {
        let socket = opendkim::socket(relay);
        let answers = async || UnixStream::connect(&socket).await.is_ok();
        eventually(opendkim::NAME, answers).await?;
    }
    // Dovecot first: a service of Postfix that finds nobody to ask about logins ends, and is not
    // started again within a minute.
    let has_mail = !relay.host.is_backend();
    let greetings = [
        (Port::Imap, "* OK "),
        (Port::Mx, "220 "),
        (Port::Submission, "220 "),
    ];
    let greetings = greetings.into_iter();
    for (port, greeting) in greetings.filter(|(port, _)| has_mail || *port == Port::Imap) {
        let address = relay.socket(port);
        eventually(&format!("{port:?} at {address}"), || {
            greets(address, greeting)
        })
        .await?;
    }
    // TLS from the first byte, or a server that waits to be spoken to: that it listens says enough.
    let https = relay.has_bridge().then_some(Port::Https);
    let calls = [Port::Http, Port::Turn, Port::IrohRelay];
    let calls = calls.into_iter().filter(|_| relay.has_calls());
    for port in has_mail
        .then_some(Port::Smtps)
        .into_iter()
        .chain([Port::Imaps])
        .chain(https)
        .chain(calls)
    {
        let address = relay.socket(port);
        let listens = async || TcpStream::connect(address).await.is_ok();
        eventually(&format!("{port:?} at {address}"), listens).await?;
    }
    Ok(())
}

async fn eventually<F: Future<Output = bool>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> anyhow::Result<()> {
    let attempts = async {
        while !attempt().await {
            sleep(PAUSE).await;
        }
    };
    timeout(PATIENCE, attempts).await.with_context(|| {
        format!(
            "{what} does not answer after {} seconds",
            PATIENCE.as_secs()
        )
    })
}

async fn greets(address: SocketAddr, greeting: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    let mut start = vec![0; greeting.len()];
    stream.read_exact(&mut start).await.is_ok() && start == greeting.as_bytes()
}
