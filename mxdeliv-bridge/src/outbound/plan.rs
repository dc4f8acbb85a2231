//! Which way each recipient's copy of a message goes, before anybody is asked.
//!
//! Postfix hands over the recipients of one domain at a time; nothing here depends on that.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use chatmail::smtp::RecipientParameters;
use chatmail::{Address, Domain};

use super::examination::Examination;
use crate::envelope::{Envelope, Recipient};

/// Recipients of one post.
const BATCH_MAX: usize = 50;

/// The ways of a message's recipients; each recipient is in one place, by its number.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// `X-Mail-From` of all posts.
    pub(super) sender: String,
    /// What is to be posted.
    pub(super) batches: Vec<Batch>,
    /// Recipients that only SMTP can serve.
    pub(super) unfit: Vec<(usize, Unfit)>,
}

/// Recipients of one domain for one post.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) domain: Domain,
    /// As `X-Mail-To` has them, none twice.
    pub(super) addresses: Vec<String>,
    /// The numbers of the recipients.
    pub(super) places: Vec<usize>,
}

/// Why a message is not to be posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// Some peers take a dot away there, some do not.
    #[error("a line begins with a dot")]
    DotLine,
    /// Nothing in a post says that a header is UTF-8.
    #[error("SMTPUTF8 is needed")]
    Utf8,
    /// No address that a header field could carry.
    #[error("unusual sender address")]
    Sender,
    /// The same of a recipient.
    #[error("unusual recipient address")]
    Recipient,
    /// The sender wants to be told of success, which no peer does for a post.
    #[error("a report of success is wanted")]
    Report,
}

impl Plan {
    /// Sorts the recipients: by domain, then by address, so that the same envelope always makes the
    /// same posts.
    pub(super) fn new(envelope: &Envelope, message: &Examination) -> Self {
        let mut plan = Self::default();
        let sender = sender(envelope, message);
        let mut domains: BTreeMap<Domain, BTreeMap<Address, Vec<usize>>> = BTreeMap::new();
        for (place, recipient) in envelope.recipients.iter().enumerate() {
            match sender
                .as_ref()
                .map_err(|&unfit| unfit)
                .and_then(|_| address(recipient))
            {
                Ok(address) => {
                    let domain = domains.entry(address.domain().clone()).or_default();
                    domain.entry(address).or_default().push(place);
                }
                Err(unfit) => plan.unfit.push((place, unfit)),
            }
        }
        plan.sender = sender.unwrap_or_default();
        for (domain, recipients) in domains {
            let recipients: Vec<_> = recipients.into_iter().collect();
            let batches = recipients.chunks(BATCH_MAX).map(|chunk| Batch {
                domain: domain.clone(),
                addresses: chunk
                    .iter()
                    .map(|(address, _)| address.to_string())
                    .collect(),
                places: chunk
                    .iter()
                    .flat_map(|(_, places)| places)
                    .copied()
                    .collect(),
            });
            plan.batches.extend(batches);
        }
        plan
    }

    /// `Idempotency-Key` of a batch: it stands for sender, recipients and message.
    pub(super) fn key(&self, batch: &Batch, message: &Examination) -> String {
        let mut context = Context::new(&SHA256);
        // No address holds a line end.
        let lines = std::iter::once(&self.sender).chain(&batch.addresses);
        for line in lines {
            context.update(line.as_bytes());
            context.update(b"\n");
        }
        context.update(message.digest.as_ref());
        let digest = context.finish();
        digest
            .as_ref()
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect()
    }
}

impl Unfit {
    /// The name for metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DotLine => "dot-line",
            Self::Utf8 => "utf8",
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Report => "report",
        }
    }
}

/// The sender, when the message can be posted at all.
fn sender(envelope: &Envelope, message: &Examination) -> Result<String, Unfit> {
    if message.has_dot_line {
        return Err(Unfit::DotLine);
    }
    // Clients declare SMTPUTF8 for mail that does not need it.
    if envelope.parameters.smtputf8 && !message.is_ascii_header {
        return Err(Unfit::Utf8);
    }
    if envelope.sender.is_null() {
        return Ok(String::new());
    }
    let address = envelope.sender.address().map_err(|_| Unfit::Sender)?;
    Ok(address.to_string())
}

fn address(recipient: &Recipient) -> Result<Address, Unfit> {
    let RecipientParameters { notify, .. } = &recipient.parameters;
    if notify.is_some_and(|notify| notify.success) {
        return Err(Unfit::Report);
    }
    recipient.path.address().map_err(|_| Unfit::Recipient)
}

#[cfg(test)]
mod tests;
