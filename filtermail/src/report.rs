//! Tells mxdeliv-bridge how mail from peers fares on port 25, for its figures.
//!
//! A report is a datagram to `mxdeliv_report_socket`, one JSON object of at most [`REPORT_MAX`] octets:
//! `{"domain":"peer.example","outcome":"accepted","milliseconds":12}`. `domain` is the author's, and it
//! has proved the message to be its own; `outcome` is `accepted` or `refused` (proof is the last rule today, so
//! what is refused is refused before it, and is not reported); `milliseconds` are those from `MAIL` to
//! the verdict. Figures are worth no delay and no log line: what cannot be sent at
//! once, or to nobody, is lost.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use chatmail::{Config, Domain};
use serde::{Deserialize, Serialize};

/// The longest report, in octets.
pub const REPORT_MAX: usize = 512;

/// The longest time that a report may tell.
const TOOK_MAX: Duration = Duration::from_secs(60 * 60);

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The domain of its author, proved.
    pub domain: Domain,
    /// Whether it was taken.
    pub accepted: bool,
    /// How long it took; whole milliseconds, at most an hour.
    pub took: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    domain: String,
    outcome: Outcome,
    milliseconds: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Accepted,
    Refused,
}

impl Report {
    /// The datagram.
    fn to_datagram(&self) -> Option<Vec<u8>> {
        let took = self.took.min(TOOK_MAX).as_millis();
        let wire = Wire {
            domain: self.domain.to_string(),
            outcome: match self.accepted {
                true => Outcome::Accepted,
                false => Outcome::Refused,
            },
            milliseconds: u64::try_from(took).ok()?,
        };
        serde_json::to_vec(&wire).ok()
    }

    /// Reads a datagram; `None` when it is not exactly a report.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        if datagram.len() > REPORT_MAX {
            return None;
        }
        let wire: Wire = serde_json::from_slice(datagram).ok()?;
        let took = Duration::from_millis(wire.milliseconds);
        Some(Self {
            domain: wire.domain.parse().ok()?,
            accepted: matches!(wire.outcome, Outcome::Accepted),
            took: Some(took).filter(|took| *took <= TOOK_MAX)?,
        })
    }
}

/// Sends reports.
#[derive(Debug)]
pub struct Reporter {
    /// None when the system gave none, and then there are no reports.
    socket: Option<UnixDatagram>,
    path: PathBuf,
}

impl Reporter {
    /// To `mxdeliv_report_socket`, whether anybody listens there or not.
    pub fn new(config: &Config) -> Self {
        let socket = UnixDatagram::unbound();
        let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        Self {
            socket: socket.ok(),
            path: config.mxdeliv_report_socket.clone(),
        }
    }

    /// Sends a report, or loses it.
    pub fn send(&self, report: &Report) {
        if let (Some(socket), Some(datagram)) = (&self.socket, report.to_datagram()) {
            // Nobody listens, or not fast enough.
            let _ = socket.send_to(&datagram, &self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn report(domain: &str, accepted: bool, milliseconds: u64) -> Report {
        Report {
            domain: domain.parse().unwrap(),
            accepted,
            took: Duration::from_millis(milliseconds),
        }
    }

    #[rstest]
    #[case("peer.example", true, 12)]
    #[case("[192.0.2.1]", false, 0)]
    #[case("[IPv6:2001:db8::1]", false, 3_600_000)]
    fn what_is_sent_is_read(#[case] domain: &str, #[case] accepted: bool, #[case] took: u64) {
        let report = report(domain, accepted, took);
        let datagram = report.to_datagram().unwrap();
        assert_eq!(Report::parse(&datagram), Some(report));
    }

    #[test]
    fn reports_look_as_documented() {
        let datagram = report("peer.example", true, 12).to_datagram().unwrap();
        let documented = br#"{"domain":"peer.example","outcome":"accepted","milliseconds":12}"#;
        assert_eq!(datagram, documented);
        let longest = [["x"; 63].concat(), ["y"; 63].concat(), ["z"; 63].concat()].join(".");
        let longest = format!("{longest}.{}", ["w"; 61].concat());
        assert!(
            report(&longest, true, u64::MAX)
                .to_datagram()
                .unwrap()
                .len()
                <= REPORT_MAX
        );
    }

    #[rstest]
    #[case("")]
    #[case("{}")]
    #[case(r#"{"domain":"a@x.org","outcome":"accepted","milliseconds":1}"#)]
    #[case(r#"{"domain":"x.org","outcome":"lost","milliseconds":1}"#)]
    #[case(r#"{"domain":"x.org","outcome":"accepted","milliseconds":-1}"#)]
    #[case(r#"{"domain":"x.org","outcome":"accepted","milliseconds":3600001}"#)]
    #[case(r#"{"domain":"x.org","outcome":"accepted","milliseconds":1,"more":1}"#)]
    #[case(r#"{"domain":"x.org","outcome":"accepted","milliseconds":1} "#)]
    fn others_are_no_reports(#[case] text: &str) {
        let padded = text
            .ends_with(' ')
            .then(|| text.to_owned() + &" ".repeat(REPORT_MAX));
        let text = padded.unwrap_or_else(|| text.to_owned());
        assert_eq!(Report::parse(text.as_bytes()), None);
    }

    #[test]
    fn what_cannot_be_sent_at_once_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let text = format!(
            "[params]\nmail_domain = x.org\nmxdeliv_report_socket = {}\n",
            path.display()
        );
        let (config, _) = Config::parse(&text, "chatmail.ini".as_ref()).unwrap();
        let reporter = Reporter::new(&config);
        let sent = report("peer.example", true, 1);
        reporter.send(&sent);
        let listener = UnixDatagram::bind(&path).unwrap();
        // More than any socket holds: the last of them find no room.
        (0..100_000).for_each(|_| reporter.send(&sent));
        let mut datagram = [0; REPORT_MAX];
        let length = listener.recv(&mut datagram).unwrap();
        assert_eq!(Report::parse(&datagram[..length]), Some(sent));
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_not(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Report::parse(&octets);
        }
    }
}
