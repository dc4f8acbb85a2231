//! One message that must not pass.

use filtermail::gate::{Class, Direction, Rule, Verdict};

use crate::from_another;

/// A message that must be refused, and by which rule.
#[derive(Clone, Debug)]
pub struct Trick {
    /// What it plays, in kebab-case; no two are the same.
    pub name: &'static str,
    /// What it does and why a program could fall for it.
    pub why: &'static str,
    /// The rule that stops it on the way out; `None` when it may leave.
    pub outgoing: Option<Rule>,
    /// The rule that stops it on the way in; `None` when it may come in.
    pub incoming: Option<Rule>,
    message: Vec<u8>,
}

impl Trick {
    /// The rule that stops it in this direction; `None` when it may pass.
    pub fn rule(&self, direction: Direction) -> Option<Rule> {
        match direction {
            Direction::Outgoing => self.outgoing,
            Direction::Incoming => self.incoming,
        }
    }

    /// The message as it goes over the wire, before dots are stuffed.
    pub fn message(&self) -> Vec<u8> {
        self.message.clone()
    }

    /// The same by another author, with the address wherever [`crate::AUTHOR`] stands.
    pub fn message_from(&self, author: &str) -> Vec<u8> {
        from_another(&self.message, author)
    }

    /// The rule by which this verdict refuses a message: what the message is comes first, then whom
    /// it is from. `None`: it passes.
    pub fn refusal(verdict: &Verdict) -> Option<Rule> {
        match (verdict.class, &verdict.from) {
            (Class::Cleartext(rule), _) => Some(rule),
            (_, Err(rule)) => Some(*rule),
            (_, Ok(_)) => None,
        }
    }

    /// It may come in: other people's software writes such things.
    pub(crate) fn only_outgoing(mut self) -> Self {
        self.incoming = None;
        self
    }

    /// On the way in another rule stops it.
    pub(crate) fn incoming(mut self, rule: Rule) -> Self {
        self.incoming = Some(rule);
        self
    }
}

/// A message that one rule stops in both directions.
pub(crate) fn trick(
    rule: Rule,
    name: &'static str,
    why: &'static str,
    message: impl Into<Vec<u8>>,
) -> Trick {
    Trick {
        name,
        why,
        outgoing: Some(rule),
        incoming: Some(rule),
        message: message.into(),
    }
}
