//! What the inbound side counts.

use axum::http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::budget::Budget;

/// The counters. A clone counts into the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    /// Octets of messages that were read.
    pub(super) octets: Counter,
    /// Messages that had been delivered before.
    pub(super) duplicates: Counter,
    /// Recipients handed to Postfix since they failed and others did not.
    pub(super) returned: Counter,
    /// Recipients that failed and that nobody is told of, since there is no sender.
    pub(super) dropped: Counter,
}

impl Metrics {
    /// Names the counters for whoever scrapes them, and the room that is taken in a budget.
    pub(super) fn register(&self, budget: &Budget, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("mxdeliv_inbound");
        registry.register(
            "requests",
            "Requests by the status of their answer",
            self.requests.clone(),
        );
        registry.register(
            "octets",
            "Octets of messages that were read",
            self.octets.clone(),
        );
        registry.register(
            "duplicates",
            "Messages that came again after they had been delivered",
            self.duplicates.clone(),
        );
        registry.register(
            "recipients_returned",
            "Recipients handed to Postfix because they failed and others did not",
            self.returned.clone(),
        );
        registry.register(
            "recipients_dropped",
            "Recipients that failed for good in messages from the null sender",
            self.dropped.clone(),
        );
        registry.register_collector(Box::new(BudgetInUse(budget.clone())));
    }

    /// Counts an answer.
    pub(super) fn answered(&self, status: StatusCode) {
        let status = u32::from(status.as_u16());
        self.requests.get_or_create(&RequestLabels { status }).inc();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    status: u32,
}

/// Asks the budget when somebody scrapes.
#[derive(Debug)]
struct BudgetInUse(Budget);

impl Collector for BudgetInUse {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let octets = i64::try_from(self.0.in_use()).unwrap_or(i64::MAX);
        let help = "Octets of memory reserved for messages";
        let encoder =
            encoder.encode_descriptor("reserved_octets", help, None, MetricType::Gauge)?;
        ConstGauge::new(octets).encode(encoder)
    }
}
