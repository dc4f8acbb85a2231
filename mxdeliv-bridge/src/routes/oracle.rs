//! Tells Postfix which way mail for a domain goes (socketmap_table(5)).
//!
//! `transport_maps` asks for several forms of an address (transport(5)); the full address and the domain
//! are answered, whichever comes first. The answer is from memory. That Postfix asks means that a
//! message is about to come: a connection to the peer is made meanwhile.
//!
//! Connections may stay for ever, as Postfix keeps them. What is not a request closes its connection.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chatmail::log_limit::LogLimit;
use chatmail::{Config, Domain, listen};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Routes;
use super::clock::Moment;
use super::links::Links;
use super::socketmap::{Malformed, REQUEST_MAX, Reply, Request, netstring};
use crate::daemon::{Serving, StartError, Stop, stopped};
use crate::statistics::Transport;

/// The name of the map.
const MAP: &str = "route";

/// Postfix decides who may ask: its processes run as its own user.
const MODE: u32 = 0o666;

/// The most connections at a time; more wait in the backlog.
const CONNECTIONS_MAX: usize = 1000;

/// How long to wait after a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often unused links are looked for.
const SWEEP: Duration = Duration::from_secs(60 * 60);

/// Binds the socket that Postfix's `transport_maps` asks.
///
/// # Errors
/// It cannot be listened on, or the links for next hops cannot be made.
pub fn bind(config: &Config, routes: &Routes, stop: Stop) -> Result<Serving, StartError> {
    let socket = &config.mxdeliv_lmtp_socket;
    let links = Links::open(socket, routes.shared.clock.now())
        .map_err(StartError::bind(socket.display()))?;
    let path = &config.mxdeliv_route_socket;
    let listener = listen::unix(path, MODE).map_err(StartError::bind(path.display()))?;
    tracing::info!("route: {}", path.display());
    let oracle = Oracle {
        routes: routes.clone(),
        links,
        own: config.mail_domain.clone(),
        complaints: LogLimit::new(),
    };
    Ok(Box::pin(serve(listener, Arc::new(oracle), stop)))
}

#[derive(Debug)]
struct Oracle {
    routes: Routes,
    links: Links,
    /// The domain whose mail stays here.
    own: Domain,
    complaints: LogLimit,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Io(#[from] io::Error),
}

async fn serve(listener: UnixListener, oracle: Arc<Oracle>, stop: Stop) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Every connection holds a sender: the channel closes with the last of them.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let mut stopping = pin!(stopped(stop.clone()));
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopping => break,
            _ = sweep.tick() => {
                let oracle = oracle.clone();
                tokio::task::spawn_blocking(move || oracle.links.sweep(oracle.now()));
                continue;
            }
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let (oracle, stop, held) = (oracle.clone(), stop.clone(), (place, open.clone()));
                tokio::spawn(async move {
                    let ended = converse(stream, &oracle, stop).await;
                    oracle.report(ended);
                    drop(held);
                });
            }
            Err(error) => {
                tracing::error!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, open));
    all_closed.recv().await;
    oracle.routes.flush().await;
}

async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    Ok((listener.accept().await?.0, place))
}

/// Answers until the client goes, sends what is no request, or the daemon is to stop; what was asked
/// before is answered.
async fn converse(mut stream: UnixStream, oracle: &Oracle, stop: Stop) -> Result<(), Ended> {
    let mut stopping = pin!(stopped(stop));
    let mut input = Vec::new();
    let mut output = Vec::new();
    loop {
        let read = tokio::select! {
            biased;
            read = stream.read_buf(&mut input) => read?,
            () = &mut stopping => return Ok(()),
        };
        if read == 0 {
            return Ok(());
        }
        let answered = oracle.answer_all(&mut input, &mut output);
        stream.write_all(&output).await?;
        output.clear();
        answered?;
        // Nobody needs more room than for a request that is not complete.
        input.shrink_to(REQUEST_MAX);
        output.shrink_to(REQUEST_MAX);
    }
}

impl Oracle {
    /// Answers the complete requests of `input`, which keeps the rest.
    fn answer_all(&self, input: &mut Vec<u8>, output: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut taken = 0;
        let ended = loop {
            match netstring(input.get(taken..).unwrap_or_default()) {
                Ok(Some((octets, length))) => {
                    self.answer(octets).write_to(output);
                    taken += length;
                }
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(malformed),
            }
        };
        input.drain(..taken);
        ended
    }

    fn answer(&self, octets: &[u8]) -> Reply {
        match Request::parse(octets) {
            Some(Request { map: MAP, key }) => match domain(key) {
                Some(domain) if domain != self.own => self.way(&domain),
                _ => Reply::NotFound,
            },
            Some(_) => Reply::Perm("no such map; the one here is: route"),
            // No domain has octets that are not UTF-8.
            None => Reply::NotFound,
        }
    }

    fn way(&self, domain: &Domain) -> Reply {
        let smtp = || Reply::Ok("smtp:".into());
        if self.routes.transport(domain) == Transport::Smtp {
            return smtp();
        }
        self.routes.prepare(domain);
        match self.links.next_hop(domain, self.now()) {
            Ok(hop) => Reply::Ok(format!("mxdeliv:{hop}")),
            Err(error) => {
                if let Some(suppressed) = self.complaints.allow() {
                    tracing::error!(
                        suppressed,
                        "Mail goes by SMTP, since no link for its next hop can be made: {error}"
                    );
                }
                smtp()
            }
        }
    }

    fn now(&self) -> Moment {
        self.routes.shared.clock.now()
    }

    fn report(&self, ended: Result<(), Ended>) {
        match ended {
            Ok(()) => {}
            // A client that goes before it reads its answer is no news.
            Err(Ended::Io(error)) => tracing::debug!("connection lost: {error}"),
            Err(Ended::Malformed(malformed)) => {
                if let Some(suppressed) = self.complaints.allow() {
                    tracing::warn!(
                        suppressed,
                        "closed a connection of the route map: {malformed}"
                    );
                }
            }
        }
    }
}

/// The domain of a key, which is an address, a domain, or a pattern that has none (transport(5)). A
/// name of one label is of this machine or its network.
fn domain(key: &str) -> Option<Domain> {
    let domain = key.rsplit_once('@').map_or(key, |(_, domain)| domain);
    let domain: Domain = domain.parse().ok()?;
    (domain.ip().is_some() || domain.as_str().contains('.')).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("a@X.test", Some("x.test"))]
    #[case("a+b@x.test", Some("x.test"))]
    #[case("\"a@b\"@x.test", Some("x.test"))]
    #[case("x.test", Some("x.test"))]
    #[case("a@[192.0.2.1]", Some("[192.0.2.1]"))]
    #[case("[ipv6:2001:db8::1]", Some("[IPv6:2001:db8::1]"))]
    #[case(".x.test", None)]
    #[case("*", None)]
    #[case("", None)]
    #[case("localhost", None)]
    #[case("a@", None)]
    #[case("a@x.test/../y", None)]
    fn keys_name_domains(#[case] key: &str, #[case] named: Option<&str>) {
        assert_eq!(
            domain(key).map(|domain| domain.to_string()).as_deref(),
            named
        );
    }
}
