//! Messages on their way to sums.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;

use chatmail::Domain;
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

use super::Destination;
use crate::redaction::without_recipient;

/// Most destinations that are told apart; those that come later are [`OTHERS`].
pub const DESTINATIONS_MAX: usize = 10_000;

/// Stands for the destinations for which there was no room, and for recipients without a domain.
pub const OTHERS: &str = "(others)";

/// Reasons that are told apart for one destination.
const REASONS_MAX: usize = 8;

/// The longest line that is read, in octets: 1000 recipients, each with a long reason.
const LINE_MAX: u64 = 4 << 20;

/// What waits, by destination. It takes some 2 KiB for each of [`DESTINATIONS_MAX`] at most.
#[derive(Debug, Default)]
pub struct Summary {
    destinations: HashMap<String, Sums>,
    /// Messages that could not be read.
    unreadable: u64,
}

#[derive(Debug, Default)]
struct Sums {
    messages: u64,
    recipients: u64,
    oldest: i64,
    octets: u64,
    reasons: Reasons,
}

/// The most frequent reasons. When there are too many the rarest one makes room and the new one
/// inherits its count, so that a frequent one always stays ("space-saving").
#[derive(Debug, Default)]
struct Reasons(Vec<(String, u64)>);

/// A message as `postqueue -j` prints it (postqueue(1)); it has more fields.
#[derive(Deserialize)]
struct Message<'a> {
    arrival_time: i64,
    message_size: u64,
    #[serde(borrow)]
    recipients: Vec<Recipient<'a>>,
}

#[derive(Deserialize)]
struct Recipient<'a> {
    #[serde(borrow)]
    address: Cow<'a, str>,
    #[serde(borrow)]
    delay_reason: Option<Cow<'a, str>>,
}

impl Summary {
    /// Reads all that there is, a line for each message.
    ///
    /// # Errors
    /// `input` cannot be read.
    pub async fn read(mut input: impl AsyncBufRead + Unpin) -> io::Result<Self> {
        let mut summary = Self::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = (&mut input).take(LINE_MAX);
            if limited.read_until(b'\n', &mut line).await? == 0 {
                return Ok(summary);
            }
            if line.ends_with(b"\n") {
                summary.add(&line);
            } else {
                summary.unreadable += 1;
                skip_line(&mut input).await?;
            }
            // One enormous line is not remembered by its room.
            line.shrink_to(64 << 10);
        }
    }

    /// All destinations, those with most messages first.
    pub fn destinations(&self) -> Vec<Destination> {
        let destination = |(domain, sums): (&String, &Sums)| Destination {
            domain: domain.clone(),
            messages: sums.messages,
            recipients: sums.recipients,
            oldest: sums.oldest,
            octets: sums.octets,
            reason: sums.reasons.most_frequent(),
        };
        let mut all: Vec<_> = self.destinations.iter().map(destination).collect();
        all.sort_by(|a, b| {
            let by_count = b.messages.cmp(&a.messages);
            by_count.then_with(|| a.domain.cmp(&b.domain))
        });
        all
    }

    /// How many messages wait for a domain.
    pub fn messages(&self, domain: &str) -> u64 {
        self.destinations
            .get(domain)
            .map_or(0, |sums| sums.messages)
    }

    /// How many messages could not be read, and count nowhere.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    fn add(&mut self, line: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Message<'_>>(line) else {
            self.unreadable += 1;
            return;
        };
        // The destinations of this message, so that it counts once for each.
        let mut counted: Vec<String> = Vec::new();
        for recipient in &message.recipients {
            let (local_part, name) = destination(&recipient.address);
            let name = self.name_with_room(name);
            let sums = self.destinations.entry(name.clone()).or_default();
            sums.recipients += 1;
            if let Some(reason) = &recipient.delay_reason {
                sums.reasons.add(without_recipient(reason, local_part));
            }
            if !counted.contains(&name) {
                sums.add(&message);
                counted.push(name);
            }
        }
    }

    fn name_with_room(&self, name: String) -> String {
        let has_room = self.destinations.len() < DESTINATIONS_MAX;
        match has_room || self.destinations.contains_key(&name) {
            true => name,
            false => OTHERS.to_owned(),
        }
    }
}

/// The local part of a recipient, and the name of the destination.
fn destination(address: &str) -> (&str, String) {
    let (local_part, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let domain = domain.parse::<Domain>();
    let name = domain.map_or_else(|_| OTHERS.to_owned(), |domain| domain.to_string());
    (local_part, name)
}

async fn skip_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    loop {
        let there = input.fill_buf().await?;
        if there.is_empty() {
            return Ok(());
        }
        let end = there.iter().position(|&octet| octet == b'\n');
        let length = end.map_or(there.len(), |end| end + 1);
        input.consume(length);
        if end.is_some() {
            return Ok(());
        }
    }
}

impl Sums {
    fn add(&mut self, message: &Message<'_>) {
        self.oldest = match self.messages {
            0 => message.arrival_time,
            _ => self.oldest.min(message.arrival_time),
        };
        self.messages += 1;
        self.octets = self.octets.saturating_add(message.message_size);
    }
}

impl Reasons {
    fn add(&mut self, reason: String) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == reason) {
            *count += 1;
        } else if self.0.len() < REASONS_MAX {
            self.0.push((reason, 1));
        } else if let Some(rarest) = self.0.iter_mut().min_by_key(|(_, count)| *count) {
            *rarest = (reason, rarest.1 + 1);
        }
    }

    fn most_frequent(&self) -> Option<String> {
        let most = self.0.iter().max_by_key(|(_, count)| *count);
        most.map(|(reason, _)| reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arrival: i64, recipients: &[(&str, Option<&str>)]) -> String {
        let recipient = |(address, reason): &(&str, Option<&str>)| match reason {
            Some(reason) => serde_json::json!({ "address": address, "delay_reason": reason }),
            None => serde_json::json!({ "address": address }),
        };
        let recipients: Vec<_> = recipients.iter().map(recipient).collect();
        let message = serde_json::json!({
            "queue_name": "deferred", "queue_id": "4A", "arrival_time": arrival,
            "message_size": 1000, "forced_expire": false, "sender": "a@chat.example",
            "recipients": recipients,
        });
        format!("{message}\n")
    }

    async fn read(text: &str) -> Summary {
        Summary::read(text.as_bytes()).await.unwrap()
    }

    #[tokio::test]
    async fn messages_are_summed_by_destination() {
        let refused = Some("connect to x.org[192.0.2.1]:25: Connection refused");
        let unknown = Some("host x.org said: 450 <eve@x.org>: eve is unknown");
        let text = [
            line(30, &[("bob@x.org", refused), ("eve@X.org", unknown)]),
            line(10, &[("bob@x.org", refused), ("dave@[192.0.2.7]", None)]),
            line(20, &[("root", None)]),
        ];
        let summary = read(&text.concat()).await;
        assert_eq!(
            (summary.messages("x.org"), summary.messages("y.org")),
            (2, 0)
        );
        let expected =
            |domain: &str, messages, recipients, oldest, reason: Option<&str>| Destination {
                domain: domain.into(),
                messages,
                recipients,
                oldest,
                octets: 1000 * messages,
                reason: reason.map(str::to_owned),
            };
        let all = [
            expected("x.org", 2, 3, 10, refused),
            expected(OTHERS, 1, 1, 20, None),
            expected("[192.0.2.7]", 1, 1, 10, None),
        ];
        assert_eq!(summary.destinations(), all);
        assert!(!format!("{summary:?}").contains('@'));
    }

    #[tokio::test]
    async fn twenty_thousand_messages_are_a_few_sums() {
        let reason = |number| format!("{number} connections refused");
        let lines = (0..20_000).map(|number| {
            // Every other one for the same reason, the others each for one of their own.
            let reason = reason(if number % 2 == 0 { 0 } else { number });
            let address = format!("user{number}@peer{}.example", number % 200);
            line(number, &[(&address, Some(&reason))])
        });
        let summary = read(&lines.collect::<String>()).await;
        assert_eq!(summary.destinations.len(), 200);
        let of = |destination: &Destination| (destination.messages, destination.octets);
        let all = summary.destinations();
        assert!(all.iter().all(|found| of(found) == (100, 100_000)));
        let even = all.iter().find(|found| found.domain == "peer8.example");
        assert_eq!(even.unwrap().reason, Some(reason(0)));
        let reasons = summary
            .destinations
            .values()
            .map(|sums| sums.reasons.0.len());
        assert_eq!(reasons.max(), Some(REASONS_MAX));
    }

    #[tokio::test]
    async fn frequent_reasons_outlast_any_number_of_rare_ones() {
        let lines = (0..3000).map(|number| match number % 3 {
            0 => line(0, &[("a@x.org", Some("often"))]),
            _ => line(0, &[("a@x.org", Some(&format!("rare {number}")))]),
        });
        let summary = read(&lines.collect::<String>()).await;
        let reason = summary.destinations().remove(0).reason;
        assert_eq!(reason.as_deref(), Some("often"));
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_destinations() {
        let lines = (0..DESTINATIONS_MAX + 50).map(|number| {
            let address = format!("a@peer{number}.example");
            line(0, &[(&address, None)])
        });
        let summary = read(&lines.collect::<String>()).await;
        assert_eq!(summary.destinations.len(), DESTINATIONS_MAX + 1);
        assert_eq!(summary.messages(OTHERS), 50);
    }

    #[tokio::test]
    async fn what_is_no_message_is_counted_as_that() {
        let long = "x".repeat(usize::try_from(LINE_MAX).unwrap() + 1);
        let good = line(1, &[("a@x.org", None)]);
        for bad in [
            "\n",
            "{}\n",
            "no\n",
            &format!("{long}\n"),
            &format!("{long}{long}\n"),
        ] {
            let summary = read(&format!("{good}{bad}{good}")).await;
            assert_eq!((summary.messages("x.org"), summary.unreadable()), (2, 1));
        }
        // The last line may be cut off.
        let summary = read(&good[..good.len() - 2]).await;
        assert_eq!((summary.messages("x.org"), summary.unreadable()), (0, 1));
    }
}
