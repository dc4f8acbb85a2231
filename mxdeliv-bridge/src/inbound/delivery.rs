//! Where a message goes that has passed: to Dovecot, and for those who cannot have it, to Postfix.
//!
//! HTTP has one answer for all recipients. When some have the message and others cannot, the answer is
//! 200, and Postfix gets the message for the others: it asks again at the return door
//! (`returns`), tries again or tells the sender.

use std::time::Duration;

use chatmail::Reply;
use chatmail::config::Config;
use chatmail::log_limit::LogLimit;
use chatmail::smtp::{
    BodyType, ClientName, MailParameters, Path, Protocol, RecipientParameters, ServerReply,
};

use super::answer::Failure;
use super::content::Held;
use super::duplicates::Claim;
use super::metrics::Metrics;
use crate::envelope::{Envelope, Recipient};
use crate::mail_client::{DeliveryError, MailClient, Server};

/// How long Dovecot or Postfix may take. Longer than anybody waits for an answer: what has begun goes on,
/// and the peer that sends again gets its outcome.
const DELIVERY_TIME: Duration = Duration::from_secs(60);

/// Knows Dovecot and Postfix.
#[derive(Debug)]
pub(super) struct Delivery {
    dovecot: MailClient,
    postfix: MailClient,
    metrics: Metrics,
    complaints: LogLimit,
}

/// A message that has passed.
#[derive(Debug)]
pub(super) struct Passed {
    /// The envelope sender, which may no longer be the one that was posted.
    pub(super) sender: Path,
    /// All recipients, and what the rules say of each.
    pub(super) recipients: Vec<(Path, Result<(), Reply>)>,
    pub(super) message: Held,
    pub(super) claim: Claim,
}

/// What became of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing yet.
    Open,
    /// It has the message, or Postfix has it for this recipient.
    Done,
    Failed(Reply),
}

impl Delivery {
    /// Dovecot and Postfix as the configuration names them; connects when there is something to deliver.
    pub(super) fn new(config: &Config, metrics: Metrics) -> Self {
        let name = || ClientName::from(&config.mail_domain);
        let postfix = Server::Tcp(config.postfix_return);
        Self {
            dovecot: dovecot(config),
            postfix: MailClient::new(postfix, Protocol::Smtp, name()),
            metrics,
            complaints: LogLimit::new(),
        }
    }

    /// Delivers a message to each recipient that does not have it yet; `Ok` when all have it or Postfix
    /// sees to them. Once begun, it must not be dropped.
    pub(super) async fn deliver(&self, passed: Passed) -> Result<(), Failure> {
        let Passed {
            sender,
            recipients,
            message,
            claim,
        } = passed;
        let (paths, judged): (Vec<Path>, Vec<_>) = recipients.into_iter().unzip();
        let judged = judged.into_iter().enumerate();
        let outcomes = judged.map(|(at, judged)| match judged {
            _ if claim.has(at) => Outcome::Done,
            Ok(()) => Outcome::Open,
            Err(reply) => Outcome::Failed(reply),
        });
        let mut outcomes: Vec<Outcome> = outcomes.collect();
        self.to_dovecot(&sender, &paths, &mut outcomes, message.octets())
            .await?;
        if !outcomes.contains(&Outcome::Done) {
            let replies = outcomes.into_iter().filter_map(Outcome::into_failure);
            return Err(Failure::of_recipients(&replies.collect::<Vec<_>>()));
        }
        self.to_postfix(&sender, &paths, &mut outcomes, message.octets())
            .await;
        let has = outcomes.iter().map(|outcome| *outcome == Outcome::Done);
        let has: Vec<bool> = has.collect();
        claim.remember(&has);
        if has.iter().all(|&has| has) {
            Ok(())
        } else {
            Err(Failure::unavailable())
        }
    }

    /// Delivers to those who are open.
    async fn to_dovecot(
        &self,
        sender: &Path,
        recipients: &[Path],
        outcomes: &mut [Outcome],
        message: &[u8],
    ) -> Result<(), Failure> {
        let open = |outcome: &Outcome| *outcome == Outcome::Open;
        let replies = self
            .deliver_to(&self.dovecot, sender, recipients, outcomes, open, message)
            .await;
        let replies = replies.map_err(|error| {
            self.complain("Dovecot", &error);
            Failure::unavailable()
        })?;
        let open = outcomes.iter_mut().filter(|outcome| open(outcome));
        for (outcome, reply) in open.zip(replies) {
            *outcome = if reply.is_positive() {
                Outcome::Done
            } else {
                Outcome::Failed(reply.to_reply())
            };
        }
        Ok(())
    }

    /// Hands over for those who failed. What Postfix does not take stays failed.
    async fn to_postfix(
        &self,
        sender: &Path,
        recipients: &[Path],
        outcomes: &mut [Outcome],
        message: &[u8],
    ) {
        if sender.is_null() {
            self.drop_lasting_failures(outcomes);
        }
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
        let replies = self
            .deliver_to(&self.postfix, sender, recipients, outcomes, failed, message)
            .await;
        let replies = match replies {
            Ok(replies) => replies,
            Err(error) => return self.complain("Postfix", &error),
        };
        let failed = outcomes.iter_mut().filter(|outcome| failed(outcome));
        for (outcome, reply) in failed.zip(replies) {
            if reply.is_positive() {
                self.metrics.returned.inc();
                *outcome = Outcome::Done;
            } else if let Some(suppressed) = self.complaints.allow() {
                let code = reply.code;
                tracing::error!(suppressed, "Postfix does not take mail back: {code}");
            }
        }
    }

    /// Nobody is there to be told (RFC 5321 section 4.5.5).
    fn drop_lasting_failures(&self, outcomes: &mut [Outcome]) {
        for outcome in outcomes {
            if matches!(outcome, Outcome::Failed(reply) if !reply.is_temporary()) {
                self.metrics.dropped.inc();
                *outcome = Outcome::Done;
            }
        }
    }

    /// Delivers to those with a `wanted` outcome; their replies in order. Does nothing for nobody.
    async fn deliver_to(
        &self,
        server: &MailClient,
        sender: &Path,
        recipients: &[Path],
        outcomes: &[Outcome],
        wanted: impl Fn(&Outcome) -> bool,
        message: &[u8],
    ) -> Result<Vec<ServerReply>, DeliveryError> {
        let pairs = recipients.iter().zip(outcomes);
        let chosen = pairs.filter(|(_, outcome)| wanted(outcome));
        let chosen = chosen.map(|(path, _)| Recipient {
            path: path.clone(),
            parameters: RecipientParameters::default(),
        });
        let recipients: Vec<Recipient> = chosen.collect();
        if recipients.is_empty() {
            return Ok(Vec::new());
        }
        let eight_bit = (!message.is_ascii()).then_some(BodyType::EightBitMime);
        let envelope = Envelope {
            sender: sender.clone(),
            parameters: MailParameters {
                body: eight_bit,
                ..MailParameters::default()
            },
            recipients,
        };
        server.deliver(&envelope, message, DELIVERY_TIME).await
    }

    fn complain(&self, who: &str, error: &DeliveryError) {
        if let Some(suppressed) = self.complaints.allow() {
            tracing::error!(suppressed, "{who} takes no mail: {error}");
        }
    }
}

impl Outcome {
    fn into_failure(self) -> Option<Reply> {
        match self {
            Self::Failed(reply) => Some(reply),
            Self::Open | Self::Done => None,
        }
    }
}

/// A client of Dovecot's LMTP server.
pub(super) fn dovecot(config: &Config) -> MailClient {
    let server = Server::Unix(config.dovecot_lmtp_socket.clone());
    MailClient::new(
        server,
        Protocol::Lmtp,
        ClientName::from(&config.mail_domain),
    )
}
