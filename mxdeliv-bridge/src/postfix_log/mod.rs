//! Follows Postfix's log, to learn how mail to peers fares over SMTP.
//!
//! Only Postfix knows: it connects, and sends for longer than we hold a message. Its smtp(8) client logs a
//! line for each recipient, with what it has spent on the connection and on the message. Recipients of one
//! message at one peer count as one attempt, as a post to it does. From each line the peer's domain,
//! the time and the outcome are kept, and nothing else; what the peer said loses its addresses first.
//!
//! The log is followed from its end: what was logged while the daemon was away is not counted.

mod follower;
mod line;

use std::collections::HashMap;

use chatmail::log_limit::LogLimit;
use chatmail::{Config, Domain};
use tokio::time::{MissedTickBehavior, interval};

use crate::daemon::{Serving, Stop, stopped};
use crate::statistics::{Attempt, Direction, Statistics, Transport};
use follower::{Follower, Progress};
use line::Delivery;

/// How often there is a look at the log.
const INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// smtp(8) processes that are told apart at a time; more than Postfix has.
const PROCESSES_MAX: usize = 4096;

/// Counts what the log at `postfix_log` tells, until it is told to stop. Without that key it returns at
/// once.
pub(crate) fn follow(config: &Config, statistics: Statistics, stop: Stop) -> Serving {
    let Some(path) = config.postfix_log.clone() else {
        return Box::pin(std::future::ready(()));
    };
    let own = config.mail_domain.clone();
    // Here and not when it is first polled: what is logged from now on counts.
    let follower = Follower::new(path.clone());
    tracing::info!("following Postfix's log: {}", path.display());
    Box::pin(async move {
        tokio::select! {
            () = stopped(stop) => {}
            () = count(follower, Deliveries::default(), &own, &statistics) => {}
        }
    })
}

/// Never ends.
async fn count(
    mut follower: Follower,
    mut deliveries: Deliveries,
    own: &Domain,
    statistics: &Statistics,
) {
    let complaints = LogLimit::new();
    let mut timer = interval(INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let mut more = true;
        while more {
            let (own, statistics) = (own.clone(), statistics.clone());
            let read = tokio::task::spawn_blocking(move || {
                let read = follower.read(|line| {
                    let attempt = deliveries.attempt(line);
                    if let Some(attempt) = attempt.filter(|attempt| attempt.peer != own) {
                        statistics.record(attempt);
                    }
                });
                (follower, deliveries, read)
            });
            // The thread has panicked, which was reported; there is nothing to go on with.
            let Ok((back, known, read)) = read.await else {
                return std::future::pending().await;
            };
            (follower, deliveries) = (back, known);
            if let (Err(error), Some(suppressed)) = (&read, complaints.allow()) {
                tracing::warn!(suppressed, "cannot read Postfix's log: {error}");
            }
            more = matches!(read, Ok(Progress::More));
        }
    }
}

/// Lines on their way to attempts.
#[derive(Debug, Default)]
struct Deliveries {
    /// What each smtp(8) process logged last. It logs all recipients of a delivery in one go.
    last: HashMap<u32, Logged>,
}

/// What tells deliveries of one process apart: a message that is tried again has waited longer.
#[derive(Debug, PartialEq, Eq)]
struct Logged {
    queue_id: String,
    domain: Domain,
    delays: String,
    sent: bool,
}

impl Deliveries {
    /// The attempt that a line tells of, unless the line before it has.
    fn attempt(&mut self, line: &[u8]) -> Option<Attempt> {
        let delivery = Delivery::parse(line)?;
        let logged = Logged {
            queue_id: delivery.queue_id.to_owned(),
            domain: delivery.domain.clone(),
            delays: delivery.delays.to_owned(),
            sent: delivery.outcome.is_ok(),
        };
        if self.last.len() >= PROCESSES_MAX && !self.last.contains_key(&delivery.process) {
            self.last.clear();
        }
        let process = delivery.process;
        let attempt = Attempt {
            peer: delivery.domain,
            direction: Direction::Outbound,
            transport: Transport::Smtp,
            outcome: delivery.outcome,
            took: delivery.took,
        };
        let before = self.last.insert(process, logged);
        let is_new = before.as_ref() != self.last.get(&process);
        is_new.then_some(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(process: u32, recipient: &str, delays: &str, status: &str) -> String {
        format!(
            "Nov 20 20:28:00 mx postfix/smtp[{process}]: 4A: to=<{recipient}>, relay=none, \
             delay=1, delays={delays}, dsn=0.0.0, status={status} (why)"
        )
    }

    #[test]
    fn recipients_of_one_delivery_are_one_attempt() {
        let mut deliveries = Deliveries::default();
        let mut is_new = |line: String| deliveries.attempt(line.as_bytes()).is_some();
        assert!(is_new(line(1, "a@x.org", "0/0/1/1", "sent")));
        assert!(!is_new(line(1, "b@x.org", "0/0/1/1", "sent")));
        assert!(is_new(line(2, "b@y.org", "0/0/1/1", "sent")));
        assert!(!is_new(line(1, "c@x.org", "0/0/1/1", "sent")));
        assert!(is_new(line(1, "c@y.org", "0/0/1/1", "sent")));
        assert!(is_new(line(1, "c@y.org", "0/0/1/1", "deferred")));
        assert!(is_new(line(1, "c@y.org", "9/0/1/1", "deferred")));
    }

    #[test]
    fn processes_are_not_remembered_for_ever() {
        let mut deliveries = Deliveries::default();
        for process in 0..2 * u32::try_from(PROCESSES_MAX).unwrap() {
            let line = line(process, "a@x.org", "0/0/1/1", "sent");
            assert!(deliveries.attempt(line.as_bytes()).is_some());
        }
        assert!(deliveries.last.len() <= PROCESSES_MAX);
    }
}
