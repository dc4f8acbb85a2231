//! Listening sockets.
//!
//! Dovecot opens a dict connection for each operation, and a full backlog fails a login or a
//! delivery; so the backlog is as deep as the kernel allows.
//!
//! A unix socket may also be there before the daemon: systemd (`sd_listen_fds(3)`) or another
//! supervisor binds it and hands it on. Then it outlives the daemon, and who connects while the
//! daemon is started again waits instead of being refused.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{
    UnixDatagram as ConnectedDatagram, UnixListener as BoundListener, UnixStream as ConnectedStream,
};
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixDatagram, UnixListener, UnixSocket};

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn` (4096 by
/// default).
const BACKLOG: u32 = 4096;

/// The unix sockets that were handed to this process, each until somebody asks for its path.
static INHERITED: LazyLock<Mutex<Vec<BoundListener>>> = LazyLock::new(|| {
    let mut handed = ListenFd::from_env();
    // What is not a unix socket is not for us.
    let sockets = (0..handed.len()).filter_map(|at| handed.take_unix_listener(at).ok().flatten());
    Mutex::new(sockets.collect())
});

/// Listens on a unix socket with these permission bits, or takes over the one that this process
/// was handed for the path, as it is.
///
/// A socket file that no process listens on, as a killed daemon leaves it, is replaced. The new
/// one gets its permissions before anybody can connect.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] when a process listens there or when the path holds something
/// that is not a socket; else what the system says, for example about a missing folder.
pub fn unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(socket) = inherited(path) {
        socket.set_nonblocking(true)?;
        return UnixListener::from_std(socket);
    }
    remove_stale(path, |path| ConnectedStream::connect(path).map(drop))?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Before `listen` a connection is refused, so nobody gets in with other permissions.
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)
}

/// Takes datagrams on a unix socket with these permission bits.
///
/// A socket file that no process has, as a killed daemon leaves it, is replaced.
///
/// # Errors
/// As [`unix`].
pub fn unix_datagram(path: &Path, mode: u32) -> io::Result<UnixDatagram> {
    remove_stale(path, |path| ConnectedDatagram::unbound()?.connect(path))?;
    let socket = UnixDatagram::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(socket)
}

fn inherited(path: &Path) -> Option<BoundListener> {
    let mut sockets = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_for = |socket: &BoundListener| {
        socket
            .local_addr()
            .is_ok_and(|address| address.as_pathname() == Some(path))
    };
    let at = sockets.iter().position(is_for)?;
    Some(sockets.swap_remove(at))
}

/// `connect` fails with [`io::ErrorKind::ConnectionRefused`] when no process has the socket.
fn remove_stale(path: &Path, connect: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let in_use = |what: &str| {
        io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("{} {what}", path.display()),
        )
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(in_use("is there and is not a socket")),
        Ok(_) => match connect(path) {
            Ok(()) => Err(in_use("is in use by another process")),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)
            }
            Err(error) => Err(error),
        },
    }
}

/// Listens on a TCP address.
///
/// # Errors
/// What the system says, for example that the port is taken.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let first = unix(&path, 0o660).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o660
        );
        assert_eq!(
            unix(&path, 0o660).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        unix(&path, 0o600).unwrap();
    }

    #[tokio::test]
    async fn a_stale_datagram_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let first = unix_datagram(&path, 0o622).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o622);
        let again = unix_datagram(&path, 0o622).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        unix_datagram(&path, 0o622).unwrap();
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(
            unix(&path, 0o660).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn tcp_ports_are_bound_once() {
        let first = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(tcp(first.local_addr().unwrap()).is_err());
    }
}
