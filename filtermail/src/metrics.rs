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
    messages: Family<MessageLabels, Counter>,
    rate_limited: Family<RateLimitLabels, Counter>,
    /// Open milter connections, each of which is one SMTP connection.
    pub sessions: Gauge,
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
    /// It was refused.
    Refused,
}

impl Metrics {
    /// Names the counters for whoever scrapes them.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("filtermail");
        registry.register(
            "messages",
            "Complete messages by verdict, and by rule when they broke one",
            self.messages.clone(),
        );
        registry.register(
            "rate_limited",
            "Recipients refused because their sender exceeded a limit",
            self.rate_limited.clone(),
        );
        registry.register("sessions", "Open milter connections", self.sessions.clone());
    }

    /// Counts a complete message; `rule` names what it broke, else it is empty.
    pub fn message(&self, end: MessageEnd, rule: String) {
        let verdict = match end {
            MessageEnd::Encrypted => "encrypted",
            MessageEnd::Securejoin => "securejoin",
            MessageEnd::Passthrough => "passthrough",
            MessageEnd::Refused => "refused",
        };
        self.messages
            .get_or_create(&MessageLabels { verdict, rule })
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    verdict: &'static str,
    rule: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RateLimitLabels {
    limit: &'static str,
}
