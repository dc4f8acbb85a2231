//! How many accounts the clients of one network may make.
//!
//! A network is an IPv4 /24 or an IPv6 /48: the smallest blocks that are routed by themselves, so that who
//! has one has to go to somebody else for the next. A client can change its address within either at will:
//! providers hand out other IPv4 addresses of the same block, and an IPv6 /48 is what anybody gets for free
//! (RFC 6177 and tunnel brokers), with 65 536 networks below it. A smaller block would be no limit; in a larger
//! one strangers would stand in each other's way even more.
//!
//! No address is kept. A network's hash, under a key that this process has made up, is its place in a table
//! of fixed size, and the place holds a time. Networks may share a place, which then are limited together:
//! with a thousand busy networks one in sixty is.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// Places in the table: half a MiB.
const PLACES: usize = 1 << 16;

const HOUR: u64 = 60 * 60 * 1000;

/// The rates of all networks (a generic cell rate algorithm).
pub struct NetworkRate {
    per_hour: Option<NonZeroU32>,
    /// For each place, when all that was counted there is forgotten: milliseconds after `began`.
    places: Box<[AtomicU64]>,
    began: Instant,
    salt: RandomState,
}

impl NetworkRate {
    /// So many in an hour, also at once; `None` for no limit.
    pub fn new(per_hour: Option<NonZeroU32>) -> Self {
        let places = if per_hour.is_some() { PLACES } else { 0 };
        Self {
            per_hour,
            places: (0..places).map(|_| AtomicU64::new(0)).collect(),
            began: Instant::now(),
            salt: RandomState::new(),
        }
    }

    /// Counts one from this client's network.
    ///
    /// # Errors
    /// There were too many; when the next one is possible.
    pub fn count(&self, client: IpAddr) -> Result<(), Duration> {
        let Some(per_hour) = self.per_hour else {
            return Ok(());
        };
        let hash = self.salt.hash_one(network(client));
        let index = usize::try_from(hash % PLACES as u64).unwrap_or(0);
        let Some(place) = self.places.get(index) else {
            return Ok(());
        };
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // At least one: more than 3.6 million in an hour are no limit.
        let step = (HOUR / u64::from(per_hour.get())).max(1);
        let full = now.saturating_add(step * u64::from(per_hour.get()));
        let counted = place.fetch_update(Relaxed, Relaxed, |forgotten| {
            Some(forgotten.max(now).saturating_add(step)).filter(|&after| after <= full)
        });
        counted.map(drop).map_err(|forgotten| {
            let wait = forgotten.saturating_add(step).saturating_sub(full);
            Duration::from_millis(wait)
        })
    }
}

impl std::fmt::Debug for NetworkRate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = out.debug_struct("NetworkRate");
        out.field("per_hour", &self.per_hour)
            .finish_non_exhaustive()
    }
}

/// The upper bits of an address, and whether it is one of IPv4.
fn network(client: IpAddr) -> (bool, u128) {
    match client.to_canonical() {
        IpAddr::V4(address) => (true, u128::from(address.to_bits() >> 8)),
        IpAddr::V6(address) => (false, address.to_bits() >> 80),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use tokio::time::advance;

    fn rate(per_hour: u32) -> NetworkRate {
        NetworkRate::new(NonZeroU32::new(per_hour))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_has_so_many_in_an_hour_and_then_one_after_the_other() {
        let rate = rate(4);
        for host in 1..5 {
            rate.count(ip(&format!("192.0.2.{host}"))).unwrap();
        }
        let quarter = Duration::from_secs(900);
        assert_eq!(rate.count(ip("192.0.2.5")), Err(quarter));
        advance(quarter - Duration::from_millis(1)).await;
        let wait = rate.count(ip("192.0.2.6")).unwrap_err();
        assert_eq!(wait, Duration::from_millis(1));
        advance(wait).await;
        rate.count(ip("192.0.2.6")).unwrap();
        assert_eq!(rate.count(ip("192.0.2.6")), Err(quarter));
        advance(Duration::from_secs(7200)).await;
        for _ in 0..4 {
            rate.count(ip("192.0.2.1")).unwrap();
        }
        assert!(rate.count(ip("192.0.2.1")).is_err());
    }

    #[rstest]
    #[case("192.0.2.1", "192.0.2.255", true)]
    #[case("192.0.2.1", "::ffff:192.0.2.255", true)]
    #[case("192.0.2.1", "192.0.3.1", false)]
    #[case("2001:db8:1::1", "2001:db8:1:ffff::2", true)]
    #[case("2001:db8:1::1", "2001:db8:2::1", false)]
    #[case("0.0.0.1", "::1", false)]
    fn networks(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        assert_eq!(network(ip(one)) == network(ip(other)), same);
    }

    #[test]
    fn what_has_no_limit_takes_no_memory() {
        let rate = rate(0);
        assert!((0..1000).all(|_| rate.count(ip("192.0.2.1")).is_ok()));
        assert!(rate.places.is_empty());
    }

    #[test]
    fn any_number_of_networks_is_counted_in_the_same_memory() {
        let rate = rate(1);
        let many = (0..100_000_u32).map(|number| IpAddr::V4((number << 8).into()));
        let counted = many.filter(|&client| rate.count(client).is_ok()).count();
        assert!((PLACES / 2..=PLACES).contains(&counted), "{counted}");
        assert_eq!(rate.places.len(), PLACES);
    }
}
