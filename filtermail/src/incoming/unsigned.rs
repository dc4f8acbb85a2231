//! Mail that its author's domain did not sign, for peers that sign nothing.

use std::net::IpAddr;
use std::time::Duration;

use chatmail::Domain;
use chatmail::config::AcceptUnsigned;
use chatmail::dns::{Dns, DnsFailure};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The most MX hosts of a domain that are looked at.
const HOSTS_MAX: usize = 10;

/// The longest that a message waits for the addresses of its domain.
const DEADLINE: Duration = Duration::from_secs(10);

/// Whom such mail is taken from.
#[derive(Debug)]
pub(super) struct Unsigned {
    pub(super) accept: AcceptUnsigned,
    pub(super) dns: Dns,
}

/// What stands for the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouched {
    /// The client is at an address of the domain.
    ByAddress,
    /// Nothing does, and nothing needs to.
    Needless,
    /// Nothing does.
    Not,
}

impl Unsigned {
    /// Whether mail of this domain may come unsigned from this client.
    pub(super) async fn vouched(
        &self,
        domain: &Domain,
        client: Option<IpAddr>,
    ) -> Result<Vouched, DnsFailure> {
        match (self.accept, client) {
            (AcceptUnsigned::Never, _) | (AcceptUnsigned::IpMatch, None) => Ok(Vouched::Not),
            (AcceptUnsigned::Always, _) => Ok(Vouched::Needless),
            (AcceptUnsigned::IpMatch, Some(client)) => {
                let is_at = timeout(DEADLINE, is_at(&self.dns, domain, client));
                match is_at.await.unwrap_or(Err(DnsFailure::Timeout))? {
                    true => Ok(Vouched::ByAddress),
                    false => Ok(Vouched::Not),
                }
            }
        }
    }
}

/// Whether an address is one of the domain's, or one of a host that takes the domain's mail. What DNS
/// does not say matters only when nothing that it says matches.
async fn is_at(dns: &Dns, domain: &Domain, address: IpAddr) -> Result<bool, DnsFailure> {
    let (own, hosts) = tokio::join!(dns.addresses(domain), dns.mail_hosts(domain));
    let mut lookups = JoinSet::new();
    let mut unknown = None;
    match hosts {
        Ok(hosts) => {
            let others = hosts.into_iter().filter(|host| host != domain);
            for host in others.take(HOSTS_MAX) {
                let dns = dns.clone();
                lookups.spawn(async move { dns.addresses(&host).await });
            }
        }
        Err(failure) if failure.is_permanent() => {}
        Err(failure) => unknown = Some(failure),
    }
    let mut next = Some(own);
    while let Some(found) = next {
        match found {
            Ok(addresses) if addresses.contains(&address) => return Ok(true),
            Ok(_) => {}
            Err(failure) if failure.is_permanent() => {}
            Err(failure) => unknown = unknown.or(Some(failure)),
        }
        // A task that panicked has found nothing; whoever sends may try again.
        let found = lookups.join_next().await;
        next = found.map(|found| found.unwrap_or(Err(DnsFailure::Failure)));
    }
    unknown.map_or(Ok(false), Err)
}
