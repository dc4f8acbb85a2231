//! The return door: mail that came over HTTPS and that some of its recipients could not have.
//!
//! Postfix brings it here by LMTP for each of them. Each is judged anew, since what was wrong may have
//! passed, and the reply is what Postfix goes by: it tries again later, or tells the sender. Who sent the
//! message was found out before Postfix got it.

use std::sync::Arc;
use std::time::Duration;

use chatmail::Reply;
use chatmail::log_limit::LogLimit;
use filtermail::incoming::{Message, Policy, WireMessage};

use crate::budget::{Budget, Exhausted, Reservation};
use crate::envelope::{Envelope, Recipient};
use crate::mail_client::MailClient;
use crate::outbound::lmtp::{HeldMessage, Transactions};

/// How long a message waits for room.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long Dovecot may take. Postfix waits for ten minutes.
const DELIVERY_TIME: Duration = Duration::from_secs(120);

/// What happens behind the door.
#[derive(Debug)]
pub(super) struct Returns {
    pub(super) policy: Arc<Policy>,
    pub(super) budget: Budget,
    pub(super) dovecot: MailClient,
    pub(super) complaints: LogLimit,
}

impl Transactions for Returns {
    /// Nothing is known before there is a message: what a recipient takes depends on it.
    async fn recipient(&self, _: &Envelope, _: &Recipient) -> Result<(), Reply> {
        Ok(())
    }

    async fn room(&self, _: &Envelope, _: u64, octets: u64) -> Result<Vec<Reservation>, Exhausted> {
        Ok(vec![self.budget.reserve(octets, PATIENCE).await?])
    }

    async fn message(&self, envelope: Envelope, message: HeldMessage) -> Vec<Reply> {
        let octets = message.octets();
        let mut replies = self.judge(&envelope, octets).await;
        let admitted = envelope.recipients.iter().zip(&replies);
        let admitted = admitted.filter(|(_, reply)| reply.is_none());
        let admitted = admitted.map(|(recipient, _)| recipient.clone());
        let admitted = Envelope {
            recipients: admitted.collect(),
            ..envelope
        };
        if !admitted.recipients.is_empty() {
            let delivered = self.deliver(&admitted, octets).await;
            let open = replies.iter_mut().filter(|reply| reply.is_none());
            for (reply, delivered) in open.zip(delivered) {
                *reply = Some(delivered);
            }
        }
        let again = || Reply::new(451, (4, 3, 0), "Try again later");
        let replies = replies.into_iter();
        replies.map(|reply| reply.unwrap_or_else(again)).collect()
    }
}

impl Returns {
    /// The replies to those who cannot have the message.
    async fn judge(&self, envelope: &Envelope, octets: &[u8]) -> Vec<Option<Reply>> {
        let mut message = Message::vouched(self.policy.clone(), envelope.sender.as_bytes());
        let mut replies = Vec::with_capacity(envelope.recipients.len());
        for recipient in &envelope.recipients {
            let admitted = message.recipient(recipient.path.as_bytes()).await;
            replies.push(admitted.err().map(|refusal| refusal.reply()));
        }
        if replies.iter().all(Option::is_some) {
            return replies;
        }
        let mut message = WireMessage::new(message);
        message.push(octets);
        if let Err(refusal) = message.finish().await {
            for reply in &mut replies {
                reply.get_or_insert_with(|| refusal.reply());
            }
        }
        replies
    }

    async fn deliver(&self, envelope: &Envelope, octets: &[u8]) -> Vec<Reply> {
        match self.dovecot.deliver(envelope, octets, DELIVERY_TIME).await {
            Ok(replies) => replies.iter().map(|reply| reply.to_reply()).collect(),
            Err(error) => {
                if let Some(suppressed) = self.complaints.allow() {
                    tracing::error!(suppressed, "Dovecot takes no mail: {error}");
                }
                Vec::new()
            }
        }
    }
}
