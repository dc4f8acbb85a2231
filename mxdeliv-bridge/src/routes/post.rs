//! A message's way through the endpoints of its domain.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chatmail::Domain;
use chatmail::dns::{Dns, DnsFailure};
use tokio::time::Instant;

use super::clock::{Clock, Moment};
use super::endpoint::{Endpoint, Override};
use super::https::Https;
use super::knowledge::{Change, Knowledge};
use super::metrics::Metrics;
use super::request::{Request, Step};
use super::store::Store;
use super::{Limits, NotTaken, Post};
use crate::statistics::{Attempt, Direction, Statistics, Transport};

/// The most MX hosts that are tried; further ones are for SMTP.
const MX_MAX: usize = 4;

/// How long "this domain takes no mail" is remembered.
const NO_MAIL: Duration = Duration::from_secs(5 * 60);

/// How long a domain that DNS cannot tell about goes by SMTP.
const NO_ANSWER: Duration = Duration::from_secs(30);

/// What all clones of `Routes` share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) statistics: Statistics,
    pub(super) dns: Dns,
    pub(super) clock: Clock,
    pub(super) knowledge: Arc<Mutex<Knowledge>>,
    pub(super) store: Store,
    pub(super) https: Https,
    pub(super) metrics: Metrics,
    pub(super) limits: Limits,
    /// The domains that connections are being made for.
    pub(super) preparing: Mutex<HashSet<Domain>>,
}

impl Shared {
    pub(super) fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        // It is whole between any two of its calls.
        self.knowledge
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and has that written down.
    pub(super) fn change(&self, change: impl FnOnce(&mut Knowledge, Moment) -> Vec<Change>) {
        let now = self.clock.now();
        let changes = change(&mut self.knowledge(), now);
        self.store.write(changes);
    }

    /// The endpoints of a domain in the order of trying, by the operator's decision or DNS; none when the
    /// operator wants SMTP. What was remembered is as good while DNS does not answer.
    pub(super) async fn endpoints(&self, domain: &Domain) -> Result<Vec<Endpoint>, DnsFailure> {
        match self.knowledge().decision(domain) {
            Some(Override::Smtp) => return Ok(Vec::new()),
            Some(Override::Endpoint(endpoint)) => return Ok(vec![endpoint.clone()]),
            None => {}
        }
        match self.dns.mail_hosts(domain).await {
            Ok(mut hosts) => {
                hosts.truncate(MX_MAX);
                if !hosts.contains(domain) {
                    hosts.push(domain.clone());
                }
                self.change(|knowledge, now| knowledge.resolved(domain, hosts, now));
            }
            Err(failure) => {
                let remembered = self.knowledge().endpoints_of(domain);
                if failure.is_permanent() || remembered.is_empty() {
                    let time = if failure.is_permanent() {
                        NO_MAIL
                    } else {
                        NO_ANSWER
                    };
                    self.change(|knowledge, now| knowledge.unresolved(domain, time, now));
                    return Err(failure);
                }
            }
        }
        Ok(self.knowledge().endpoints_of(domain))
    }

    pub(super) async fn post(&self, domain: &Domain, post: &Post) -> Result<(), NotTaken> {
        let deadline = Instant::now() + self.limits.total;
        let now = self.clock.now();
        if self.knowledge().is_unresolved(domain, now) {
            return Err(NotTaken("DNS had no endpoint of it a moment ago".into()));
        }
        let endpoints = self.endpoints(domain).await;
        let endpoints = endpoints.map_err(|failure| NotTaken(failure.to_string()))?;
        if endpoints.is_empty() {
            return Err(NotTaken("the operator wants SMTP for it".into()));
        }
        let began = Instant::now();
        // Why the last request has failed.
        let mut failed = None;
        let mut not_tried = "no endpoint is to be tried now";
        // One that was closed may cost time. It is enough that a message bears that once.
        let mut may_try = true;
        for endpoint in &endpoints {
            if Instant::now() >= deadline {
                break;
            }
            if self.is_too_large(endpoint, post) {
                not_tried = "the peer refuses messages of this size";
                break;
            }
            let Some(request) = Request::begin(self, domain, endpoint, may_try) else {
                continue;
            };
            may_try &= !request.is_trial();
            match request.run(post, deadline).await {
                Step::Taken => {
                    self.change(|knowledge, _| knowledge.answered(domain, &endpoint.host));
                    self.record(domain, Ok(()), began);
                    return Ok(());
                }
                Step::Next(why) => failed = Some(why),
                Step::Stop(why) => {
                    failed = Some(why);
                    break;
                }
            }
        }
        let Some(why) = failed else {
            return Err(NotTaken(not_tried.into()));
        };
        self.record(domain, Err(why.clone()), began);
        Err(NotTaken(why))
    }

    fn is_too_large(&self, endpoint: &Endpoint, post: &Post) -> bool {
        let now = self.clock.now();
        let size = post.message.len();
        self.knowledge().is_too_large(endpoint, size, now)
    }

    fn record(&self, domain: &Domain, outcome: Result<(), String>, began: Instant) {
        self.statistics.record(Attempt {
            peer: domain.clone(),
            direction: Direction::Outbound,
            transport: Transport::Mxdeliv,
            outcome,
            took: began.elapsed(),
        });
    }
}
