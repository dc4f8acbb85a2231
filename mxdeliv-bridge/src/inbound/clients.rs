//! What each client may do at a time: a stranger must not take what is there for all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chatmail::Config;
use tokio::time::Instant;

/// How long it takes until all refusals are forgiven that a client may have.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// The most clients that are remembered for what was refused to them. Those with open requests are as
/// many as there are connections.
const CLIENTS_MAX: usize = 65_536;

/// Open requests, memory and refusals of each client.
#[derive(Debug)]
pub(super) struct Clients {
    table: Mutex<Table>,
    requests_max: u32,
    refusals_max: u32,
    octets_max: u64,
}

/// A client is an IPv4 address or an IPv6 network of /64: that is what one subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key(IpAddr);

#[derive(Debug, Default)]
struct Table {
    clients: HashMap<Key, Client>,
}

#[derive(Debug)]
struct Client {
    requests: u32,
    octets: u64,
    /// When nothing is left of its refusals.
    forgiven: Instant,
}

/// One request of a client, and the memory that it holds; until this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    clients: Arc<Clients>,
    key: Key,
    octets: u64,
}

/// The client has all that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Clients {
    /// Nobody has done anything yet. `octets_max`: the memory that one client may hold.
    pub(super) fn new(config: &Config, octets_max: u64) -> Self {
        Self {
            table: Mutex::default(),
            requests_max: config.mxdeliv_max_requests_per_client.get(),
            refusals_max: config.mxdeliv_max_refusals_per_minute.get(),
            octets_max,
        }
    }

    /// Begins a request.
    pub(super) fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Slot, TooMany> {
        let key = Key::of(client);
        let now = Instant::now();
        let mut table = self.table();
        let client = table.client(key, now);
        let refused = client.forgiven.saturating_duration_since(now);
        if client.requests >= self.requests_max || refused + self.step() > FORGIVEN_AFTER {
            return Err(TooMany);
        }
        client.requests += 1;
        Ok(Slot {
            clients: self.clone(),
            key,
            octets: 0,
        })
    }

    /// Counts something that was refused to a client.
    pub(super) fn refused(&self, client: IpAddr) {
        let now = Instant::now();
        let mut table = self.table();
        let client = table.client(Key::of(client), now);
        client.forgiven = client.forgiven.max(now) + self.step();
    }

    /// How long a refusal is held against a client.
    fn step(&self) -> Duration {
        FORGIVEN_AFTER / self.refusals_max.max(1)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Takes more memory.
    pub(super) fn hold(&mut self, octets: u64) -> Result<(), TooMany> {
        let mut table = self.clients.table();
        let client = table.client(self.key, Instant::now());
        let held = client.octets.saturating_add(octets);
        if held > self.clients.octets_max {
            return Err(TooMany);
        }
        client.octets = held;
        self.octets += octets;
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut table = self.clients.table();
        let client = table.client(self.key, now);
        client.requests = client.requests.saturating_sub(1);
        client.octets = client.octets.saturating_sub(self.octets);
        if client.is_idle(now) {
            table.clients.remove(&self.key);
        }
    }
}

impl Table {
    fn client(&mut self, key: Key, now: Instant) -> &mut Client {
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&key) {
            self.make_room(now);
        }
        self.clients.entry(key).or_insert(Client {
            requests: 0,
            octets: 0,
            forgiven: now,
        })
    }

    fn make_room(&mut self, now: Instant) {
        self.clients.retain(|_, client| !client.is_idle(now));
        if self.clients.len() >= CLIENTS_MAX {
            self.clients.retain(|_, client| client.requests > 0);
        }
    }
}

impl Client {
    fn is_idle(&self, now: Instant) -> bool {
        self.requests == 0 && self.forgiven <= now
    }
}

impl Key {
    fn of(client: IpAddr) -> Self {
        Self(match client {
            IpAddr::V4(_) => client,
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << 64);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tokio::time::advance;

    fn clients(octets_max: u64) -> Arc<Clients> {
        let text = "[params]\nmail_domain = x.org\nmxdeliv_max_requests_per_client = 2\n\
                    mxdeliv_max_refusals_per_minute = 3\n";
        let (config, _) = chatmail::Config::parse(text, Path::new("chatmail.ini")).unwrap();
        Arc::new(Clients::new(&config, octets_max))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn requests_at_a_time() {
        let clients = clients(0);
        let one = clients.admit(ip("192.0.2.1")).unwrap();
        let _two = clients.admit(ip("192.0.2.1")).unwrap();
        assert!(clients.admit(ip("192.0.2.1")).is_err());
        let _other = clients.admit(ip("192.0.2.2")).unwrap();
        drop(one);
        clients.admit(ip("192.0.2.1")).unwrap();
    }

    #[tokio::test]
    async fn an_ipv6_network_is_one_client() {
        let clients = clients(0);
        let _one = clients.admit(ip("2001:db8::1")).unwrap();
        let _two = clients.admit(ip("2001:db8::2")).unwrap();
        assert!(clients.admit(ip("2001:db8::ffff:0:0:3")).is_err());
        clients.admit(ip("2001:db8:0:1::1")).unwrap();
    }

    #[tokio::test]
    async fn memory_is_shared_out() {
        let clients = clients(100);
        let mut one = clients.admit(ip("192.0.2.1")).unwrap();
        let mut two = clients.admit(ip("192.0.2.1")).unwrap();
        one.hold(60).unwrap();
        assert_eq!(two.hold(41), Err(TooMany));
        two.hold(40).unwrap();
        drop(one);
        two.hold(60).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_forgiven_with_time() {
        let clients = clients(0);
        let client = ip("192.0.2.1");
        for _ in 0..3 {
            clients.admit(client).unwrap();
            clients.refused(client);
        }
        assert!(clients.admit(client).is_err());
        clients.admit(ip("192.0.2.2")).unwrap();
        advance(Duration::from_secs(20)).await;
        clients.admit(client).unwrap();
        clients.refused(client);
        assert!(clients.admit(client).is_err());
        advance(Duration::from_secs(60)).await;
        clients.admit(client).unwrap();
        assert!(clients.table().clients.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_has_a_limit() {
        let clients = clients(0);
        let _open = clients.admit(ip("192.0.2.1")).unwrap();
        for number in 0..CLIENTS_MAX as u32 + 10 {
            clients.refused(IpAddr::V4(number.into()));
        }
        let table = clients.table();
        assert!(table.clients.len() <= CLIENTS_MAX);
        assert!(table.clients.contains_key(&Key::of(ip("192.0.2.1"))));
    }
}
