//! What is counted of mail to peers.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::budget::Budget;

/// The counters. Clones count into the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    recipients: Family<RecipientLabels, Counter>,
    transactions: Gauge,
}

/// What became of a message for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The peer took it over HTTPS.
    Mxdeliv,
    /// Postfix took it, to send it by SMTP.
    Smtp,
    /// Postfix refused it, for good or for now.
    Refused,
    /// Nobody took it; Postfix will try again.
    Nobody,
}

impl Metrics {
    /// Names the counters for whoever scrapes them, and the memory that the budget has left.
    pub(super) fn register(&self, registry: &mut Registry, budget: &Budget) {
        let registry = registry.sub_registry_with_prefix("mxdeliv_outbound");
        registry.register(
            "recipients",
            "Recipients of mail for peers by way, and by reason when it was not mxdeliv",
            self.recipients.clone(),
        );
        registry.register(
            "transactions",
            "Messages that are under way",
            self.transactions.clone(),
        );
        let budget = budget.clone();
        registry.register_collector(Box::new(Memory { budget }));
    }

    /// Counts recipients; `reason` is why their message was not posted, or was and not taken.
    pub(super) fn recipients(&self, way: Way, reason: &'static str, count: usize) {
        let way = match way {
            Way::Mxdeliv => "mxdeliv",
            Way::Smtp => "smtp",
            Way::Refused => "refused",
            Way::Nobody => "nobody",
        };
        let labels = RecipientLabels { way, reason };
        self.recipients.get_or_create(&labels).inc_by(count as u64);
    }

    /// Counts a message as under way until what is returned is dropped.
    pub(super) fn under_way(&self) -> UnderWay {
        self.transactions.inc();
        UnderWay(self.transactions.clone())
    }
}

/// A message that is under way.
#[derive(Debug)]
pub(super) struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RecipientLabels {
    way: &'static str,
    reason: &'static str,
}

/// The budget, looked at when somebody scrapes.
#[derive(Debug)]
struct Memory {
    budget: Budget,
}

impl Collector for Memory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let held = ConstGauge::new(i64::try_from(self.budget.in_use()).unwrap_or(i64::MAX));
        let what = "Octets of mxdeliv_memory that messages take";
        let encoder = encoder.encode_descriptor("memory", what, None, held.metric_type())?;
        held.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_counts_for_itself() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry, &Budget::new(8192));
        metrics.recipients(Way::Mxdeliv, "", 3);
        metrics.recipients(Way::Smtp, "dot-line", 1);
        let under_way = metrics.under_way();
        drop(metrics.under_way());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "recipients_total{way=\"mxdeliv\",reason=\"\"} 3",
            "recipients_total{way=\"smtp\",reason=\"dot-line\"} 1",
            "transactions 1",
            "memory 0",
        ] {
            assert!(
                text.contains(&format!("mxdeliv_outbound_{line}\n")),
                "{text}"
            );
        }
        drop(under_way);
    }
}
