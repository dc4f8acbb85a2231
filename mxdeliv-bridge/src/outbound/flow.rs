//! What becomes of a message: first posts, then SMTP for whom no post was taken.

use std::time::Duration;

use chatmail::log_limit::LogLimit;
use chatmail::smtp::{ClientName, Protocol, ServerReply};
use chatmail::{Config, Domain, Reply};
use prometheus_client::registry::Registry;
use tokio::time::{Instant, timeout};

use super::examination::{Examination, examine};
use super::lmtp::{HeldMessage, Transactions};
use super::metrics::{Metrics, Way};
use super::plan::{Batch, Plan};
use super::shares::Shares;
use crate::budget::{Budget, Exhausted, Reservation};
use crate::envelope::{Envelope, Recipient};
use crate::mail_client::{MailClient, Server};
use crate::routes::{NotTaken, Post, Routes};

/// No post of a message begins later than this after the first. [`Routes::post`] takes as long at
/// most.
const POSTS_TIME: Duration = Duration::from_secs(60);

/// How long a post may take, should it not end by itself.
const POST_TIME: Duration = Duration::from_secs(90);

/// How long Postfix may take over a message. With the posts this is well below the ten minutes that
/// its lmtp(8) waits (`lmtp_data_done_timeout`).
const FALLBACK_TIME: Duration = Duration::from_secs(300);

/// Who posts to peers.
pub trait Peers: Send + Sync + 'static {
    /// Mail for a domain is about to come.
    fn prepare(&self, domain: &Domain);

    /// Posts a message; returns once the peer has it.
    ///
    /// # Errors
    /// See [`NotTaken`].
    fn post(
        &self,
        domain: &Domain,
        post: &Post,
    ) -> impl Future<Output = Result<(), NotTaken>> + Send;
}

impl Peers for Routes {
    fn prepare(&self, domain: &Domain) {
        Self::prepare(self, domain);
    }

    async fn post(&self, domain: &Domain, post: &Post) -> Result<(), NotTaken> {
        Self::post(self, domain, post).await
    }
}

/// What a message may have over `max_message_size`. Postfix counts without the signature that it gets
/// and without the CRLFs that break over-long lines.
const GROWTH: u64 = 256 * 1024;

/// The largest message in octets that is taken from Postfix.
pub(super) fn size_max(config: &Config) -> u64 {
    config.max_message_size.bytes() + GROWTH
}

/// Mail from Postfix for peers.
#[derive(Debug)]
pub struct Outbound<P> {
    peers: P,
    /// Postfix's smtpd that sends by SMTP.
    fallback: MailClient,
    shares: Shares,
    metrics: Metrics,
    handovers: LogLimit,
    complaints: LogLimit,
}

/// Why recipients are left to SMTP.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0}")]
    NotTaken(#[from] NotTaken),
    #[error("the peer is too slow")]
    Late,
}

/// A recipient that is left to SMTP: its number and the name of the cause.
type Left = (usize, &'static str);

impl<P: Peers> Outbound<P> {
    /// Mail goes to `peers`, and else to `postfix_smtp_fallback`. Registers the counters.
    pub fn new(config: &Config, peers: P, registry: &mut Registry) -> Self {
        let memory = config.mxdeliv_memory.bytes().max(size_max(config));
        let budget = Budget::new(memory);
        let metrics = Metrics::default();
        metrics.register(registry, &budget);
        let fallback = Server::Tcp(config.postfix_smtp_fallback);
        let name = ClientName::from(&config.mail_domain);
        Self {
            peers,
            fallback: MailClient::new(fallback, Protocol::Smtp, name),
            shares: Shares::new(budget, memory),
            metrics,
            handovers: LogLimit::new(),
            complaints: LogLimit::new(),
        }
    }

    /// Posts the batches one after another; gives the recipients that are left to SMTP.
    async fn post_all(
        &self,
        plan: &Plan,
        message: &HeldMessage,
        examination: &Examination,
        replies: &mut [Option<Reply>],
    ) -> Vec<Left> {
        let began = Instant::now();
        let mut left = Vec::new();
        for batch in &plan.batches {
            let posted = if began.elapsed() < POSTS_TIME {
                self.post(plan, batch, message, examination).await
            } else {
                Err(Cause::Late)
            };
            match posted {
                Ok(()) => {
                    let count = batch.places.len();
                    self.metrics.recipients(Way::Mxdeliv, "", count);
                    settle(replies, &batch.places, &taken());
                }
                Err(cause) => {
                    self.tell(&batch.domain, &cause);
                    left.extend(batch.places.iter().map(|&place| (place, cause.name())));
                }
            }
        }
        left
    }

    async fn post(
        &self,
        plan: &Plan,
        batch: &Batch,
        message: &HeldMessage,
        examination: &Examination,
    ) -> Result<(), Cause> {
        let post = Post {
            sender: plan.sender.clone(),
            recipients: batch.addresses.clone(),
            message: message.octets().clone(),
            key: plan.key(batch, examination),
        };
        let posted = timeout(POST_TIME, self.peers.post(&batch.domain, &post)).await;
        Ok(posted.map_err(|_| Cause::Late)??)
    }

    /// Hands the message to Postfix for some of its recipients, and fills in what it says of each.
    async fn hand_over(
        &self,
        envelope: Envelope,
        message: &HeldMessage,
        left: &[Left],
        replies: &mut [Option<Reply>],
    ) {
        let recipients = left.iter();
        let recipients = recipients.filter_map(|&(place, _)| envelope.recipients.get(place));
        let envelope = Envelope {
            recipients: recipients.cloned().collect(),
            sender: envelope.sender,
            parameters: envelope.parameters,
        };
        let delivery = self
            .fallback
            .deliver(&envelope, message.octets(), FALLBACK_TIME);
        match delivery.await {
            Ok(given) => {
                for (&(place, cause), given) in left.iter().zip(given) {
                    let way = if given.is_positive() {
                        Way::Smtp
                    } else {
                        Way::Refused
                    };
                    self.metrics.recipients(way, cause, 1);
                    settle(replies, &[place], &passed_on(&given));
                }
            }
            Err(error) => {
                if let Some(suppressed) = self.complaints.allow() {
                    tracing::error!(suppressed, "mail for peers cannot go by SMTP: {error}");
                }
                for &(place, cause) in left {
                    self.metrics.recipients(Way::Nobody, cause, 1);
                    settle(replies, &[place], &nobody());
                }
            }
        }
    }

    fn tell(&self, domain: &Domain, cause: &Cause) {
        if let Some(suppressed) = self.handovers.allow() {
            tracing::info!(suppressed, "a message for {domain} goes by SMTP: {cause}");
        }
    }
}

impl<P: Peers> Transactions for Outbound<P> {
    /// All are accepted: who they are is for the peer to know.
    async fn recipient(&self, envelope: &Envelope, recipient: &Recipient) -> Result<(), Reply> {
        if envelope.recipients.is_empty()
            && let Ok(address) = recipient.path.address()
        {
            self.peers.prepare(address.domain());
        }
        Ok(())
    }

    async fn room(
        &self,
        envelope: &Envelope,
        held: u64,
        octets: u64,
    ) -> Result<Vec<Reservation>, Exhausted> {
        let first = envelope.recipients.first();
        let address = first.and_then(|recipient| recipient.path.address().ok());
        let peer = address.as_ref().map(|address| address.domain());
        self.shares.reserve(peer, held, octets).await
    }

    async fn message(&self, envelope: Envelope, message: HeldMessage) -> Vec<Reply> {
        let _under_way = self.metrics.under_way();
        let examination = examine(message.octets()).await;
        let plan = Plan::new(&envelope, &examination);
        let mut replies = vec![None; envelope.recipients.len()];
        let mut left = self
            .post_all(&plan, &message, &examination, &mut replies)
            .await;
        for &(place, unfit) in &plan.unfit {
            left.push((place, unfit.name()));
        }
        if !left.is_empty() {
            left.sort_unstable();
            self.hand_over(envelope, &message, &left, &mut replies)
                .await;
        }
        let replies = replies.into_iter();
        replies.map(|reply| reply.unwrap_or_else(nobody)).collect()
    }
}

impl Cause {
    /// The name for metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::NotTaken(_) => "not-taken",
            Self::Late => "late",
        }
    }
}

fn settle(replies: &mut [Option<Reply>], places: &[usize], reply: &Reply) {
    for &place in places {
        if let Some(open) = replies.get_mut(place) {
            *open = Some(reply.clone());
        }
    }
}

fn taken() -> Reply {
    Reply::new(250, (2, 0, 0), "Taken by the peer over HTTPS")
}

fn nobody() -> Reply {
    let text = "Neither the peer nor SMTP takes this message now";
    Reply::new(451, (4, 4, 1), text)
}

/// What Postfix said of a recipient. It may have closed its connection; ours stays.
fn passed_on(given: &ServerReply) -> Reply {
    let reply = given.to_reply();
    match reply.code {
        421 => Reply { code: 451, ..reply },
        _ => reply,
    }
}
