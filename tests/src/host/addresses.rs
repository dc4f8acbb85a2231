//! Loopback addresses: one for each relay, so that any number of testbeds run side by side.
//!
//! Linux answers on all of 127.0.0.0/8. A relay takes 127.0.0.N for itself, with the same ports on
//! each, all above 1024 and outside the range for outgoing connections. So does a testbed's DNS server,
//! whose port is the usual one.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

/// Where every testbed on the machine, whatever its state folder, keeps the locks of addresses.
const LOCKS: &str = "/run/chatmail-testbed";

/// What a relay listens for on its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Port {
    /// Mail from other relays; 25 on a public relay.
    Mx = 10025,
    /// IMAP with STARTTLS; 143 on a public relay.
    Imap = 10143,
    /// Where the bridge hands Postfix what is to go by SMTP.
    Fallback = 10028,
    /// Where the bridge hands Postfix what is to come back to it.
    Return = 10029,
    /// HTTP without TLS, on a relay with calls; 80 on a public relay.
    Http = 10080,
    /// HTTPS; 443 on a public relay.
    Https = 10443,
    /// Where a server of push notifications is played; elsewhere on a public relay.
    Notifications = 10444,
    /// Submission over TLS; 465 on a public relay.
    Smtps = 10465,
    /// Submission with STARTTLS; 587 on a public relay.
    Submission = 10587,
    /// IMAP over TLS; 993 on a public relay.
    Imaps = 10993,
    /// iroh-relay behind nginx, on a relay with calls; 3340 on a public relay.
    IrohRelay = 13340,
    /// TURN over UDP and TCP, on a relay with calls; 3478 on a public relay.
    Turn = 13478,
    /// filtermail's metrics.
    FiltermailMetrics = 13905,
    /// doveauth's metrics.
    DoveauthMetrics = 13906,
    /// The bridge's metrics.
    BridgeMetrics = 13907,
    /// iroh-relay's metrics.
    IrohMetrics = 13908,
}

impl Port {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Mx,
        Self::Imap,
        Self::Fallback,
        Self::Return,
        Self::Http,
        Self::Https,
        Self::Notifications,
        Self::Smtps,
        Self::Submission,
        Self::Imaps,
        Self::IrohRelay,
        Self::Turn,
        Self::FiltermailMetrics,
        Self::DoveauthMetrics,
        Self::BridgeMetrics,
        Self::IrohMetrics,
    ];

    /// The number.
    pub fn number(self) -> u16 {
        self as u16
    }
}

/// A loopback address that is ours until this is dropped.
#[derive(Debug)]
pub struct LoopbackAddress {
    ip: Ipv4Addr,
    // The lock lives as long as the open file.
    _lock: File,
}

impl LoopbackAddress {
    /// Takes the lowest address that nobody has and where all of these ports are free.
    ///
    /// # Errors
    /// Not one of 127.0.0.2 to 127.0.0.254 will do; the message names the last obstacle.
    pub fn take(ports: &[u16]) -> anyhow::Result<Self> {
        let locks = Path::new(LOCKS);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(locks)
            .with_context(|| format!("making {LOCKS}"))?;
        ensure!(
            fs::metadata(locks)?.uid() == 0,
            "{LOCKS} does not belong to root"
        );

        let mut obstacle = String::new();
        for last in 2..=254 {
            let ip = Ipv4Addr::new(127, 0, 0, last);
            let path = locks.join(ip.to_string());
            let lock =
                File::create(&path).with_context(|| format!("opening {}", path.display()))?;
            if lock.try_lock().is_err() {
                obstacle = format!("{ip} belongs to another relay");
                continue;
            }
            match ports.iter().find_map(|port| in_use(ip, *port)) {
                Some(taken) => obstacle = taken,
                None => return Ok(Self { ip, _lock: lock }),
            }
        }
        bail!("no loopback address is free: {obstacle}")
    }

    /// The address itself.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }
}

/// A relay's address.
#[derive(Debug)]
pub struct RelayAddress {
    ip: Ipv4Addr,
    // Ours as long as this lives. On a network of our own all addresses are, and this is none.
    loopback: Option<LoopbackAddress>,
}

impl RelayAddress {
    /// Takes an address where every [`Port`] is free.
    ///
    /// # Errors
    /// As [`LoopbackAddress::take`].
    pub fn take() -> anyhow::Result<Self> {
        Self::take_for(&Port::ALL.map(Port::number))
    }

    /// Takes an address where these ports are free.
    ///
    /// # Errors
    /// As [`LoopbackAddress::take`].
    pub fn take_for(ports: &[u16]) -> anyhow::Result<Self> {
        let loopback = LoopbackAddress::take(ports)?;
        Ok(Self {
            ip: loopback.ip(),
            loopback: Some(loopback),
        })
    }

    /// An address of a network that nobody else uses.
    pub fn on_own_network(ip: Ipv4Addr) -> Self {
        Self { ip, loopback: None }
    }

    /// The address itself.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// The address with one of its ports.
    pub fn socket(&self, port: Port) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip()), port.number())
    }

    /// Where a port is that is for the host itself: loopback, of which a network of its own has another one.
    pub fn local(&self, port: Port) -> SocketAddr {
        match self.loopback {
            Some(_) => self.socket(port),
            None => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.number()),
        }
    }
}

/// What stands in the way of listening there. Who serves a port over UDP does so over TCP as well.
fn in_use(ip: Ipv4Addr, port: u16) -> Option<String> {
    let address = SocketAddr::new(IpAddr::V4(ip), port);
    TcpListener::bind(address)
        .err()
        .map(|error| format!("{address}: {error}"))
}
