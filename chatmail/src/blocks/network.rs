//! Networks of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the `/` is no IP address.
    #[error("not an IP address")]
    Address,
    /// What stands after the `/` is no number of bits that such an address has.
    #[error("the prefix length is not a number from 0 to {0}")]
    Length(u8),
    /// The address has bits beyond the prefix; the network is probably this one.
    #[error("the address is inside the network and does not name it; write {0}")]
    Host(Network),
}

/// An IPv4 or IPv6 network, or a single address: `192.0.2.0/24`, `2001:db8::/32`, `192.0.2.1`
/// (RFC 4632 section 3.1, RFC 4291 section 2.3).
///
/// IPv4 addresses in IPv6's clothes (`::ffff:192.0.2.1`) are IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// IPv4.
    V4 {
        /// The lowest address.
        first: Ipv4Addr,
        /// How many leading bits all its addresses share: 0 to 32.
        length: u8,
    },
    /// IPv6.
    V6 {
        /// The lowest address.
        first: Ipv6Addr,
        /// How many leading bits all its addresses share: 0 to 128.
        length: u8,
    },
}

/// The lowest and the highest address of a network, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressRange {
    V4(u32, u32),
    V6(u128, u128),
}

impl Network {
    /// The network of this address alone.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(first) => Self::V4 { first, length: 32 },
            IpAddr::V6(first) => Self::V6 { first, length: 128 },
        }
    }

    /// All its addresses.
    pub(super) fn range(&self) -> AddressRange {
        match *self {
            Self::V4 { first, length } => {
                let first = first.to_bits();
                AddressRange::V4(first, first | host_bits_v4(length))
            }
            Self::V6 { first, length } => {
                let first = first.to_bits();
                AddressRange::V6(first, first | host_bits_v6(length))
            }
        }
    }

    /// The network of this prefix length that holds the address.
    fn around(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(address) => {
                let first = Ipv4Addr::from_bits(address.to_bits() & !host_bits_v4(length));
                Self::V4 { first, length }
            }
            IpAddr::V6(address) => {
                let first = Ipv6Addr::from_bits(address.to_bits() & !host_bits_v6(length));
                Self::V6 { first, length }
            }
        }
    }

    fn first(&self) -> IpAddr {
        match *self {
            Self::V4 { first, .. } => first.into(),
            Self::V6 { first, .. } => first.into(),
        }
    }
}

/// The bits in which the addresses of a network differ.
fn host_bits_v4(length: u8) -> u32 {
    u32::MAX.checked_shr(length.into()).unwrap_or(0)
}

fn host_bits_v6(length: u8) -> u128 {
    u128::MAX.checked_shr(length.into()).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let parse = |text: &str| text.parse().map_err(|_| NetworkError::Address);
        let Some((address, length)) = text.split_once('/') else {
            return Ok(Self::of(parse(text)?));
        };
        let address: IpAddr = parse(address)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        // Rust's parser takes a `+` as well.
        let digits = length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse().ok().filter(|&bits| digits && bits <= most);
        let length: u8 = length.ok_or(NetworkError::Length(most))?;
        let (address, length) = match (address.to_canonical(), length.checked_sub(96)) {
            (IpAddr::V4(inner), Some(length)) if address.is_ipv6() => (inner.into(), length),
            _ => (address, length),
        };
        let network = Self::around(address, length);
        if network.first() == address {
            Ok(network)
        } else {
            Err(NetworkError::Host(network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4 { first, length: 32 } => first.fmt(out),
            Self::V4 { first, length } => write!(out, "{first}/{length}"),
            Self::V6 { first, length: 128 } => first.fmt(out),
            Self::V6 { first, length } => write!(out, "{first}/{length}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1")]
    #[case("192.0.2.1/32", "192.0.2.1", "192.0.2.1", "192.0.2.1")]
    #[case("192.0.2.0/24", "192.0.2.0/24", "192.0.2.0", "192.0.2.255")]
    #[case("0.0.0.0/0", "0.0.0.0/0", "0.0.0.0", "255.255.255.255")]
    #[case("128.0.0.0/1", "128.0.0.0/1", "128.0.0.0", "255.255.255.255")]
    #[case(
        "2001:DB8:0::/32",
        "2001:db8::/32",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
    )]
    #[case("::/0", "::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]
    #[case("::1/128", "::1", "::1", "::1")]
    #[case("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1")]
    #[case("::ffff:192.0.2.0/120", "192.0.2.0/24", "192.0.2.0", "192.0.2.255")]
    #[case("::ffff:0:0/96", "0.0.0.0/0", "0.0.0.0", "255.255.255.255")]
    fn networks(#[case] text: &str, #[case] shown: &str, #[case] first: &str, #[case] last: &str) {
        let network: Network = text.parse().unwrap();
        assert_eq!(network.to_string(), shown);
        let shown_range = match network.range() {
            AddressRange::V4(first, last) => [first, last].map(|bits| IpAddr::V4(bits.into())),
            AddressRange::V6(first, last) => [first, last].map(|bits| IpAddr::V6(bits.into())),
        };
        assert_eq!(
            shown_range.map(|address| address.to_string()),
            [first, last]
        );
    }

    #[rstest]
    #[case("", "not an IP address")]
    #[case("192.0.2", "not an IP address")]
    #[case("192.0.02.1", "not an IP address")]
    #[case("fe80::1%eth0", "not an IP address")]
    #[case("/24", "not an IP address")]
    #[case("192.0.2.0/", "the prefix length is not a number from 0 to 32")]
    #[case("192.0.2.0/+24", "the prefix length is not a number from 0 to 32")]
    #[case("192.0.2.0/33", "the prefix length is not a number from 0 to 32")]
    #[case("192.0.2.0/24/8", "the prefix length is not a number from 0 to 32")]
    #[case("::/129", "the prefix length is not a number from 0 to 128")]
    #[case(
        "192.0.2.7/24",
        "the address is inside the network and does not name it; write 192.0.2.0/24"
    )]
    #[case(
        "2001:db8::1/32",
        "the address is inside the network and does not name it; write 2001:db8::/32"
    )]
    #[case(
        "::ffff:192.0.2.7/120",
        "the address is inside the network and does not name it; write 192.0.2.0/24"
    )]
    #[case(
        "::ffff:0:0/95",
        "the address is inside the network and does not name it; write ::fffe:0:0/95"
    )]
    fn no_networks(#[case] text: &str, #[case] why: &str) {
        assert_eq!(text.parse::<Network>().unwrap_err().to_string(), why);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(v4: bool, bits: u128, length in 0..=128u8) {
            let address = if v4 {
                Ipv4Addr::from_bits((bits >> 96) as u32).into()
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            };
            let network = Network::around(address, if v4 { length % 33 } else { length });
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }
    }
}
