//! What doveauth counts, for `/metrics`.

use chatmail::accounts::Refusal;
use chatmail::blocks::{BlockList, BlocksError, Counts};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The counters. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    created: Counter,
    deliveries: Counter,
    blocked: Counter,
    block_list_readings: Family<ReadingLabels, Counter>,
    block_list_entries: Family<EntryLabels, Gauge>,
    pushes: Family<PushLabels, Counter>,
    pending_pushes: Gauge,
    removed_tokens: Counter,
}

/// Which dict was asked, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    dict: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadingLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EntryLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PushLabels {
    outcome: &'static str,
}

/// What came of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The server has it.
    Sent,
    /// The server says that the token is of no use any more.
    Gone,
    /// It has not been sent this time.
    Failed,
    /// It is not tried any more.
    Dropped,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is an answer, or the change is made.
    Done,
    /// There is no such account or key.
    NotFound,
    /// Something is out of order.
    Failed,
}

impl Outcome {
    /// The outcome of a lookup.
    pub fn of<T, E>(result: &Result<Option<T>, E>) -> Self {
        match result {
            Ok(Some(_)) => Self::Done,
            Ok(None) => Self::NotFound,
            Err(_) => Self::Failed,
        }
    }
}

impl Metrics {
    /// All counters under their names.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("doveauth");
        let requests = "Requests by dict and outcome (done, not_found, failed)";
        registry.register("requests", requests, self.requests.clone());
        registry.register(
            "refusals",
            "Logins refused by doveauth",
            self.refusals.clone(),
        );
        registry.register("created_accounts", "Accounts created", self.created.clone());
        registry.register(
            "deliveries",
            "Messages whose delivery the push script has told of",
            self.deliveries.clone(),
        );
        registry.register(
            "blocked",
            "Questions that the block list answered with yes",
            self.blocked.clone(),
        );
        registry.register(
            "block_list_readings",
            "Times that the block list was read, by outcome (done, failed)",
            self.block_list_readings.clone(),
        );
        registry.register(
            "block_list_entries",
            "Entries of the block list when it was last read, by kind",
            self.block_list_entries.clone(),
        );
        registry.register(
            "pushes",
            "Notifications by outcome: sent, gone (the token is of no use), failed (each time it is tried), dropped",
            self.pushes.clone(),
        );
        registry.register(
            "pending_pushes",
            "Notifications that are to be sent, now or later",
            self.pending_pushes.clone(),
        );
        registry.register(
            "removed_tokens",
            "Device tokens removed since the notification server does not know them any more",
            self.removed_tokens.clone(),
        );
        registry
    }

    /// Counts a request to a dict.
    pub fn count(&self, dict: &'static str, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Done => "done",
            Outcome::NotFound => "not_found",
            Outcome::Failed => "failed",
        };
        self.requests
            .get_or_create(&RequestLabels { dict, outcome })
            .inc();
    }

    /// Counts a refused login.
    pub fn count_refusal(&self, refusal: Refusal) {
        self.refusals
            .get_or_create(&RefusalLabels {
                reason: refusal.to_string(),
            })
            .inc();
    }

    /// Counts a client or sender that the block list names.
    pub fn count_blocked(&self) {
        self.blocked.inc();
    }

    /// Counts messages that were delivered.
    pub fn count_deliveries(&self, count: u64) {
        self.deliveries.inc_by(count);
    }

    /// Counts a reading of the block list, and takes note of how long it is.
    pub fn count_block_list(&self, read: Result<&BlockList, &BlocksError>) {
        let outcome = if read.is_ok() { "done" } else { "failed" };
        let labels = ReadingLabels { outcome };
        self.block_list_readings.get_or_create(&labels).inc();
        let Ok(list) = read else {
            return;
        };
        let Counts {
            addresses,
            domains,
            networks,
        } = list.counts();
        for (kind, count) in [
            ("address", addresses),
            ("domain", domains),
            ("network", networks),
        ] {
            let entries = self.block_list_entries.get_or_create(&EntryLabels { kind });
            entries.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts what came of notifications.
    pub fn count_pushes(&self, outcome: PushOutcome, count: u64) {
        let outcome = match outcome {
            PushOutcome::Sent => "sent",
            PushOutcome::Gone => "gone",
            PushOutcome::Failed => "failed",
            PushOutcome::Dropped => "dropped",
        };
        let labels = PushLabels { outcome };
        self.pushes.get_or_create(&labels).inc_by(count);
    }

    /// Takes note of how many notifications are to be sent.
    pub fn set_pending_pushes(&self, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.pending_pushes.set(count);
    }

    /// Counts a device token that is of no use any more.
    pub fn count_removed_token(&self) {
        self.removed_tokens.inc();
    }

    /// Counts a new account.
    pub fn count_created(&self) {
        self.created.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_their_names() {
        let metrics = Metrics::default();
        let registry = metrics.registry();
        metrics.count("passdb", Outcome::of(&Ok::<_, ()>(Some(()))));
        metrics.count("userdb", Outcome::of(&Ok::<Option<()>, ()>(None)));
        metrics.count("policy", Outcome::of(&Err::<Option<()>, _>(())));
        metrics.count_refusal(Refusal::PasswordTooShort);
        metrics.count_created();
        metrics.count_blocked();
        let list = ["x.org", "y.org", "192.0.2.1"].map(|entry| entry.parse().unwrap());
        metrics.count_block_list(Ok(&list.into_iter().collect()));
        metrics.count_block_list(Err(&BlocksError::Worker));
        metrics.count_pushes(PushOutcome::Sent, 1);
        metrics.count_pushes(PushOutcome::Gone, 1);
        metrics.count_pushes(PushOutcome::Failed, 2);
        metrics.count_pushes(PushOutcome::Dropped, 0);
        metrics.set_pending_pushes(7);
        metrics.count_removed_token();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "doveauth_requests_total{dict=\"passdb\",outcome=\"done\"} 1\n",
            "doveauth_requests_total{dict=\"userdb\",outcome=\"not_found\"} 1\n",
            "doveauth_requests_total{dict=\"policy\",outcome=\"failed\"} 1\n",
            "doveauth_refusals_total{reason=\"password too short\"} 1\n",
            "doveauth_created_accounts_total 1\n",
            "doveauth_blocked_total 1\n",
            "doveauth_block_list_readings_total{outcome=\"done\"} 1\n",
            "doveauth_block_list_readings_total{outcome=\"failed\"} 1\n",
            "doveauth_block_list_entries{kind=\"address\"} 0\n",
            "doveauth_block_list_entries{kind=\"domain\"} 2\n",
            "doveauth_block_list_entries{kind=\"network\"} 1\n",
            "doveauth_pushes_total{outcome=\"sent\"} 1\n",
            "doveauth_pushes_total{outcome=\"gone\"} 1\n",
            "doveauth_pushes_total{outcome=\"failed\"} 2\n",
            "doveauth_pushes_total{outcome=\"dropped\"} 0\n",
            "doveauth_pending_pushes 7\n",
            "doveauth_removed_tokens_total 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
