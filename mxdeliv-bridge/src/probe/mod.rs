//! `probe DOMAIN`: how a domain can be reached now, step by step, each with its time.
//!
//! The daemon does it, with the DNS servers, certificates and decisions that mail is sent with. No message is
//! sent. Every step has a deadline; a step that fails ends its branch and not the others.

mod https;
mod smtp;

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use chatmail::{Config, Domain};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::redaction::without_addresses;
use crate::routes::{PeerState, PeerView, Routes};
use crate::statistics::Transport;

/// How long a step may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Hosts that are tried over each protocol, and addresses of each.
const HOSTS_MAX: usize = 4;
const ADDRESSES_MAX: usize = 4;

/// Longest description of what came of a step, in characters.
const DETAIL_MAX: usize = 400;

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What was tried: `mx`, `address`, `connect`, `tls`, `http`, `smtp-connect`, `smtp-banner`, `smtp-ehlo`,
    /// `smtp-starttls`, `smtp-tls`, and at last `route`.
    pub step: String,
    /// With whom: a domain, a host, or a host and its port.
    pub target: String,
    /// Whether it went as it should.
    pub ok: bool,
    /// How long it took.
    pub milliseconds: f64,
    /// What came of it.
    pub detail: String,
}

/// Takes all steps and sends each as soon as it is done; ends early when nobody takes them.
pub async fn run(config: &Config, routes: &Routes, domain: &Domain, steps: mpsc::Sender<Step>) {
    let probe = Probe {
        routes,
        domain,
        source: config.mxdeliv_source_address,
        steps,
    };
    // `None`: nobody takes the steps.
    let _ = probe.all(config).await;
}

struct Probe<'a> {
    routes: &'a Routes,
    domain: &'a Domain,
    /// Where connections come from, if that is not for the system to choose.
    source: Option<IpAddr>,
    steps: mpsc::Sender<Step>,
}

/// What a step found, in words; an error is what went wrong.
type Found<T> = Result<(T, String), String>;

impl Probe<'_> {
    async fn all(&self, config: &Config) -> Option<()> {
        let hosts = self.hosts().await?;
        self.https().await?;
        for host in hosts.iter().flatten().take(HOSTS_MAX) {
            let port = config.mxdeliv_peer_smtp_port;
            smtp::probe(self, host, port, &config.mail_domain).await?;
        }
        self.route().await
    }

    async fn hosts(&self) -> Option<Option<Vec<Domain>>> {
        let lookup = async {
            let hosts = self.routes.dns().mail_hosts(self.domain).await;
            let hosts = hosts.map_err(|error| error.to_string())?;
            let names = list(&hosts);
            Ok((hosts, names))
        };
        self.step("mx", self.domain, lookup).await
    }

    async fn https(&self) -> Option<()> {
        let endpoints = match self.routes.endpoints(self.domain).await {
            Ok(endpoints) => endpoints,
            // The step before has told of it.
            Err(_) => return Some(()),
        };
        for endpoint in endpoints.iter().take(HOSTS_MAX) {
            https::probe(self, endpoint).await?;
        }
        Some(())
    }

    /// What all of this, and what was learnt before, comes to.
    async fn route(&self) -> Option<()> {
        let view = self.routes.peer(self.domain);
        let route = async { Ok(((), describe(&view))) };
        self.step("route", self.domain, route).await.map(drop)
    }

    /// A host's addresses.
    async fn addresses(&self, host: &Domain) -> Option<Option<Vec<IpAddr>>> {
        let lookup = async {
            let addresses = self.routes.dns().addresses(host).await;
            let addresses = addresses.map_err(|error| error.to_string())?;
            let shown = list(&addresses);
            Ok((addresses, shown))
        };
        self.step("address", host, lookup).await
    }

    /// A connection to the first of these addresses that can be reached.
    async fn connect(
        &self,
        step: &str,
        addresses: &[IpAddr],
        port: u16,
    ) -> Option<Option<TcpStream>> {
        for &address in addresses.iter().take(ADDRESSES_MAX) {
            let address = SocketAddr::new(address, port);
            let connect = async {
                let stream = self.open(address).await;
                let stream = stream.map_err(|error| error.to_string())?;
                Ok((stream, "connected".to_owned()))
            };
            let connected = self.step(step, address, connect).await?;
            if connected.is_some() {
                return Some(connected);
            }
        }
        Some(None)
    }

    /// As mail is posted: from `mxdeliv_source_address`, when the peer has an address of its family.
    async fn open(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        match self.source {
            Some(source) if source.is_ipv4() == address.is_ipv4() => {
                socket.bind(SocketAddr::new(source, 0))?;
            }
            _ => {}
        }
        socket.connect(address).await
    }

    /// Takes a step and tells of it. Outer `None`: nobody takes it; inner `None`: it has failed.
    async fn step<T>(
        &self,
        step: &str,
        target: impl Display,
        work: impl Future<Output = Found<T>>,
    ) -> Option<Option<T>> {
        let began = Instant::now();
        let found = timeout(DEADLINE, work).await;
        let found = found.unwrap_or_else(|_| Err(format!("nothing within {DEADLINE:?}")));
        let milliseconds = (began.elapsed().as_secs_f64() * 100_000.0).round() / 100.0;
        let (found, detail) = match found {
            Ok((found, detail)) => (Some(found), detail),
            Err(why) => (None, why),
        };
        let taken = Step {
            step: step.to_owned(),
            target: target.to_string(),
            ok: found.is_some(),
            milliseconds,
            detail: presentable(&detail),
        };
        self.steps.send(taken).await.ok()?;
        Some(found)
    }
}

/// Fit to be shown: certificates hold what their makers like.
fn presentable(detail: &str) -> String {
    match detail.contains('@') || detail.contains(char::is_control) {
        true => without_addresses(detail),
        false => detail.chars().take(DETAIL_MAX).collect(),
    }
}

fn list(items: &[impl Display]) -> String {
    let shown = items.iter().take(8).map(ToString::to_string);
    shown.collect::<Vec<_>>().join(", ")
}

fn describe(view: &PeerView) -> String {
    let way = match (view.transport, &view.endpoint) {
        (Transport::Smtp, _) => "Postfix is told to send by SMTP".to_owned(),
        (Transport::Mxdeliv, Some(endpoint)) => format!("mail is posted to {}", endpoint.url()),
        (Transport::Mxdeliv, None) => "mail is posted, once a host is found".to_owned(),
    };
    let why = match (&view.decided, view.state) {
        (Some(_), _) => "the operator has decided so",
        (None, PeerState::Speaks) => "the host has taken mail, or refused it as mxdeliv does",
        (None, PeerState::Silent) => "the host did not speak mxdeliv, or could not be reached",
        (None, PeerState::Failing) => "the host has failed lately",
        (None, PeerState::Unknown) => "nothing is known of the host yet",
    };
    format!("{way}: {why}")
}
