//! What is counted of peers and of posts to them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::PeerState;
use super::knowledge::Knowledge;

/// The counters. A clone counts into the same ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    posts: Family<OutcomeLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl Metrics {
    /// Counters from zero, named for whoever scrapes them.
    pub(super) fn register(registry: &mut Registry, knowledge: Arc<Mutex<Knowledge>>) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("mxdeliv");
        registry.register(
            "posts",
            "Requests to peers' endpoints by what came of them",
            metrics.posts.clone(),
        );
        registry.register_collector(Box::new(Known(knowledge)));
        metrics
    }

    /// Counts a request.
    pub(super) fn post(&self, outcome: &'static str) {
        self.posts.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}

/// Counts what is known when somebody wants to see it.
#[derive(Debug)]
struct Known(Arc<Mutex<Knowledge>>);

impl Collector for Known {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let states = [
            ("unknown", PeerState::Unknown),
            ("speaks", PeerState::Speaks),
            ("silent", PeerState::Silent),
            ("failing", PeerState::Failing),
        ];
        let (peers, counts) = {
            let knowledge = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (
                knowledge.peers(),
                states.map(|(word, state)| (word, knowledge.count(state))),
            )
        };
        let kind = MetricType::Gauge;
        let help = "Domains whose endpoints are remembered";
        let domains = encoder.encode_descriptor("domains", help, None, kind)?;
        ConstGauge::new(gauge(peers)).encode(domains)?;
        let help = "Endpoints that are remembered, by state";
        let mut endpoints = encoder.encode_descriptor("endpoints", help, None, kind)?;
        for (word, count) in counts {
            let labels = [("state", word)];
            let state = endpoints.encode_family(&labels)?;
            ConstGauge::new(gauge(count)).encode(state)?;
        }
        Ok(())
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
