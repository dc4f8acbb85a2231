//! One line of Postfix's log.

use std::time::Duration;

use chatmail::Domain;

use crate::redaction::without_recipient;

/// What smtp(8) says of a recipient.
#[derive(Debug, PartialEq)]
pub(super) struct Delivery<'a> {
    /// The process that logged it.
    pub(super) process: u32,
    /// Postfix's name of the message.
    pub(super) queue_id: &'a str,
    /// The recipient's domain.
    pub(super) domain: Domain,
    /// Whether the peer took it; else why not, without addresses.
    pub(super) outcome: Result<(), String>,
    /// What the connection and the transmission took.
    pub(super) took: Duration,
    /// All of Postfix's times, as they stand.
    pub(super) delays: &'a str,
}

impl<'a> Delivery<'a> {
    /// Reads a line; `None` when it tells of no delivery by SMTP.
    ///
    /// `Nov 20 20:28:00 mx postfix/smtp[4711]: 4ABC: to=<bob@x.org>, relay=mx.x.org[192.0.2.1]:25,
    /// delay=0.5, delays=0.1/0/0.2/0.2, dsn=2.0.0, status=sent (250 2.0.0 Ok)`: the date may look otherwise,
    /// `postfix` may be another `syslog_name`, and more fields may stand between.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = str::from_utf8(line).ok()?;
        // The first word that ends so is the program's: dates and host names do not.
        let (before, text) = line.split_once("]: ")?;
        let program = before.rsplit(' ').next()?;
        let (name, process) = program.split_once('[')?;
        if !name.ends_with("/smtp") {
            return None;
        }
        let (queue_id, fields) = text.split_once(": to=<")?;
        if !queue_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let (recipient, mut fields) = split_address(fields)?;
        let (local_part, domain) = recipient.rsplit_once('@')?;
        let mut delays = None;
        loop {
            fields = fields.strip_prefix(", ")?;
            if let Some(original) = fields.strip_prefix("orig_to=<") {
                fields = split_address(original)?.1;
            } else if let Some(status) = fields.strip_prefix("status=") {
                let delays: &str = delays?;
                return Some(Self {
                    process: process.parse().ok()?,
                    queue_id,
                    domain: domain.parse().ok()?,
                    outcome: outcome(status, local_part)?,
                    took: took(delays)?,
                    delays,
                });
            } else {
                let (field, _) = fields.split_once(", ")?;
                delays = delays.or(field.strip_prefix("delays="));
                fields = fields.get(field.len()..)?;
            }
        }
    }
}

/// The address at the front and what follows its `>`. A quoted local part may hold anything.
fn split_address(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut escaped = false;
    let end = text.find(|c| {
        let literal = std::mem::replace(&mut escaped, false);
        match c {
            _ if literal => {}
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            '>' => return !quoted,
            _ => {}
        }
        false
    })?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

fn outcome(status: &str, local_part: &str) -> Option<Result<(), String>> {
    let (word, reason) = status.split_once(' ').unwrap_or((status, ""));
    match word {
        "sent" => Some(Ok(())),
        "deferred" | "bounced" => {
            let reason = reason.strip_prefix('(').unwrap_or(reason);
            let reason = reason.strip_suffix(')').unwrap_or(reason);
            Some(Err(without_recipient(reason, local_part)))
        }
        _ => None,
    }
}

/// Of `a/b/c/d` seconds: c, to connect, and d, to transmit.
fn took(delays: &str) -> Option<Duration> {
    let mut delays = delays.split('/');
    let (connection, transmission) = (delays.nth(2)?, delays.next()?);
    let seconds = connection.parse::<f64>().ok()? + transmission.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn parse(line: &str) -> Option<Delivery<'_>> {
        Delivery::parse(line.as_bytes())
    }

    #[rstest]
    #[case("Nov 20 20:28:00 mx postfix/smtp[4711]: ")]
    #[case("2026-11-20T20:28:00.123456+00:00 mx postfix/smtp[4711]: ")]
    #[case("Nov  2 20:28:00 mx postfix-out/smtp[4711]: ")]
    #[case("Nov  2 20:28:00 mx postfix/fallback/smtp[4711]: ")]
    #[case("postfix/smtp[4711]: ")]
    fn deliveries_are_found_whatever_the_date_and_name(#[case] head: &str) {
        let line = format!(
            "{head}4ABCdef: to=<bob@X.org>, orig_to=<\"a>, b\"@y.org>, \
             relay=mx.x.org[192.0.2.1]:25, conn_use=2, delay=0.6, delays=0.1/0.05/0.2/0.25, \
             dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4XYZ)"
        );
        let expected = Delivery {
            process: 4711,
            queue_id: "4ABCdef",
            domain: "x.org".parse().unwrap(),
            outcome: Ok(()),
            took: Duration::from_millis(450),
            delays: "0.1/0.05/0.2/0.25",
        };
        assert_eq!(parse(&line), Some(expected));
    }

    fn with(recipient: &str, status: &str) -> String {
        format!(
            "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: to=<{recipient}>, relay=none, delay=30, \
             delays=0/0/30/0, dsn=4.4.1, status={status}"
        )
    }

    #[rstest]
    #[case(
        "deferred (connect to x.org[192.0.2.1]:25: Connection timed out)",
        "connect to x.org[192.0.2.1]:25: Connection timed out"
    )]
    #[case(
        "bounced (host mx.x.org[192.0.2.1] said: 550 5.1.1 <bob@x.org>: bob is unknown (in reply to RCPT TO command))",
        "host mx.x.org[192.0.2.1] said: 550 5.1.1 …: … is unknown (in reply to RCPT TO command)"
    )]
    #[case("deferred", "")]
    fn failures_say_why_without_addresses(#[case] status: &str, #[case] why: &str) {
        let line = with("bob@x.org", status);
        assert_eq!(parse(&line).unwrap().outcome, Err(why.to_owned()));
    }

    #[rstest]
    #[case("bob@x.org", "x.org")]
    #[case("bob@[192.0.2.7]", "[192.0.2.7]")]
    #[case("\"a>, status=sent (\\\"\"@x.org", "x.org")]
    #[case("\"a@y.org>, \"@x.org", "x.org")]
    fn recipients_of_all_sorts(#[case] recipient: &str, #[case] domain: &str) {
        let line = with(recipient, "deferred (x)");
        assert_eq!(parse(&line).unwrap().domain.as_str(), domain);
    }

    #[rstest]
    #[case("")]
    #[case(
        "Nov 20 20:28:00 mx postfix/lmtp[1]: 4A: to=<bob@x.org>, relay=none, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/qmgr[1]: 4A: from=<bob@x.org>, size=1, nrcpt=1 (queue active)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: connect to x.org[192.0.2.1]:25: Connection refused"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: host x.org[192.0.2.1] said: 450 ]: 4B: to=<bob@x.org>, delays=0/0/1/1, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[x]: 4A: to=<bob@x.org>, relay=none, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: to=<bob@x.org>, relay=none, delay=1, delays=0/0/nan/0, dsn=2.0.0, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: to=<bob@x.org>, relay=none, delay=1, delays=0/0/-9/0, dsn=2.0.0, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: to=<bob@x.org>, relay=none, delay=1, delays=0/0/1, dsn=2.0.0, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: to=<bob@x.org>, relay=none, delay=1, dsn=2.0.0, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: to=<bob>, relay=none, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: to=<bob@x..org>, relay=none, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: to=<\"bob@x.org>, relay=none, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (x)"
    )]
    #[case(
        "Nov 20 20:28:00 mx postfix/smtp[1]: 4A: to=<bob@x.org>, relay=none, delay=1, delays=0/0/1/0, dsn=2.0.0, status=expired (x)"
    )]
    fn other_lines_tell_nothing(#[case] line: &str) {
        assert_eq!(parse(line), None);
    }

    proptest! {
        #[test]
        fn hostile_lines_do_no_harm(
            name in "[a-z\"@<>,= \\\\]{0,30}",
            status in "[a-z\"@<>,=() \\PC]{0,60}",
        ) {
            let line = with(&format!("{name}@x.org"), &format!("deferred ({status}"));
            if let Some(Delivery { outcome: Err(why), .. }) = parse(&line) {
                prop_assert!(!why.contains('@'));
            }
        }

        #[test]
        fn any_octets_are_read_or_not(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Delivery::parse(&octets);
        }
    }
}
