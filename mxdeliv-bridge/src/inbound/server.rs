//! Accepts connections, as many as there may be at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chatmail::config::Listen;
use chatmail::log_limit::LogLimit;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::{self, Stream};
use crate::daemon::{StartError, Stop, stopped};

/// The most connections at a time; others wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;

/// How long to wait when the system cannot give a connection, such as when files run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Permissions of the unix socket: whoever reaches the folder it lies in may connect. So the folder
/// decides.
pub(super) const SOCKET_MODE: u32 = 0o666;

/// A listening socket of either kind.
pub(super) enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Socket {
    /// Listens.
    pub(super) fn bind(listen: &Listen) -> Result<Self, StartError> {
        let socket = match listen {
            Listen::Unix(path) => chatmail::listen::unix(path, SOCKET_MODE).map(Self::Unix),
            Listen::Tcp(address) => chatmail::listen::tcp(*address).map(Self::Tcp),
        };
        socket.map_err(StartError::bind(listen))
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A failure here costs time, not mail.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
        })
    }
}

/// Serves until it is told to stop and all requests that were begun are answered.
pub(super) async fn serve(socket: Socket, router: Router, stop: Stop) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let complaints = LogLimit::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let permit = room.clone().acquire_owned().await;
            (permit, socket.accept().await)
        };
        let (permit, stream) = tokio::select! {
            () = stopped(stop.clone()) => break,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        match stream {
            Ok(stream) => {
                let served = connection::serve(stream, router.clone(), stopped(stop.clone()));
                connections.spawn(async move {
                    served.await;
                    drop(permit);
                });
            }
            Err(error) => {
                if let Some(suppressed) = complaints.allow() {
                    tracing::error!(suppressed, "cannot accept a connection: {error}");
                }
                sleep(PAUSE).await;
            }
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}
