//! What the DNS server is to say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// A name whose TXT record counts the changes.
pub(super) const GENERATION: &str = "generation.testbed.invalid";

/// The longest string of a TXT record in octets (RFC 1035 section 3.3).
const STRING_MAX: usize = 255;

/// unbound's longest line in octets, which is also about what DNS can carry.
const LINE_MAX: usize = 65_000;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A mail server by preference and name; an empty name makes a null MX (RFC 7505).
    Mx(u16, String),
    /// A text, in strings of at most 255 octets.
    Txt(Vec<String>),
    /// Another name.
    Cname(String),
}

impl Data {
    /// A text of any length, cut into strings as long as they may be. ASCII.
    pub fn txt(text: &str) -> Self {
        let strings = text.as_bytes().chunks(STRING_MAX);
        Self::Txt(
            strings
                .map(|string| String::from_utf8_lossy(string).into_owned())
                .collect(),
        )
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::A(_) => "A",
            Self::Aaaa(_) => "AAAA",
            Self::Mx(..) => "MX",
            Self::Txt(_) => "TXT",
            Self::Cname(_) => "CNAME",
        }
    }

    /// RFC 1035 section 5.1.
    fn text(&self) -> anyhow::Result<String> {
        Ok(match self {
            Self::A(ip) => ip.to_string(),
            Self::Aaaa(ip) => ip.to_string(),
            Self::Mx(preference, host) => format!("{preference} {}", absolute(host)?),
            Self::Cname(name) => absolute(name)?,
            Self::Txt(strings) => {
                ensure!(
                    strings.iter().all(|string| string.len() <= STRING_MAX),
                    "a string of a TXT record has at most {STRING_MAX} octets"
                );
                let quoted: Vec<_> = strings.iter().map(|string| quoted(string)).collect();
                quoted.join(" ")
            }
        })
    }
}

/// How questions about a domain fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The server says that it cannot answer.
    ServFail,
    /// The server says nothing.
    Timeout,
}

/// All records of the testbed, and the domains that fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    generation: u64,
    records: BTreeMap<String, Vec<Record>>,
    failing: BTreeMap<String, Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    ttl: u32,
    data: Data,
}

impl Zone {
    /// Replaces all records of a name that are of the same kind as `data`. `ttl` is in seconds.
    ///
    /// # Errors
    /// The name or a record is not what a zone file can hold, or `data` is empty or of several
    /// kinds.
    pub fn set(&mut self, name: &str, ttl: u32, data: &[Data]) -> anyhow::Result<()> {
        absolute(name)?;
        let kind = data.first().map(Data::kind);
        ensure!(
            kind.is_some() && data.iter().all(|data| Some(data.kind()) == kind),
            "records of one kind, at least one"
        );
        for data in data {
            ensure!(data.text()?.len() <= LINE_MAX, "too long a record");
        }
        let records = self.records.entry(name.to_ascii_lowercase()).or_default();
        records.retain(|record| Some(record.data.kind()) != kind);
        records.extend(data.iter().map(|data| Record {
            ttl,
            data: data.clone(),
        }));
        Ok(())
    }

    /// Adds a TXT record that is written as a line of a zone file, without escapes:
    /// `name. seconds IN TXT "string" "string"`.
    ///
    /// # Errors
    /// The line is another one.
    pub fn set_line(&mut self, line: &str) -> anyhow::Result<()> {
        let parsed = || {
            let (head, strings) = line.trim_end().split_once(" IN TXT ")?;
            let (name, ttl) = head.split_once(". ")?;
            let strings = strings.strip_prefix('"')?.strip_suffix('"')?;
            let strings = strings.split("\" \"").map(str::to_owned).collect();
            Some((name, ttl.parse().ok()?, Data::Txt(strings)))
        };
        let (name, ttl, data) = parsed().with_context(|| format!("no TXT record: {line}"))?;
        self.set(name, ttl, &[data])
    }

    /// Removes all records of a name.
    pub fn remove(&mut self, name: &str) {
        self.records.remove(&name.to_ascii_lowercase());
    }

    /// Lets all questions about a domain and names below it fail.
    ///
    /// # Errors
    /// The name is none.
    pub fn fail(&mut self, domain: &str, failure: Failure) -> anyhow::Result<()> {
        absolute(domain)?;
        self.failing.insert(domain.to_ascii_lowercase(), failure);
        Ok(())
    }

    /// Ends what [`Zone::fail`] began.
    pub fn recover(&mut self, domain: &str) {
        self.failing.remove(&domain.to_ascii_lowercase());
    }

    /// Counts a change.
    pub(super) fn renew(&mut self) {
        self.generation += 1;
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The zone file of all names.
    pub(super) fn records(&self) -> anyhow::Result<String> {
        let generation = self.generation;
        let mut text = format!(
            ". 0 IN SOA {GENERATION}. {GENERATION}. {generation} 3600 600 86400 0\n\
             . 0 IN NS {GENERATION}.\n\
             {GENERATION}. 0 IN TXT \"{generation}\"\n"
        );
        for (name, records) in &self.records {
            let name = absolute(name)?;
            for Record { ttl, data } in records {
                writeln!(text, "{name} {ttl} IN {} {}", data.kind(), data.text()?)?;
            }
        }
        Ok(text)
    }

    /// The domains that fail so.
    pub(super) fn failing(&self, how: Failure) -> Vec<String> {
        self.failing
            .iter()
            .filter(|&(_, failure)| *failure == how)
            .map(|(domain, _)| domain.clone())
            .collect()
    }
}

/// The name with its trailing dot, when a zone file can hold it without escapes.
fn absolute(name: &str) -> anyhow::Result<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ensure!(
        name.len() <= 253 && name.bytes().all(allowed) && !name.starts_with('.'),
        "`{name}` is no name for the testbed's DNS"
    );
    Ok(format!("{name}."))
}

/// RFC 1035 section 5.1: octets that mean something, or nothing, to a zone file by their number.
fn quoted(string: &str) -> String {
    let mut text = "\"".to_owned();
    for byte in string.bytes() {
        match byte {
            b' '..=b'~' if byte != b'"' && byte != b'\\' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03}")),
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_one_kind_are_replaced() {
        let mut zone = Zone::default();
        let mx = |host: &str| Data::Mx(10, host.into());
        zone.set("a.test", 60, &[mx("x.test"), mx("")]).unwrap();
        zone.set("A.test", 5, &[Data::A([127, 0, 0, 9].into())])
            .unwrap();
        zone.set("a.test", 7, &[mx("y.test")]).unwrap();
        let text = zone.records().unwrap();
        let lines: Vec<_> = text.lines().skip(3).collect();
        assert_eq!(
            lines,
            ["a.test. 5 IN A 127.0.0.9", "a.test. 7 IN MX 10 y.test."]
        );
        zone.remove("a.TEST");
        assert_eq!(zone.records().unwrap().lines().count(), 3);
    }

    #[test]
    fn a_line_is_read_as_it_is_written() {
        let line = "a._domainkey.x.test. 3600 IN TXT \"v=DKIM1; p=AB\" \"CD\"";
        let mut zone = Zone::default();
        zone.set_line(&format!("{line}\n")).unwrap();
        assert_eq!(zone.records().unwrap().lines().nth(3), Some(line));
        for other in [
            "",
            "a. IN TXT \"x\"",
            "a. 1 IN A 127.0.0.1",
            "a. 1 IN TXT x",
        ] {
            assert!(zone.set_line(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_null_mx_names_the_root() {
        assert_eq!(Data::Mx(0, String::new()).text().unwrap(), "0 .");
    }

    #[test]
    fn long_texts_are_cut_and_odd_octets_escaped() {
        let text = Data::txt(&"x".repeat(300)).text().unwrap();
        let expected = format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(45));
        assert_eq!(text, expected);
        assert_eq!(
            Data::txt("a\"\\\n;b").text().unwrap(),
            "\"a\\034\\092\\010;b\""
        );
        assert!(Data::Txt(vec!["x".repeat(256)]).text().is_err());
    }

    #[test]
    fn what_a_zone_file_cannot_hold_is_refused() {
        let mut zone = Zone::default();
        let a = Data::A([127, 0, 0, 9].into());
        assert!(zone.set("a b", 1, std::slice::from_ref(&a)).is_err());
        assert!(zone.set("a\n.", 1, std::slice::from_ref(&a)).is_err());
        assert!(zone.set("a", 1, &[]).is_err());
        assert!(zone.set("a", 1, &[a, Data::txt("t")]).is_err());
        assert!(
            zone.set("a", 1, &[Data::txt(&"x".repeat(LINE_MAX))])
                .is_err()
        );
        assert!(zone.fail("a\"b", Failure::Timeout).is_err());
        assert_eq!(zone, Zone::default());
    }
}
