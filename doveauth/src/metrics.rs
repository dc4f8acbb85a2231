//! What doveauth counts, for `/metrics`.

use chatmail::accounts::Refusal;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The counters. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    created: Counter,
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
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "doveauth_requests_total{dict=\"passdb\",outcome=\"done\"} 1\n",
            "doveauth_requests_total{dict=\"userdb\",outcome=\"not_found\"} 1\n",
            "doveauth_requests_total{dict=\"policy\",outcome=\"failed\"} 1\n",
            "doveauth_refusals_total{reason=\"password too short\"} 1\n",
            "doveauth_created_accounts_total 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
