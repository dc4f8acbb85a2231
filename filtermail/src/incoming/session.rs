//! Port 25 as a milter session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use chatmail::Domain;

use super::{Message, Passed, Policy, Refusal};
use crate::metrics::MessageEnd;
use crate::report::{Report, Reporter};
use crate::session::{Answer, Outcome, Session, out_of_order};

/// One SMTP connection on port 25.
#[derive(Debug)]
pub struct Incoming {
    policy: Arc<Policy>,
    reporter: Arc<Reporter>,
    client: Option<IpAddr>,
    message: Option<Message>,
    /// When the message began.
    began: Instant,
}

impl Incoming {
    /// A connection without a message yet.
    pub fn new(policy: Arc<Policy>, reporter: Arc<Reporter>) -> Self {
        Self {
            policy,
            reporter,
            client: None,
            message: None,
            began: Instant::now(),
        }
    }
}

impl Incoming {
    /// Tells mxdeliv-bridge of mail that has proved its domain. That is the last rule, so there is none that is
    /// refused after it.
    fn report(&self, peer: Option<Domain>) {
        if let Some(domain) = peer {
            self.reporter.send(&Report {
                domain,
                accepted: true,
                took: self.began.elapsed(),
            });
        }
    }
}

impl Session for Incoming {
    fn connected(&mut self, client: Option<IpAddr>) {
        self.client = client;
    }

    fn mail(&mut self, sender: &[u8], _login: Option<&[u8]>) {
        self.message = Some(Message::new(self.policy.clone(), self.client, sender));
        self.began = Instant::now();
    }

    async fn recipient(&mut self, recipient: &[u8]) -> Answer {
        let Some(message) = &mut self.message else {
            return Answer::Refuse(out_of_order());
        };
        match message.recipient(recipient).await {
            Ok(()) => Answer::Continue,
            Err(refusal) => Answer::Refuse(refusal.reply()),
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        if let Some(message) = &mut self.message {
            message.header(name, value);
        }
    }

    fn end_of_headers(&mut self) {
        if let Some(message) = &mut self.message {
            message.end_of_headers();
        }
    }

    fn body(&mut self, chunk: &[u8]) {
        if let Some(message) = &mut self.message {
            message.body(chunk);
        }
    }

    async fn end_of_message(&mut self, queue_id: &str) -> Outcome {
        let Some(message) = self.message.take() else {
            return Outcome::Refuse(out_of_order());
        };
        let judged = message.finish().await;
        log(Some(queue_id), &judged);
        match judged {
            Ok(passed) => {
                self.report(passed.peer);
                Outcome::Accept(passed.edits)
            }
            Err(refusal) => Outcome::Refuse(refusal.reply()),
        }
    }

    fn abort(&mut self) {
        self.message = None;
    }
}

/// Logs what became of a message, by its queue id if it has one. The texts are what operators' mtail
/// programs count; no addresses in them.
pub fn log(queue_id: Option<&str>, judged: &Result<Passed, Refusal>) {
    match judged {
        Ok(Passed {
            end: MessageEnd::Encrypted | MessageEnd::Securejoin,
            ..
        }) => tracing::info!(queue_id, "Incoming: Filtering encrypted mail."),
        Ok(_) => tracing::info!(queue_id, "Incoming: Filtering unencrypted mail."),
        Err(Refusal::Unencrypted(rule)) => {
            tracing::info!(queue_id, "Incoming: Filtering unencrypted mail.");
            tracing::info!(queue_id, rule, "Rejected unencrypted mail.");
        }
        Err(refusal) => tracing::info!(queue_id, rule = refusal.rule(), "Rejected mail."),
    }
}
