//! What filtermail counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::rate_limit::Limit;

/// The daemon's counters. A clone counts into the same ones.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    door: Door,
    messages: Family<MessageLabels, Counter>,
    rate_limited: Family<RateLimitLabels, Counter>,
    recipients_refused: Family<RecipientLabels, Counter>,
    sessions: Family<DoorLabels, Gauge>,
}

/// Where a message comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Door {
    /// Submission.
    #[default]
    Outgoing,
    /// Port 25.
    Incoming,
    /// Postfix itself.
    Bounce,
    /// `POST /mxdeliv`.
    Mxdeliv,
    /// Postfix, with what came by [`Door::Mxdeliv`] and could not be delivered to everybody.
    Return,
}

/// How a complete message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageEnd {
    /// It passed as encrypted.
    Encrypted,
    /// It passed as a securejoin request.
    Securejoin,
    /// It passed although it is cleartext, since the operator lets it.
    Passthrough,
    /// It passed as a delivery report.
    DeliveryReport,
    /// It passed although it is cleartext, since its recipients take that.
    Cleartext,
    /// It was refused.
    Refused,
}

impl Metrics {
    /// The same counters for what comes in by another door.
    pub fn at(&self, door: Door) -> Self {
        Self {
            door,
            ..self.clone()
        }
    }

    /// Names the counters for whoever scrapes them.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("filtermail");
        registry.register(
            "messages",
            "Complete messages by direction and verdict, and by rule when they broke one",
            self.messages.clone(),
        );
        registry.register(
            "rate_limited",
            "Recipients refused because their sender exceeded a limit",
            self.rate_limited.clone(),
        );
        registry.register(
            "recipients_refused",
            "Recipients of mail from outside that were refused",
            self.recipients_refused.clone(),
        );
        registry.register("sessions", "Open milter connections", self.sessions.clone());
    }

    /// Counts a complete message; `rule` names what it broke, else it is empty.
    pub fn message(&self, end: MessageEnd, rule: String) {
        let verdict = match end {
            MessageEnd::Encrypted => "encrypted",
            MessageEnd::Securejoin => "securejoin",
            MessageEnd::Passthrough => "passthrough",
            MessageEnd::DeliveryReport => "delivery-report",
            MessageEnd::Cleartext => "cleartext",
            MessageEnd::Refused => "refused",
        };
        self.messages
            .get_or_create(&MessageLabels {
                direction: self.door.name(),
                verdict,
                rule,
            })
            .inc();
    }

    /// Open milter connections, each of which is one SMTP connection.
    pub fn sessions(&self) -> Gauge {
        let direction = self.door.name();
        self.sessions.get_or_create_owned(&DoorLabels { direction })
    }

    /// Counts a recipient of mail from outside that was refused, by the name of the reason.
    pub fn recipient_refused(&self, reason: &'static str) {
        self.recipients_refused
            .get_or_create(&RecipientLabels { reason })
            .inc();
    }

    /// Counts a recipient refused for exceeding a limit.
    pub fn rate_limited(&self, limit: Limit) {
        let limit = match limit {
            Limit::Messages => "messages",
            Limit::Recipients => "recipients",
        };
        self.rate_limited
            .get_or_create(&RateLimitLabels { limit })
            .inc();
    }
}

impl Door {
    fn name(self) -> &'static str {
        match self {
            Self::Outgoing => "outgoing",
            Self::Incoming => "incoming",
            Self::Bounce => "bounce",
            Self::Mxdeliv => "mxdeliv",
            Self::Return => "return",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabels {
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RecipientLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    direction: &'static str,
    verdict: &'static str,
    rule: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RateLimitLabels {
    limit: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_counts_for_itself() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let incoming = metrics.at(Door::Incoming);
        metrics.message(MessageEnd::Encrypted, String::new());
        incoming.message(MessageEnd::Refused, "dkim-missing".to_owned());
        incoming.message(MessageEnd::Refused, "dkim-missing".to_owned());
        incoming.recipient_refused("unknown");
        incoming.sessions().inc();

        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "messages_total{direction=\"outgoing\",verdict=\"encrypted\",rule=\"\"} 1",
            "messages_total{direction=\"incoming\",verdict=\"refused\",rule=\"dkim-missing\"} 2",
            "recipients_refused_total{reason=\"unknown\"} 1",
            "sessions{direction=\"incoming\"} 1",
        ] {
            assert!(text.contains(&format!("filtermail_{line}\n")), "{text}");
        }
    }
}
