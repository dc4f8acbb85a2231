//! The ports of a public relay at a relay of the testbed, for clients that look nowhere else: a `dcaccount:` link
//! names none, and most `dclogin:` links do not either.
//!
//! The relay itself keeps away from them, so that any number of testbeds run beside the machine's own servers.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::target::Target;

/// Ports that lead to a relay's HTTPS, IMAP and submission, until this is dropped.
pub struct UsualPorts {
    _tasks: JoinSet<()>,
}

impl UsualPorts {
    /// Listens on ports 443, 465 and 993 of the relay's address, and hands on what comes.
    ///
    /// # Errors
    /// The relay has no HTTPS; or another server has one of the ports, perhaps on all addresses of the machine.
    pub async fn open(relay: &Target) -> anyhow::Result<Self> {
        let https = relay.https.as_ref().context("a relay without HTTPS")?;
        let mut tasks = JoinSet::new();
        for (port, endpoint) in [(443, https), (465, &relay.smtps), (993, &relay.imap)] {
            let to = SocketAddr::new(endpoint.host.parse()?, endpoint.port);
            let at = SocketAddr::new(to.ip(), port);
            let listener = TcpListener::bind(at)
                .await
                .with_context(|| format!("listening on {at}"))?;
            tasks.spawn(serve(listener, to));
        }
        Ok(Self { _tasks: tasks })
    }
}

async fn serve(listener: TcpListener, to: SocketAddr) {
    // They end with the listener.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(pass(client, to));
    }
}

/// An error on either side closes both, which is what both of them would see without us.
async fn pass(mut client: TcpStream, to: SocketAddr) {
    let Ok(mut relay) = TcpStream::connect(to).await else {
        return;
    };
    for stream in [&client, &relay] {
        let _ = stream.set_nodelay(true);
    }
    let _ = copy_bidirectional(&mut client, &mut relay).await;
}
