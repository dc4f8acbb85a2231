//! The list in memory.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use super::Entry;
use super::network::AddressRange;
use super::ranges::Ranges;
use crate::Address;

/// A whole block list, made to be asked: an answer takes less than a microsecond, however long
/// the list is. An entry takes some 80 bytes.
#[derive(Debug)]
pub struct BlockList {
    /// Addresses and domains as text, which takes half the memory of the parsed form.
    addresses: HashSet<Box<str>>,
    domains: HashSet<Box<str>>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    networks: usize,
}

/// How many entries of each kind a list has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Addresses.
    pub addresses: usize,
    /// Domains.
    pub domains: usize,
    /// Networks, single addresses among them.
    pub networks: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            addresses,
            domains,
            networks,
        } = self;
        write!(
            out,
            "{addresses} addresses, {domains} domains, {networks} networks"
        )
    }
}

impl BlockList {
    /// Whether mail of this sender, from this client, is to be refused. `None` is a client or a
    /// sender that there is not: the null sender, mail that came by another way than TCP.
    pub fn is_blocked(&self, client: Option<IpAddr>, sender: Option<&Address>) -> bool {
        client.is_some_and(|client| self.has_client(client))
            || sender.is_some_and(|sender| self.has_sender(sender))
    }

    /// Whether the list names the address itself, with its `+tag` or without.
    pub fn has_address(&self, address: &Address) -> bool {
        let has = |address: &Address| self.addresses.contains(address.to_string().as_str());
        !self.addresses.is_empty() && (has(address) || has(&address.without_tag()))
    }

    /// How long it is.
    pub fn counts(&self) -> Counts {
        Counts {
            addresses: self.addresses.len(),
            domains: self.domains.len(),
            networks: self.networks,
        }
    }

    fn has_client(&self, client: IpAddr) -> bool {
        match client.to_canonical() {
            IpAddr::V4(client) => self.v4.contains(client.to_bits()),
            IpAddr::V6(client) => self.v6.contains(client.to_bits()),
        }
    }

    fn has_sender(&self, sender: &Address) -> bool {
        let domain = sender.domain();
        self.domains.contains(domain.as_str())
            || domain.ip().is_some_and(|ip| self.has_client(ip))
            || self.has_address(sender)
    }
}

impl FromIterator<Entry> for BlockList {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let (mut addresses, mut domains) = (HashSet::new(), HashSet::new());
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Address(address) => {
                    addresses.insert(address.to_string().into());
                }
                Entry::Domain(domain) => {
                    domains.insert(domain.as_str().into());
                }
                Entry::Network(network) => match network.range() {
                    AddressRange::V4(first, last) => v4.push((first, last)),
                    AddressRange::V6(first, last) => v6.push((first, last)),
                },
            }
        }
        Self {
            networks: v4.len() + v6.len(),
            addresses,
            domains,
            v4: Ranges::new(v4),
            v6: Ranges::new(v6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn list(entries: &str) -> BlockList {
        let parse = |entry: &str| entry.parse::<Entry>().unwrap();
        entries.split_whitespace().map(parse).collect()
    }

    #[rstest]
    #[case("mallory@x.org", "mallory@x.org", true)]
    #[case("MALLORY@X.ORG", "Mallory@x.Org", true)]
    #[case("mallory@x.org", "mallory+tag@x.org", true)]
    #[case("mallory+tag@x.org", "mallory+tag@x.org", true)]
    #[case("mallory+tag@x.org", "mallory@x.org", false)]
    #[case("mallory+tag@x.org", "mallory+tag+more@x.org", false)]
    #[case("mallory@x.org", "alice@x.org", false)]
    #[case("mallory@x.org", "mallory@sub.x.org", false)]
    #[case("a/b@x.org", "a/b@x.org", true)]
    #[case("x.org", "anybody@X.org", true)]
    #[case("x.org", "anybody@sub.x.org", false)]
    #[case("sub.x.org", "anybody@x.org", false)]
    #[case("x.org", "anybody@notx.org", false)]
    #[case("[192.0.2.1]", "anybody@[192.0.2.1]", true)]
    #[case("192.0.2.0/24", "anybody@[192.0.2.1]", true)]
    #[case("2001:db8::/32", "anybody@[IPv6:2001:db8::1]", true)]
    #[case("192.0.2.0/24", "anybody@[192.0.3.1]", false)]
    #[case("", "mallory@x.org", false)]
    fn senders(#[case] entries: &str, #[case] sender: &str, #[case] blocked: bool) {
        let sender: Address = sender.parse().unwrap();
        let list = list(entries);
        assert_eq!(list.is_blocked(None, Some(&sender)), blocked);
        let elsewhere = Some("203.0.113.1".parse().unwrap());
        assert_eq!(list.is_blocked(elsewhere, Some(&sender)), blocked);
    }

    #[rstest]
    #[case("192.0.2.1", "192.0.2.1", true)]
    #[case("192.0.2.1", "192.0.2.2", false)]
    #[case("192.0.2.0/24 192.0.2.128/25", "192.0.2.255", true)]
    #[case("192.0.2.128/25 192.0.2.0/24", "192.0.2.0", true)]
    #[case("192.0.2.0/24", "192.0.3.0", false)]
    #[case("192.0.2.0/24", "192.0.1.255", false)]
    #[case("192.0.2.0/24", "::ffff:192.0.2.9", true)]
    #[case("::ffff:192.0.2.0/120", "192.0.2.9", true)]
    #[case("2001:db8::/32", "2001:db8:ffff::1", true)]
    #[case("2001:db8::/32", "2001:db9::", false)]
    #[case("::/0", "192.0.2.1", false)]
    #[case("0.0.0.0/0", "2001:db8::1", false)]
    #[case("[192.0.2.1] x.org a@x.org", "192.0.2.1", false)]
    fn clients(#[case] entries: &str, #[case] client: &str, #[case] blocked: bool) {
        let list = list(entries);
        assert_eq!(
            list.is_blocked(Some(client.parse().unwrap()), None),
            blocked
        );
        let sender = "alice@example.org".parse().unwrap();
        let answer = list.is_blocked(Some(client.parse().unwrap()), Some(&sender));
        assert_eq!(answer, blocked);
        assert!(!list.is_blocked(None, None));
    }

    #[test]
    fn entries_are_counted_by_kind() {
        let list = list("a@x.org b@x.org x.org 192.0.2.0/24 192.0.2.1 ::1");
        let expected = Counts {
            addresses: 2,
            domains: 1,
            networks: 3,
        };
        assert_eq!(list.counts(), expected);
        let shown = expected.to_string();
        assert_eq!(shown, "2 addresses, 1 domains, 3 networks");
    }
}
