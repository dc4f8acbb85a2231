//! Why mail from outside is refused, and with which reply.

use chatmail::Reply;
use chatmail::dns::DnsFailure;

use super::Unavailable;
use crate::dkim::DkimFailure;
use crate::gate::Rule;

/// Why a recipient is refused at `RCPT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientRefusal {
    /// There is no such account.
    Unknown,
    /// The account is blocked.
    Blocked,
    /// The account's mailbox is full.
    OverQuota,
    /// The envelope sender or the peer is on the block list.
    SenderBlocked,
    /// doveauth cannot be asked now.
    Unavailable,
}

impl RecipientRefusal {
    /// The name that metrics carry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Blocked => "blocked",
            Self::OverQuota => "over-quota",
            Self::SenderBlocked => "sender-blocked",
            Self::Unavailable => "unavailable",
        }
    }

    /// The reply to `RCPT`.
    pub fn reply(self) -> Reply {
        match self {
            Self::Unknown => Reply::new(550, (5, 1, 1), "No such user here"),
            Self::Blocked => Reply::new(550, (5, 7, 1), "This account is blocked"),
            Self::OverQuota => Reply::new(452, (4, 2, 2), "Mailbox is full"),
            Self::SenderBlocked => sender_blocked(),
            Self::Unavailable => unavailable(),
        }
    }
}

impl From<Unavailable> for RecipientRefusal {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// Why a complete message is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No recipient was accepted before it.
    NoRecipient,
    /// It is not a message as RFC 5322 has it.
    Malformed(Rule),
    /// `From` is not exactly one mailbox.
    InvalidFrom(Rule),
    /// The author is on the block list.
    AuthorBlocked,
    /// It is cleartext that not every recipient takes; the name of the rule that it fails.
    Unencrypted(String),
    /// The author is at an address literal that is not the client's address.
    OtherAddress,
    /// The author's domain did not sign it.
    NoSignature,
    /// The author's domain signed something else, or not in a way that counts.
    InvalidSignature(DkimFailure),
    /// The author's domain's key cannot be had now.
    KeyUnavailable(DkimFailure),
    /// The author's domain did not sign it, and whether the client is at an address of that domain cannot
    /// be known now.
    AddressesUnavailable(DnsFailure),
    /// The header section is larger than a signature check keeps.
    HeaderTooLarge,
    /// doveauth cannot be asked now.
    Unavailable,
}

impl Refusal {
    /// The name of what was broken, for the log and for metrics.
    pub fn rule(&self) -> String {
        match self {
            Self::NoRecipient => "no-recipient".to_owned(),
            Self::Malformed(rule) | Self::InvalidFrom(rule) => rule.to_string(),
            Self::AuthorBlocked => "author-blocked".to_owned(),
            Self::Unencrypted(rule) => rule.clone(),
            Self::OtherAddress => "from-other-address".to_owned(),
            Self::NoSignature => "dkim-missing".to_owned(),
            Self::InvalidSignature(failure) | Self::KeyUnavailable(failure) => {
                format!("dkim-{failure}")
            }
            Self::AddressesUnavailable(_) => "addresses-unavailable".to_owned(),
            Self::HeaderTooLarge => "header-too-large".to_owned(),
            Self::Unavailable => "unavailable".to_owned(),
        }
    }

    /// The reply to the whole message.
    pub fn reply(&self) -> Reply {
        match self {
            Self::NoRecipient => Reply::new(554, (5, 5, 1), "No valid recipients"),
            Self::Malformed(rule) => {
                Reply::new(554, (5, 6, 0), format!("Malformed message ({rule})"))
            }
            Self::InvalidFrom(rule) => Reply::new(554, (5, 7, 1), format!("Invalid FROM ({rule})")),
            Self::AuthorBlocked => sender_blocked(),
            Self::Unencrypted(rule) => {
                let text = format!("Encryption Needed: Invalid Unencrypted Mail ({rule})");
                Reply::new(523, (5, 7, 1), text)
            }
            Self::OtherAddress => {
                let text = "Invalid FROM: mail does not come from the address in its domain";
                Reply::new(554, (5, 7, 1), text)
            }
            Self::NoSignature => Reply::new(554, (5, 7, 1), "No DKIM signature found"),
            Self::InvalidSignature(failure) => {
                let text = format!("No valid DKIM signature found ({failure})");
                Reply::new(554, (5, 7, 1), text)
            }
            Self::KeyUnavailable(failure) => {
                let text = format!("The DKIM key cannot be looked up now ({failure})");
                Reply::new(451, (4, 7, 5), text)
            }
            Self::AddressesUnavailable(failure) => {
                let text = format!("The sender's addresses cannot be looked up now ({failure})");
                Reply::new(451, (4, 7, 5), text)
            }
            Self::HeaderTooLarge => Reply::new(554, (5, 6, 0), "Header section too large"),
            Self::Unavailable => unavailable(),
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

fn sender_blocked() -> Reply {
    Reply::new(550, (5, 7, 1), "Mail from you is blocked here")
}

fn unavailable() -> Reply {
    Reply::new(451, (4, 3, 0), "Try again later")
}
