//! The types of `chatmail.ini` values: how each is written, and what is allowed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::address::{Address, Domain};

/// A type that a key of `chatmail.ini` can have.
pub trait Value: Sized {
    /// What the file may hold, as the object of "allowed: …".
    const ALLOWED: &'static str;

    /// Whether it may hold a password, so that no message quotes it.
    const SECRET: bool = false;

    /// Reads the trimmed value of a key; `None` when it is not allowed.
    fn read(text: &str) -> Option<Self>;
}

/// A number of bytes, written `31457280`, `200k`, `500M`, `1G` or `2T`, in powers of 1024 as
/// Dovecot's quota has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl Value for ByteSize {
    const ALLOWED: &'static str =
        "a number of bytes, optionally with k, M, G or T (powers of 1024)";

    fn read(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_suffix('B').unwrap_or(&upper);
        let digits = bare.trim_end_matches(['K', 'M', 'G', 'T']);
        let shift = match &bare[digits.len()..] {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return None,
        };
        let count: u64 = read_digits(digits.trim_end())?;
        count.checked_mul(1 << shift).map(Self)
    }
}

/// Digits only: Rust's own parser would take a `+` as well.
fn read_digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

impl Value for u32 {
    const ALLOWED: &'static str = "a whole number from 0 to 4294967295";

    fn read(text: &str) -> Option<Self> {
        read_digits(text)
    }
}

impl Value for u16 {
    const ALLOWED: &'static str = "a port number from 0 to 65535";

    fn read(text: &str) -> Option<Self> {
        read_digits(text)
    }
}

/// A whole number of at least 1: a limit that nobody could live with at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Positive(pub std::num::NonZeroU32);

impl Positive {
    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Positive {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl Value for Positive {
    const ALLOWED: &'static str = "a whole number from 1 to 4294967295";

    fn read(text: &str) -> Option<Self> {
        read_digits(text).map(Self)
    }
}

impl Value for f64 {
    const ALLOWED: &'static str = "a number such as 5 or 0.75, not negative";

    fn read(text: &str) -> Option<Self> {
        text.parse()
            .ok()
            .filter(|number: &f64| number.is_finite() && *number >= 0.0)
    }
}

impl Value for bool {
    const ALLOWED: &'static str = "true or false";

    fn read(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some(true),
            // A classic relay takes an empty value for false.
            "false" | "no" | "0" | "" => Some(false),
            _ => None,
        }
    }
}

impl Value for String {
    const ALLOWED: &'static str = "any text";

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Value for PathBuf {
    const ALLOWED: &'static str = "an absolute path";

    fn read(text: &str) -> Option<Self> {
        text.starts_with('/').then(|| text.into())
    }
}

impl Value for Domain {
    const ALLOWED: &'static str = "a domain name, or an IPv4 address for [a.b.c.d] addresses";

    fn read(text: &str) -> Option<Self> {
        match text.parse::<Ipv4Addr>() {
            Ok(address) => Some(Domain::literal(address.into())),
            Err(_) => text.parse().ok(),
        }
    }
}

/// Words separated by white space; they may stand on several lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl Value for Words {
    const ALLOWED: &'static str = "words separated by white space";

    fn read(text: &str) -> Option<Self> {
        Some(Self(text.split_whitespace().map(str::to_owned).collect()))
    }
}

/// Domain names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains(pub Vec<Domain>);

impl Value for Domains {
    const ALLOWED: &'static str = "domain names separated by white space";

    fn read(text: &str) -> Option<Self> {
        let names = text.split_whitespace().map(|word| word.parse().ok());
        names.collect::<Option<_>>().map(Self)
    }
}

/// Mail addresses, and whole domains written `@example.org`, separated by white space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressList {
    addresses: Vec<Address>,
    domains: Vec<Domain>,
}

impl AddressList {
    /// Whether the list names this address or its domain.
    pub fn matches(&self, address: &Address) -> bool {
        self.addresses.contains(address) || self.domains.contains(address.domain())
    }

    /// Whether the list names nothing.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.domains.is_empty()
    }
}

impl Value for AddressList {
    const ALLOWED: &'static str =
        "addresses, or domains written @example.org, separated by white space";

    fn read(text: &str) -> Option<Self> {
        let mut list = Self::default();
        for word in text.split_whitespace() {
            match word.strip_prefix('@') {
                Some(domain) => list.domains.push(domain.parse().ok()?),
                None => list.addresses.push(word.parse().ok()?),
            }
        }
        Some(list)
    }
}

/// Where a daemon listens: `unix:/path/to/socket` or `inet:127.0.0.1:10080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket at this path.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Tcp(address) => write!(out, "inet:{address}"),
        }
    }
}

impl Value for Listen {
    const ALLOWED: &'static str = "unix:/absolute/path or inet:ADDRESS:PORT";

    fn read(text: &str) -> Option<Self> {
        match text.strip_prefix("inet:") {
            Some(address) => address.parse().ok().map(Self::Tcp),
            None => PathBuf::read(text.strip_prefix("unix:").unwrap_or(text)).map(Self::Unix),
        }
    }
}

/// A value that may be left empty.
impl<T: Value> Value for Option<T> {
    const ALLOWED: &'static str = T::ALLOWED;

    const SECRET: bool = T::SECRET;

    fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            T::read(text).map(Some)
        }
    }
}

impl Value for SocketAddr {
    const ALLOWED: &'static str = "ADDRESS:PORT such as 127.0.0.1:3905, or empty";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for IpAddr {
    const ALLOWED: &'static str = "an IP address such as 192.0.2.1, or empty";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// The host and port of a server, as clients are told them: `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAndPort {
    /// A domain or an IPv4 address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostAndPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

impl Value for HostAndPort {
    const ALLOWED: &'static str = "HOST:PORT, a domain or IPv4 address with a port";

    fn read(text: &str) -> Option<Self> {
        let (host, port) = text.split_once(':')?;
        // A relay that is known by its address may write that as in `name@[a.b.c.d]`.
        let bare = |host: &'_ str| Some(host.strip_prefix('[')?.strip_suffix(']')?.to_owned());
        let host = bare(host).unwrap_or_else(|| host.to_owned());
        // What lies between colons must hold none: IPv6 addresses cannot be told to clients.
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let port = read_digits(port).filter(|port| *port != 0)?;
        (!host.is_empty() && host.bytes().all(is_host)).then_some(Self { host, port })
    }
}

/// The address of something on a web server, `https://` and no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl(String);

impl HttpsUrl {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Value for HttpsUrl {
    const ALLOWED: &'static str =
        "an address such as https://notifications.example/notify, or empty";

    fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let has_host = !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']);
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        (has_host && is_plain).then(|| Self(text.into()))
    }
}

/// Whether mail from a peer may lack its domain's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptUnsigned {
    /// Never.
    Never,
    /// When the client's address is one of the domain's.
    IpMatch,
    /// From everybody.
    Always,
}

impl Value for AcceptUnsigned {
    const ALLOWED: &'static str = "never, ip-match or always";

    fn read(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::Never),
            "ip-match" => Some(Self::IpMatch),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

/// Servers by address, separated by white space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers(pub Vec<SocketAddr>);

impl Value for Servers {
    const ALLOWED: &'static str =
        "addresses such as 127.0.0.1 or [::1]:5353, separated by white space";

    /// Without a port, DNS's.
    fn read(text: &str) -> Option<Self> {
        let server = |word: &str| match word.parse() {
            Ok(address) => Some(address),
            Err(_) => word.parse().ok().map(|ip| SocketAddr::new(ip, 53)),
        };
        let servers: Option<_> = text.split_whitespace().map(server).collect();
        servers.map(Self)
    }
}

/// The files of a certificate that somebody else renews: chain and private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertAndKey {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

impl Value for CertAndKey {
    const ALLOWED: &'static str = "two absolute paths, certificate chain and private key, or empty";

    fn read(text: &str) -> Option<Self> {
        let mut paths = text.split_whitespace().map(PathBuf::read);
        match (paths.next(), paths.next(), paths.next()) {
            (Some(Some(certificate)), Some(Some(key)), None) => Some(Self { certificate, key }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", Some(0))]
    #[case("31457280", Some(31_457_280))]
    #[case("200k", Some(204_800))]
    #[case("500M", Some(524_288_000))]
    #[case("500MB", Some(524_288_000))]
    #[case("1 G", Some(1 << 30))]
    #[case("", None)]
    #[case("M", None)]
    #[case("-1", None)]
    #[case("+1", None)]
    #[case("1.5G", None)]
    #[case("1MM", None)]
    #[case("99999999999T", None)]
    fn sizes(#[case] text: &str, #[case] bytes: Option<u64>) {
        assert_eq!(ByteSize::read(text).map(ByteSize::bytes), bytes);
    }

    #[test]
    fn address_lists_match_addresses_and_domains() {
        let list = AddressList::read("a@x.org\n @Y.org").unwrap();
        let matches = |text: &str| list.matches(&text.parse().unwrap());
        assert!(matches("A@x.org") && matches("any@y.org"));
        assert!(!matches("b@x.org") && !matches("any@sub.y.org"));
        assert!(AddressList::read("nonsense").is_none());
    }

    #[test]
    fn listen_addresses() {
        assert_eq!(Listen::read("/run/x").unwrap().to_string(), "unix:/run/x");
        assert_eq!(
            Listen::read("inet:[::1]:25").unwrap().to_string(),
            "inet:[::1]:25"
        );
        assert!(Listen::read("inet:25").is_none());
        assert!(Listen::read("unix:run/x").is_none());
    }

    #[test]
    fn servers_may_leave_out_the_port() {
        let servers = Servers::read("127.0.0.1 ::1\n[::1]:54").unwrap();
        let shown: Vec<_> = servers.0.iter().map(SocketAddr::to_string).collect();
        assert_eq!(shown, ["127.0.0.1:53", "[::1]:53", "[::1]:54"]);
        assert!(Servers::read("ns.example").is_none());
    }

    #[rstest]
    #[case("turn.x.org:3478", true)]
    #[case("192.0.2.1:3478", true)]
    #[case("_chat.test:1", true)]
    #[case("[::1]:3478", false)]
    #[case("::1", false)]
    #[case("turn.x.org", false)]
    #[case("turn.x.org:", false)]
    #[case("turn.x.org:0", false)]
    #[case("turn.x.org:65536", false)]
    #[case(":3478", false)]
    #[case("a b:3478", false)]
    fn hosts_with_ports(#[case] text: &str, #[case] allowed: bool) {
        let read = HostAndPort::read(text).map(|server| server.to_string());
        assert_eq!(read.as_deref(), allowed.then_some(text));
    }

    #[rstest]
    #[case("https://notifications.delta.chat/notify", true)]
    #[case("https://127.0.0.2:10444", true)]
    #[case("http://notifications.delta.chat/notify", false)]
    #[case("https://", false)]
    #[case("https:///notify", false)]
    #[case("https://x.org/a b", false)]
    fn addresses_of_servers(#[case] text: &str, #[case] allowed: bool) {
        let read = HttpsUrl::read(text);
        assert_eq!(read.as_ref().map(HttpsUrl::as_str), allowed.then_some(text));
    }

    #[test]
    fn optional_values_may_be_empty() {
        assert_eq!(Option::<SocketAddr>::read(""), Some(None));
        assert_eq!(Option::<SocketAddr>::read("nonsense"), None);
        assert_eq!(Option::<CertAndKey>::read("/a"), None);
        assert!(Option::<CertAndKey>::read("/a /b").is_some_and(|pair| pair.is_some()));
    }
}
