//! DNS: who takes a domain's mail, and where hosts are.
//!
//! All lookups ask `dns_servers`, or else those of `/etc/resolv.conf`. Names are absolute: no search
//! list and no hosts file of the machine is tried. What a lookup says is remembered for as long as its
//! TTL, within bounds.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::MX;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::time::timeout;

use crate::{Config, Domain};

/// The longest that one server is waited for; with [`ATTEMPTS`] all is over before [`DEADLINE`].
const SERVER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often the servers are asked again.
const ATTEMPTS: usize = 2;

/// The longest that a lookup takes.
const DEADLINE: Duration = Duration::from_secs(10);

/// The most answers that are remembered.
const REMEMBERED: u64 = 8192;

/// The longest that an answer is remembered, whatever its TTL.
const TTL_MAX: Duration = Duration::from_secs(60 * 60);

/// The longest that "there is none" is remembered: a relay that is being set up is seen soon.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(60);

/// Asks DNS about mail domains and hosts. Clones share what is remembered.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

/// There is nobody to ask.
#[derive(Debug, thiserror::Error)]
#[error("no DNS servers: {0}; name some in dns_servers, or mend /etc/resolv.conf")]
pub struct NoServers(#[from] NetError);

/// Why DNS names no host or no address. The text holds no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsFailure {
    /// There is no such name. For good.
    #[error("there is no such name in DNS")]
    NoSuchName,
    /// The name takes no mail (null MX, RFC 7505). For good.
    #[error("it takes no mail (null MX)")]
    NullMx,
    /// The name has no record of the kind. For good.
    #[error("it has no address in DNS")]
    NoRecord,
    /// The servers say that they cannot tell, or nonsense. Temporary.
    #[error("DNS does not say")]
    Failure,
    /// The servers do not answer. Temporary.
    #[error("DNS does not answer")]
    Timeout,
}

impl Dns {
    /// Asks the servers that the configuration names.
    ///
    /// # Errors
    /// There are none.
    pub fn new(config: &Config) -> Result<Self, NoServers> {
        let resolver = resolver(config, |options| {
            options.cache_size = REMEMBERED;
            options.positive_max_ttl = Some(TTL_MAX);
            options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
            options.ip_strategy = if config.disable_ipv6 {
                LookupIpStrategy::Ipv4Only
            } else {
                LookupIpStrategy::Ipv4AndIpv6
            };
        })?;
        Ok(Self { resolver })
    }

    /// The hosts that take a domain's mail, the preferred first; at least one. Hosts of one preference
    /// come in random order. A domain without MX is its own host (RFC 5321 section 5.1), and so is an
    /// address literal.
    ///
    /// # Errors
    /// See [`DnsFailure`].
    pub async fn mail_hosts(&self, domain: &Domain) -> Result<Vec<Domain>, DnsFailure> {
        if domain.ip().is_some() {
            return Ok(vec![domain.clone()]);
        }
        let name = absolute(domain.as_str())?;
        let answer = match in_time(self.resolver.lookup(name, RecordType::MX)).await {
            Err(DnsFailure::NoRecord) => return Ok(vec![domain.clone()]),
            answer => answer?,
        };
        let records = answer.answers().iter();
        let hosts: Vec<&MX> = records
            .filter_map(|record| match &record.data {
                RData::MX(host) => Some(host),
                _ => None,
            })
            .collect();
        by_preference(domain, &hosts)
    }

    /// A host's addresses: of both families, or only of IPv4 when IPv6 is disabled. At least one.
    ///
    /// # Errors
    /// See [`DnsFailure`].
    pub async fn addresses(&self, host: &Domain) -> Result<Vec<IpAddr>, DnsFailure> {
        if let Some(address) = host.ip() {
            return Ok(vec![address]);
        }
        let name = absolute(host.as_str())?;
        let found = in_time(self.resolver.lookup_ip(name)).await?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(DnsFailure::NoRecord);
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Dns").finish_non_exhaustive()
    }
}

impl DnsFailure {
    /// What an error of the resolver means. Only "no such name" and "no such record" are for good.
    pub fn of(error: &NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(found)) => match found.response_code {
                ResponseCode::NXDomain => Self::NoSuchName,
                ResponseCode::NoError => Self::NoRecord,
                _ => Self::Failure,
            },
            NetError::Timeout => Self::Timeout,
            _ => Self::Failure,
        }
    }

    /// Whether asking again would not help.
    pub fn is_permanent(self) -> bool {
        match self {
            Self::NoSuchName | Self::NullMx | Self::NoRecord => true,
            Self::Failure | Self::Timeout => false,
        }
    }
}

/// A resolver over `dns_servers` or the servers of `/etc/resolv.conf` that remembers nothing, unless
/// `adapt` changes the options.
///
/// # Errors
/// There are no such servers.
pub fn resolver(
    config: &Config,
    adapt: impl FnOnce(&mut ResolverOpts),
) -> Result<TokioResolver, NoServers> {
    let servers = &config.dns_servers.0;
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|server| {
            let at_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            NameServerConfig::new(server.ip(), true, connections.map(at_port).into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = SERVER_TIMEOUT;
    options.attempts = ATTEMPTS;
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
    options.cache_size = 0;
    adapt(options);
    Ok(builder.build()?)
}

/// With a final dot, so that no search list is tried.
fn absolute(name: &str) -> Result<Name, DnsFailure> {
    Name::from_ascii(format!("{name}.")).map_err(|_| DnsFailure::NoSuchName)
}

async fn in_time<T>(lookup: impl Future<Output = Result<T, NetError>>) -> Result<T, DnsFailure> {
    match timeout(DEADLINE, lookup).await {
        Ok(found) => found.map_err(|error| DnsFailure::of(&error)),
        Err(_) => Err(DnsFailure::Timeout),
    }
}

/// The hosts of a domain's MX records, in the order in which they are to be tried.
fn by_preference(domain: &Domain, records: &[&MX]) -> Result<Vec<Domain>, DnsFailure> {
    // An alias that leads to nothing else.
    if records.is_empty() {
        return Ok(vec![domain.clone()]);
    }
    let mut hosts: Vec<(u16, u64, Domain)> = records
        .iter()
        .filter_map(|record| {
            let name = record.exchange.to_ascii();
            // Names that no host can have are passed over, the root of a null MX among them.
            let host = name.trim_end_matches('.').parse().ok()?;
            // Without random numbers the order of the answer is as good.
            let chance = getrandom::u64().unwrap_or_default();
            Some((record.preference, chance, host))
        })
        .collect();
    if hosts.is_empty() {
        return Err(DnsFailure::NullMx);
    }
    hosts.sort_by_key(|(preference, chance, _)| (*preference, *chance));
    let mut sorted: Vec<Domain> = Vec::with_capacity(hosts.len());
    for (_, _, host) in hosts {
        if !sorted.contains(&host) {
            sorted.push(host);
        }
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mx(preference: u16, host: &str) -> MX {
        MX::new(preference, Name::from_ascii(host).unwrap())
    }

    fn order(records: &[MX]) -> Result<Vec<String>, DnsFailure> {
        let records: Vec<&MX> = records.iter().collect();
        let hosts = by_preference(&"x.test".parse().unwrap(), &records)?;
        Ok(hosts.iter().map(Domain::to_string).collect())
    }

    #[test]
    fn the_lowest_preference_comes_first_and_each_host_once() {
        let records = [
            mx(20, "b.test."),
            mx(10, "A.test."),
            mx(30, "a.test."),
            mx(5, "."),
        ];
        assert_eq!(order(&records).unwrap(), ["a.test", "b.test"]);
    }

    #[test]
    fn hosts_of_one_preference_change_places() {
        let records = [mx(1, "a.test."), mx(1, "b.test."), mx(0, "z.test.")];
        let mut first = std::collections::HashSet::new();
        // The chance that this fails is 2 to the power of -199.
        for _ in 0..200 {
            let hosts = order(&records).unwrap();
            assert_eq!(hosts[0], "z.test");
            first.insert(hosts[1].clone());
        }
        assert_eq!(first.len(), 2);
    }

    #[test]
    fn a_null_mx_takes_no_mail() {
        assert_eq!(order(&[mx(0, ".")]), Err(DnsFailure::NullMx));
    }

    #[test]
    fn an_answer_without_mx_leaves_the_domain_itself() {
        assert_eq!(order(&[]).unwrap(), ["x.test"]);
    }
}
