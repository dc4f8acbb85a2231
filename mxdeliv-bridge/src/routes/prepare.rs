//! Connections made ahead of messages: Postfix asks for the way when it hears of a recipient, before
//! the message comes.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chatmail::Domain;
use tokio::time::timeout;

use super::endpoint::Override;
use super::https::Failure;
use super::known::{Connect, Lesson, Trial};
use super::post::Shared;
use crate::statistics::Transport;

/// A connection that was in use this lately is still there.
const RECENTLY: Duration = Duration::from_secs(50);

/// Domains that connections are made for at a time. Messages for further ones connect for themselves.
const PREPARING_MAX: usize = 64;

/// Begins to connect to a domain's endpoint, unless that is under way or not needed. Must be called
/// within a tokio runtime.
pub(super) fn prepare(shared: &Arc<Shared>, domain: &Domain) {
    if is_prepared(shared, domain) {
        return;
    }
    if let Some(preparation) = Preparation::begin(shared, domain) {
        tokio::spawn(async move {
            // Without an end in sight others are to have the place.
            let _ = timeout(preparation.shared.limits.total, preparation.run()).await;
        });
    }
}

/// Whether there is nothing to connect to, or a connection is there.
fn is_prepared(shared: &Shared, domain: &Domain) -> bool {
    let now = shared.clock.now();
    let mut knowledge = shared.knowledge();
    if knowledge.transport(domain, now) == Transport::Smtp {
        return true;
    }
    let endpoints = match knowledge.decision(domain) {
        Some(Override::Endpoint(endpoint)) => vec![endpoint.clone()],
        _ => knowledge.endpoints_of(domain),
    };
    let wishes = endpoints.iter();
    let mut wishes = wishes.map(|endpoint| knowledge.wants_connection(endpoint, RECENTLY, now));
    wishes.find(|wish| *wish != Connect::Closed) == Some(Connect::There)
}

/// The one preparation for a domain that is under way.
struct Preparation {
    shared: Arc<Shared>,
    domain: Domain,
}

impl Preparation {
    fn begin(shared: &Arc<Shared>, domain: &Domain) -> Option<Self> {
        let preparing = shared.preparing.lock();
        let mut preparing = preparing.unwrap_or_else(PoisonError::into_inner);
        if preparing.len() >= PREPARING_MAX || !preparing.insert(domain.clone()) {
            return None;
        }
        Some(Self {
            shared: shared.clone(),
            domain: domain.clone(),
        })
    }

    /// Connects to the first endpoint that can be connected to. Those that cannot are remembered; what
    /// the others answer teaches nothing, since nothing is posted.
    async fn run(&self) {
        let (shared, domain) = (&self.shared, &self.domain);
        let endpoints = shared.endpoints(domain).await.unwrap_or_default();
        for endpoint in &endpoints {
            let began = shared.clock.now();
            match shared
                .knowledge()
                .wants_connection(endpoint, RECENTLY, began)
            {
                Connect::There => return,
                Connect::Closed => continue,
                Connect::Yes => {}
            }
            match shared.https.connect(endpoint).await {
                Ok(()) => {
                    return shared.change(|knowledge, now| knowledge.connected(endpoint, now));
                }
                Err(Failure::Connect(why)) => {
                    shared.learn(
                        domain,
                        endpoint,
                        Lesson::Unreachable,
                        Trial::No,
                        began,
                        &why,
                    );
                }
                Err(Failure::Dns(_)) => {}
                Err(Failure::Broken(_) | Failure::Unsayable) => return,
            }
        }
    }
}

impl Drop for Preparation {
    fn drop(&mut self) {
        let preparing = self.shared.preparing.lock();
        preparing
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.domain);
    }
}
