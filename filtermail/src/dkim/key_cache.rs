//! Public keys from DNS, remembered for as long as DNS says.
//!
//! What is remembered is keys that can be used, never their absence: a key that appears in DNS is
//! seen at once, one that is revoked when its TTL is over. Messages that need the same key at the
//! same time wait for one lookup. A lookup that fails tells whether asking again may help.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatmail::Config;
use chatmail::dns::{DnsFailure, NoServers};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use moka::Expiry;
use moka::future::Cache;
use tokio::time::timeout;

use super::{DkimFailure, PublicKey};

/// The longest that a message waits for a key.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest that a key is remembered, whatever its TTL.
const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The most memory for keys, in octets, as [`Keys::weight`] counts them: some 5000 RSA keys.
const CAPACITY: u64 = 16 << 20;

/// What a key takes in memory beside its record, about.
const KEY_OVERHEAD: usize = 2 << 10;

/// The most TXT records of one name that are tried. RFC 6376 section 3.6.2.2 leaves it open what
/// several mean; who changes keys may publish two for a while.
const RECORDS_MAX: usize = 3;

/// Asks DNS for keys and remembers them. Clones share one memory.
#[derive(Clone)]
pub struct KeyCache {
    resolver: TokioResolver,
    keys: Cache<String, Keys>,
}

/// Why there is nobody to ask for keys.
#[derive(Debug, thiserror::Error)]
#[error("DKIM keys cannot be asked for: {0}")]
pub struct KeyCacheError(#[from] NoServers);

/// The usable keys of one name; at least one.
#[derive(Clone, Debug)]
struct Keys {
    keys: Arc<[PublicKey]>,
    ttl: Duration,
}

impl KeyCache {
    /// An empty cache over `dns_servers`, or else the servers of `/etc/resolv.conf`.
    ///
    /// # Errors
    /// There are no such servers.
    pub fn new(config: &Config) -> Result<Self, KeyCacheError> {
        Self::with_capacity(config, CAPACITY)
    }

    fn with_capacity(config: &Config, capacity: u64) -> Result<Self, KeyCacheError> {
        Ok(Self {
            // Answers are kept as parsed keys, here.
            resolver: chatmail::dns::resolver(config, |_| {})?,
            keys: Cache::builder()
                .max_capacity(capacity)
                .weigher(|name: &String, keys: &Keys| keys.weight(name))
                .expire_after(AsDnsSays)
                .build(),
        })
    }

    /// The usable keys at this name, which is absolute, lower case and without a final dot; at
    /// least one.
    ///
    /// # Errors
    /// There is none, or DNS does not say.
    pub(super) async fn keys(&self, name: String) -> Result<Arc<[PublicKey]>, DkimFailure> {
        let lookup = async {
            timeout(DEADLINE, self.lookup(&name))
                .await
                .unwrap_or(Err(DkimFailure::DnsTimeout))
        };
        let found = self.keys.try_get_with_by_ref(name.as_str(), lookup).await;
        found.map(|found| found.keys).map_err(|failure| *failure)
    }

    async fn lookup(&self, name: &str) -> Result<Keys, DkimFailure> {
        // With a final dot, so that no search list of the host is tried.
        let Ok(absolute) = Name::from_ascii(format!("{name}.")) else {
            return Err(DkimFailure::KeyMissing);
        };
        let answer = self.resolver.lookup(absolute, RecordType::TXT).await;
        let answer = answer.map_err(|error| failure(&error))?;
        let records = answer.answers();
        let texts = records.iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        let keys = usable_keys(texts)?;
        // A chain of CNAMEs holds for as long as its shortest link.
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
        Ok(Keys {
            keys: keys.into(),
            ttl: Duration::from_secs(ttl.into()).min(TTL_MAX),
        })
    }
}

#[cfg(fuzzing)]
impl KeyCache {
    /// A cache that holds this key at this name, and no DNS behind it.
    ///
    /// # Errors
    /// None that is known.
    pub async fn holding(name: &str, key: PublicKey) -> Result<Self, KeyCacheError> {
        use hickory_resolver::config::ResolverConfig;
        use hickory_resolver::net::runtime::TokioRuntimeProvider;

        let nowhere = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        let runtime = TokioRuntimeProvider::default();
        let resolver = TokioResolver::builder_with_config(nowhere, runtime).build();
        let cache = Self {
            resolver: resolver.map_err(NoServers::from)?,
            keys: Cache::builder().expire_after(AsDnsSays).build(),
        };
        let keys = Arc::new([key]);
        let ttl = TTL_MAX;
        cache.keys.insert(name.to_owned(), Keys { keys, ttl }).await;
        Ok(cache)
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyCache").finish_non_exhaustive()
    }
}

/// Keys last as long as their TTL.
struct AsDnsSays;

impl Expiry<String, Keys> for AsDnsSays {
    fn expire_after_create(&self, _: &String, keys: &Keys, _: Instant) -> Option<Duration> {
        Some(keys.ttl)
    }

    fn expire_after_update(
        &self,
        _: &String,
        keys: &Keys,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(keys.ttl)
    }
}

impl Keys {
    fn weight(&self, name: &str) -> u32 {
        let keys = self.keys.iter().map(|key| KEY_OVERHEAD + key.size());
        u32::try_from(name.len() + keys.sum::<usize>()).unwrap_or(u32::MAX)
    }
}

/// The keys of the first records that can be used.
fn usable_keys(records: impl Iterator<Item = Vec<u8>>) -> Result<Vec<PublicKey>, DkimFailure> {
    let mut keys = Vec::new();
    let mut why_not = None;
    for record in records.take(RECORDS_MAX) {
        match PublicKey::from_record(&record) {
            Ok(key) => keys.push(key),
            Err(failure) => why_not = why_not.or(Some(failure)),
        }
    }
    if keys.is_empty() {
        return Err(why_not.unwrap_or(DkimFailure::KeyMissing));
    }
    Ok(keys)
}

/// Only "no such name" and "no such record" are for good (RFC 6376 section 6.1.2).
fn failure(error: &NetError) -> DkimFailure {
    match DnsFailure::of(error) {
        DnsFailure::Timeout => DkimFailure::DnsTimeout,
        failure if failure.is_permanent() => DkimFailure::KeyMissing,
        _ => DkimFailure::DnsFailure,
    }
}

#[cfg(test)]
#[path = "../../tests/common/dns.rs"]
#[allow(dead_code, unreachable_pub, reason = "each program uses a part of it")]
mod dns;

#[cfg(test)]
mod tests {
    use super::dns::{Dns, Say};
    use super::*;
    use crate::dkim::PrivateKey;
    use std::path::Path;

    async fn cache(dns: &Dns, capacity: u64) -> KeyCache {
        let text = format!(
            "[params]\nmail_domain = chat.example\n{}\n",
            dns.config_line()
        );
        let (config, _) = Config::parse(&text, Path::new("chatmail.ini")).unwrap();
        KeyCache::with_capacity(&config, capacity).unwrap()
    }

    #[tokio::test]
    async fn memory_has_a_limit() {
        const CAPACITY: u64 = 64 << 10;
        let dns = Dns::start().await;
        let cache = cache(&dns, CAPACITY).await;
        let key = PrivateKey::generate_ed25519().unwrap();
        for number in 0..200 {
            let name = format!("key{number}.example");
            dns.set(&name, Say::txt(&key.record().unwrap()));
            assert_eq!(cache.keys(name).await.unwrap().len(), 1);
        }
        cache.keys.run_pending_tasks().await;
        assert!(cache.keys.entry_count() > 0);
        assert!(cache.keys.weighted_size() <= CAPACITY);
        assert!(cache.keys.entry_count() <= CAPACITY / KEY_OVERHEAD as u64);
    }

    #[tokio::test]
    async fn a_name_that_is_too_long_for_dns_is_not_asked_for() {
        let dns = Dns::start().await;
        let cache = cache(&dns, CAPACITY).await;
        let name = ["a"; 200].join(".");
        let missing = cache.keys(name.clone()).await.unwrap_err();
        assert_eq!(missing, DkimFailure::KeyMissing);
        assert_eq!(dns.asked(&name), 0);
    }

    #[tokio::test]
    async fn a_day_is_the_longest() {
        let dns = Dns::start().await;
        let cache = cache(&dns, CAPACITY).await;
        let record = PrivateKey::generate_ed25519().unwrap().record().unwrap();
        let year = Say::Txt(365 * 24 * 60 * 60, vec![record.into_bytes()]);
        dns.set("long.example", year);
        let keys = cache.lookup("long.example").await.unwrap();
        assert_eq!(keys.ttl, TTL_MAX);
    }
}
