//! What operators see of a peer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::{Direction, Transport};

/// How mail to and from a peer has fared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerFigures {
    /// The peer.
    pub domain: String,
    /// The last attempt in either direction, in seconds since 1970.
    pub last_contact: i64,
    /// By direction and transport; those that never were are left out.
    pub ways: Vec<WayFigures>,
}

/// How mail has fared in one direction over one transport.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayFigures {
    /// Which way messages go.
    pub direction: Direction,
    /// What carries them.
    pub transport: Transport,
    /// The last hour. Spans are made of five-minute buckets, of which the first may lie partly before.
    pub hour: SpanFigures,
    /// The last 24 hours.
    pub day: SpanFigures,
    /// The last 7 days.
    pub week: SpanFigures,
    /// When an attempt last succeeded, in seconds since 1970.
    pub last_success: Option<i64>,
    /// When an attempt last failed, in seconds since 1970.
    pub last_failure: Option<i64>,
    /// Why, without addresses.
    pub last_error: Option<String>,
}

/// Counts of a span. Times are of the attempts that succeeded, in milliseconds; none, when there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanFigures {
    /// All attempts.
    pub attempts: u64,
    /// Those that succeeded.
    pub successes: u64,
    /// How long they took on average.
    pub average_ms: Option<f64>,
    /// How long half of them took at most, within 10 %.
    pub p50_ms: Option<f64>,
    /// How long 95 % of them took at most, within 10 %.
    pub p95_ms: Option<f64>,
}

/// Buckets on their way into a [`SpanFigures`].
#[derive(Debug, Default)]
pub(super) struct Span {
    attempts: u64,
    micros: u64,
    times: Histogram,
}

impl Span {
    /// Adds a bucket.
    pub(super) fn add(&mut self, attempts: u64, micros: u64, times: &Histogram) {
        self.attempts = self.attempts.saturating_add(attempts);
        self.micros = self.micros.saturating_add(micros);
        self.times.merge(times);
    }

    /// What it comes to.
    pub(super) fn figures(&self) -> SpanFigures {
        let successes = self.times.count();
        let quantile = |part| self.times.quantile(part).map(milliseconds);
        let average = || self.micros as f64 / 1000.0 / successes as f64;
        SpanFigures {
            attempts: self.attempts,
            successes,
            average_ms: (successes > 0).then(|| round(average())),
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1000.0)
}

/// More digits would be noise.
fn round(milliseconds: f64) -> f64 {
    (milliseconds * 100.0).round() / 100.0
}
