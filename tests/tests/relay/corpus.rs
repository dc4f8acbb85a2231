//! The whole corpus against a real Postfix: every trick gets a definite refusal and nothing of it
//! arrives, on the way out by submission as on the way in by port 25; honest mail goes through in
//! between, over the same connection.
//!
//! What comes from outside is signed by its author's domain, so that the gate refuses it and not
//! DKIM. Postfix repairs some messages before a milter sees them: [`REPAIRED`] names those, and
//! what then must be true.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use corpus::{Honest, Trick};
use filtermail::gate::{Direction, MessageReader};
use testbed::TestRelay;
use testbed::client::smtp::{Content, Reply};
use testbed::client::{Envelope, SmtpClient};
use testbed::foreign::{self, ForeignDomain};
use testbed::mail::Message;

use crate::fixture::{Person, messages, unhurried};

/// Tricks between two honest messages: Postfix slows down, then hangs up on clients that make many
/// mistakes without sending any mail.
const TRICKS_IN_A_ROW: usize = 8;

/// What becomes of a trick that Postfix repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repaired {
    /// It is another trick then, refused with a 5xx reply for another reason.
    Refused,
    /// It is harmless then: what is delivered passes the gate as it stands.
    Harmless,
}

/// Tricks that are others, or none, when Postfix 3.7 has read them.
const REPAIRED: &[(&str, Repaired)] = &[
    // A bare LF is a line end, a bare CR a blank, `Name :` is `Name:`, and the header section ends
    // at a line that is no field.
    ("bare-lf-in-a-header", Repaired::Refused),
    ("bare-lf-ends-the-header-section", Repaired::Refused),
    ("bare-lf-before-a-delimiter", Repaired::Refused),
    ("bare-cr-before-a-delimiter", Repaired::Refused),
    ("bare-cr-in-the-armor", Repaired::Refused),
    ("bare-lf-in-the-epilogue", Repaired::Refused),
    ("utf-8-in-a-header-name", Repaired::Refused),
    ("no-break-space-before-the-colon", Repaired::Refused),
    ("byte-order-mark-before-the-first-header", Repaired::Refused),
    ("header-without-colon", Repaired::Refused),
    ("blank-before-the-colon", Repaired::Refused),
    ("tab-before-the-colon", Repaired::Refused),
    ("first-line-is-a-continuation", Repaired::Refused),
    ("from-with-a-blank-before-the-colon", Repaired::Refused),
    ("blank-inside-a-header-name", Repaired::Refused),
    ("empty-header-name", Repaired::Refused),
    ("quoted-mbox-line-inside", Repaired::Refused),
    ("smtp-command-as-a-header", Repaired::Refused),
    ("delimiter-in-the-header-section", Repaired::Refused),
    ("armor-in-the-header-section", Repaired::Refused),
    ("blank-before-the-colon-of-a-part", Repaired::Refused),
    // The same repairs, and what is left passes. A `From ` line on top is dropped.
    ("bare-cr-in-a-header", Repaired::Harmless),
    ("bare-cr-ends-the-header-section", Repaired::Harmless),
    ("bare-lf-behind-the-version", Repaired::Harmless),
    ("bare-lf-behind-the-armor-headers", Repaired::Harmless),
    ("two-crs-before-the-lf", Repaired::Harmless),
    ("two-crs-before-the-lf-of-a-part-header", Repaired::Harmless),
    ("lf-before-cr", Repaired::Harmless),
    ("cr-at-the-very-end", Repaired::Harmless),
    ("bare-lf-at-the-end-of-the-armor", Repaired::Harmless),
    ("mbox-line-on-top", Repaired::Harmless),
];

#[tokio::test]
async fn every_trick_is_refused_on_its_way_out() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let alice = Person::new(&relay.target)?;
    let door = Door::Submission(&alice);
    run(&relay, door, Direction::Outgoing).await?;
    relay.stop()
}

#[tokio::test]
async fn every_trick_is_refused_on_its_way_in() -> anyhow::Result<()> {
    let relay = TestRelay::start(unhurried())?;
    let domain = ForeignDomain::new(relay.dns()?, "peer.test")?;
    let door = Door::Outside(&domain);
    run(&relay, door, Direction::Incoming).await?;
    relay.stop()
}

/// Sends all tricks and all honest messages, then looks at what has arrived.
async fn run(relay: &TestRelay, door: Door<'_>, direction: Direction) -> anyhow::Result<()> {
    let bob = Person::new(&relay.target)?;
    let mut inbox = bob.inbox(&relay.target).await?;
    let mut sender = Sender::new(relay, door, &bob);
    let tricks = corpus::tricks().into_iter();
    let tricks: Vec<Trick> = tricks.filter(|t| t.rule(direction).is_some()).collect();
    let honest = corpus::honest().into_iter();
    let honest: Vec<Honest> = honest
        .filter(|honest| direction == Direction::Incoming || honest.outgoing)
        .collect();
    let mut between = honest.iter().cycle();
    let mut wrong = Vec::new();
    // Bodies of what was accepted.
    let mut accepted: Vec<(&str, Vec<u8>)> = Vec::new();
    for some in tricks.chunks(TRICKS_IN_A_ROW) {
        for trick in some {
            let outcome = sender.send(&trick.message_from(&sender.author())).await;
            let outcome = outcome.with_context(|| trick.name)?;
            if let Some(complaint) = judge(trick, direction, &outcome) {
                wrong.push(format!("{}: {complaint}", trick.name));
            }
            if outcome.is_accepted() {
                accepted.push((trick.name, Vec::new()));
            }
        }
        let honest = between.next().context("no honest messages")?;
        let message = honest.message_from(&sender.author());
        let outcome = sender.send(&message).await?;
        ensure!(outcome.is_accepted(), "{}: {outcome:?}", honest.name);
        accepted.push((honest.name, body(&message).to_vec()));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let connections = sender.connections;
    ensure!(
        connections <= 1 + sender.hang_ups,
        "{connections} connections"
    );
    ensure!(accepted.len() >= honest.len(), "too few rounds for all");

    let arrived = messages(&mut inbox, accepted.len()).await?;
    ensure!(arrived.len() == accepted.len(), "{} arrived", arrived.len());
    for found in &arrived {
        let refusal = Trick::refusal(&verdict(Direction::Incoming, &found.message));
        ensure!(refusal.is_none(), "what arrived fails {refusal:?}");
    }
    let mut missing: BTreeMap<&str, &[u8]> = BTreeMap::new();
    missing.extend(accepted.iter().map(|(name, body)| (*name, body.as_slice())));
    missing.retain(|_, body| !arrived.iter().any(|found| ends_with(&found.message, body)));
    ensure!(missing.is_empty(), "not as sent: {:?}", missing.keys());
    Ok(())
}

/// What is wrong with the answer to a trick.
fn judge(trick: &Trick, direction: Direction, outcome: &Outcome) -> Option<String> {
    let repaired = REPAIRED.iter().find(|(name, _)| *name == trick.name);
    let rule = trick.rule(direction)?.name();
    let Outcome::Reply(reply) = outcome else {
        // Postfix hangs up when it meets a bare LF, and its reply may be lost with the connection.
        let bare = |message: &[u8]| {
            let mut before = b' ';
            message.iter().any(|&octet| {
                let alone = octet == b'\n' && before != b'\r';
                before = octet;
                alone
            })
        };
        return (!bare(&trick.message())).then(|| "the relay hung up".to_owned());
    };
    let text = reply.to_string();
    let by_its_rule = text.contains(&format!("({rule})"))
        || rule.starts_with("from-") && text.contains("Invalid FROM");
    // Beside the gate's rule, what it lacks as a delivery report is named.
    let report = trick.name.starts_with("report-") && text.starts_with("523 5.7.1");
    let by_postfix = text.contains("bare <LF>") || text.contains("disallowed character");
    let refused = (500..600).contains(&reply.code);
    let fine = match repaired {
        _ if by_postfix && refused => true,
        None => refused && (by_its_rule || report),
        Some((_, Repaired::Refused)) => refused && !by_its_rule,
        Some((_, Repaired::Harmless)) => reply.is_positive(),
    };
    (!fine).then(|| format!("{text}, not {rule}"))
}

/// How somebody sends.
#[derive(Clone, Copy)]
enum Door<'a> {
    /// One of us, logged in.
    Submission(&'a Person),
    /// Somebody at another relay, whose domain signs.
    Outside(&'a ForeignDomain),
}

/// One connection after the other, each for as many messages as the relay lets it.
struct Sender<'a> {
    relay: &'a TestRelay,
    door: Door<'a>,
    recipient: &'a Person,
    client: Option<SmtpClient>,
    connections: usize,
    /// How often Postfix hung up on a bare LF, as versions that know how to do.
    hang_ups: usize,
}

/// The relay's answer to a message.
#[derive(Debug)]
enum Outcome {
    Reply(Reply),
    HungUp,
}

impl Outcome {
    fn is_accepted(&self) -> bool {
        matches!(self, Self::Reply(reply) if reply.is_positive())
    }
}

impl<'a> Sender<'a> {
    fn new(relay: &'a TestRelay, door: Door<'a>, recipient: &'a Person) -> Self {
        Self {
            relay,
            door,
            recipient,
            client: None,
            connections: 0,
            hang_ups: 0,
        }
    }

    /// The address that all messages are from.
    fn author(&self) -> String {
        match self.door {
            Door::Submission(person) => person.address.to_string(),
            Door::Outside(domain) => format!("alice@{}", domain.name()),
        }
    }

    /// Sends a message and reads the one reply to it.
    async fn send(&mut self, message: &[u8]) -> anyhow::Result<Outcome> {
        let message = match self.door {
            Door::Submission(_) => message.to_vec(),
            Door::Outside(domain) => signed(domain, message),
        };
        let envelope = Envelope::new(self.author(), &self.recipient.address);
        let content = Content::new("", message);
        let client = self.connected().await?;
        let transaction = match client.send(&envelope, &content).await {
            Ok(transaction) => transaction,
            Err(error) if error.is_disconnect() => {
                self.client = None;
                self.hang_ups += 1;
                return Ok(Outcome::HungUp);
            }
            Err(error) => return Err(error.into()),
        };
        let Some(reply) = transaction.content.clone() else {
            bail!("refused before its content: {}", transaction.verdict());
        };
        if reply.code == 521 {
            self.client = None;
            self.hang_ups += 1;
        }
        Ok(Outcome::Reply(reply))
    }

    async fn connected(&mut self) -> anyhow::Result<&mut SmtpClient> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                self.connections += 1;
                match self.door {
                    Door::Submission(person) => person.submission(&self.relay.target).await?,
                    Door::Outside(_) => foreign::connect(&self.relay.target).await?,
                }
            }
        };
        Ok(self.client.insert(client))
    }
}

/// The message with its author's domain's signature in its header section, made over what Postfix
/// will make of the body; as it is when its header section is none that could be signed.
fn signed(domain: &ForeignDomain, message: &[u8]) -> Vec<u8> {
    let signature = readable(message).and_then(|parsed| {
        let repaired = repaired(&parsed.body);
        let signed = domain.sign(&parsed.with_body(repaired)).ok()?;
        signed.header("DKIM-Signature").map(str::to_owned)
    });
    let Some(value) = signature else {
        return message.to_vec();
    };
    let (head, body) = message.split_at(message.len() - body(message).len());
    let Some(fields) = head.strip_suffix(b"\r\n").filter(|f| f.ends_with(b"\r\n")) else {
        return message.to_vec();
    };
    let signature = format!("DKIM-Signature: {value}\r\n\r\n");
    [fields, signature.as_bytes(), body].concat()
}

/// What Postfix makes of a body: each LF ends a line, with a CR before it or without, and any other CR
/// is a blank.
fn repaired(body: &[u8]) -> Vec<u8> {
    let mut repaired = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|&octet| octet == b'\n') {
        let text = line.strip_suffix(b"\r\n");
        let text = text.or_else(|| line.strip_suffix(b"\n")).unwrap_or(line);
        repaired.extend(text.iter().map(|&octet| match octet {
            b'\r' => b' ',
            other => other,
        }));
        repaired.extend_from_slice(b"\r\n");
    }
    repaired
}

/// Header fields and body, if all lines of the header section are fields.
fn readable(message: &[u8]) -> Option<Message> {
    let body = body(message);
    let (head, _) = message.split_at(message.len() - body.len());
    let head = str::from_utf8(head).ok()?.trim_end();
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in head.split("\r\n") {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push_str("\r\n");
            value.push_str(line);
        } else {
            let (name, value) = line.split_once(':')?;
            fields.push((name, value.strip_prefix(' ').unwrap_or(value).to_owned()));
        }
    }
    Some(Message::new(fields, body.to_vec()))
}

/// What follows the first empty line.
fn body(message: &[u8]) -> &[u8] {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n");
    end.and_then(|at| message.get(at + 4..)).unwrap_or_default()
}

/// Whether a message ends in this body, which may lack its last line end.
fn ends_with(message: &[u8], body: &[u8]) -> bool {
    message.ends_with(body) || message.ends_with(&[body, b"\r\n"].concat())
}

fn verdict(direction: Direction, message: &[u8]) -> filtermail::gate::Verdict {
    let mut reader = MessageReader::new(direction);
    reader.push(message);
    reader.finish()
}
