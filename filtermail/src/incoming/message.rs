//! The rules for one message, however it comes in.

use std::net::IpAddr;
use std::sync::Arc;

use chatmail::{Address, Domain};

use super::delivery_report::{DeliveryReport, Flaw};
use super::unsigned::Vouched;
use super::{Policy, RecipientRefusal, Refusal, Unavailable};
use crate::dkim::{DkimVerdict, Verification};
use crate::gate::{Class, Direction, Gate, Progress, Rule, Verdict};
use crate::metrics::MessageEnd;
use crate::session::Edit;

/// The local part of those who send delivery reports.
const MAILER_DAEMON: &str = "mailer-daemon";

/// One message from outside, fed in the order of SMTP: recipients, header fields, body.
#[derive(Debug)]
pub struct Message {
    policy: Arc<Policy>,
    client: Option<IpAddr>,
    /// Whether who hands the message over has seen to its origin.
    vouched: bool,
    sender: Sender,
    /// Whether the block list names sender or client; asked with the first recipient.
    sender_blocked: Option<bool>,
    /// Whether a recipient was accepted.
    has_recipient: bool,
    /// Whether all accepted recipients take cleartext.
    recipients_take_cleartext: bool,
    /// What makes it no message.
    malformed: Option<Rule>,
    /// Whether there is one author; known after the header section.
    has_author: bool,
    gate: Gate,
    decided: bool,
    report: DeliveryReport,
    verification: Verification,
}

/// What a passing message counts as, and the changes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// What it counts as.
    pub end: MessageEnd,
    /// What to change, in this order.
    pub edits: Vec<Edit>,
    /// The author's domain, when a signature or its address has proved it.
    pub peer: Option<Domain>,
}

/// The envelope sender.
#[derive(Debug)]
enum Sender {
    Null,
    Mailbox(Address),
    /// No address in our narrow form; its domain if that is one.
    Other(Option<Domain>),
}

impl Message {
    /// Begins a message that `client` sends, when its IP address is known; `sender` is the reverse
    /// path without its angle brackets, empty for `<>`.
    pub fn new(policy: Arc<Policy>, client: Option<IpAddr>, sender: &[u8]) -> Self {
        Self {
            policy,
            client,
            vouched: false,
            sender: Sender::new(sender),
            sender_blocked: None,
            has_recipient: false,
            recipients_take_cleartext: true,
            malformed: None,
            has_author: true,
            gate: Gate::new(Direction::Incoming),
            decided: false,
            report: DeliveryReport::default(),
            verification: Verification::new(),
        }
    }

    /// Begins a message whose origin was found good before: one that comes again. Nobody knows which
    /// client it came from, and nobody asks for signatures.
    pub fn vouched(policy: Arc<Policy>, sender: &[u8]) -> Self {
        Self {
            vouched: true,
            ..Self::new(policy, None, sender)
        }
    }

    /// Judges a recipient, without angle brackets. Waits for doveauth, 10 s at most.
    ///
    /// # Errors
    /// Why this recipient gets nothing.
    pub async fn recipient(&mut self, recipient: &[u8]) -> Result<(), RecipientRefusal> {
        let admitted = self.admit(recipient).await;
        if let Err(refusal) = admitted {
            self.policy.metrics.recipient_refused(refusal.name());
        }
        admitted
    }

    /// Takes a header field, its value with the white space that follows the colon; LF or CRLF
    /// before continuation lines.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        self.gate.header(name, value);
        self.report.header(name, value);
        self.verification.header(name, value);
    }

    /// The header section is over. Begins to look up keys, so it must be called within a tokio
    /// runtime.
    pub fn end_of_headers(&mut self) {
        self.gate.end_of_headers();
        let author = self.gate.author().ok();
        self.has_author = author.is_some();
        if self.vouched {
            return;
        }
        // Nobody but the address itself vouches for an address literal.
        let domain = author.as_ref().map(Address::domain);
        let named = domain.filter(|domain| domain.ip().is_none());
        self.verification.end_of_headers(named, &self.policy.keys);
    }

    /// Takes a piece of the body, lines ending in CRLF. [`Progress::Decided`]: the message cannot pass
    /// whatever follows.
    pub fn body(&mut self, chunk: &[u8]) -> Progress {
        if !self.decided {
            self.decided = self.gate.body(chunk) == Progress::Decided;
        }
        self.report.body(chunk);
        self.verification.body(chunk);
        if self.may_pass() {
            Progress::More
        } else {
            Progress::Decided
        }
    }

    /// The message breaks a rule that holds for all messages, even for cleartext that is welcome.
    pub(super) fn refuse(&mut self, rule: Rule) {
        self.malformed.get_or_insert(rule);
    }

    /// The message is complete. Waits for keys and for doveauth.
    ///
    /// # Errors
    /// Why the message does not pass.
    pub async fn finish(self) -> Result<Passed, Refusal> {
        let policy = self.policy.clone();
        let judged = self.judge().await;
        match &judged {
            Ok(passed) => policy.metrics.message(passed.end, String::new()),
            Err(refusal) => policy.metrics.message(MessageEnd::Refused, refusal.rule()),
        }
        judged
    }

    async fn admit(&mut self, recipient: &[u8]) -> Result<(), RecipientRefusal> {
        let recipient = Address::try_from(recipient).map_err(|_| RecipientRefusal::Unknown)?;
        let recipient = recipient.without_tag();
        let (blocked, account) =
            tokio::join!(self.sender_is_blocked(), self.policy.account(&recipient));
        let blocked = blocked?;
        self.sender_blocked = Some(blocked);
        if blocked {
            return Err(RecipientRefusal::SenderBlocked);
        }
        let account = account?;
        if !account.exists {
            Err(RecipientRefusal::Unknown)
        } else if account.blocked {
            Err(RecipientRefusal::Blocked)
        } else if account.over_quota {
            Err(RecipientRefusal::OverQuota)
        } else {
            self.has_recipient = true;
            self.recipients_take_cleartext &= account.cleartext;
            Ok(())
        }
    }

    async fn sender_is_blocked(&self) -> Result<bool, Unavailable> {
        match self.sender_blocked {
            Some(known) => Ok(known),
            None => {
                let sender = self.sender.address();
                self.policy.is_blocked(self.client, sender).await
            }
        }
    }

    /// Whether what is known after the header section leaves a way to pass.
    fn may_pass(&self) -> bool {
        let cleartext_may = || {
            let report = self.report.check(self.sender.is_mail_system());
            self.recipients_take_cleartext || report.is_ok()
        };
        self.malformed.is_none() && self.has_author && (!self.decided || cleartext_may())
    }

    async fn judge(self) -> Result<Passed, Refusal> {
        if !self.has_recipient {
            return Err(Refusal::NoRecipient);
        }
        if let Some(rule) = self.malformed {
            return Err(Refusal::Malformed(rule));
        }
        let Verdict { class, from } = self.gate.finish();
        let author = from.map_err(Refusal::InvalidFrom)?;
        // Whether the sender is blocked was asked with the first recipient.
        if self.sender.address() != Some(&author)
            && self.policy.is_blocked(None, Some(&author)).await?
        {
            return Err(Refusal::AuthorBlocked);
        }
        let end = match class {
            Class::Encrypted => MessageEnd::Encrypted,
            Class::SecurejoinRequest => MessageEnd::Securejoin,
            Class::Cleartext(rule) => match self.report.check(self.sender.is_mail_system()) {
                Ok(()) => MessageEnd::DeliveryReport,
                Err(_) if self.recipients_take_cleartext => MessageEnd::Cleartext,
                Err(Flaw::NoReport) => return Err(Refusal::Unencrypted(rule.to_string())),
                Err(flaw) => return Err(Refusal::Unencrypted(flaw.to_string())),
            },
        };
        let proven = if self.vouched {
            false
        } else {
            check_origin(
                &self.policy,
                author.domain(),
                self.client,
                self.verification,
            )
            .await?
        };
        let reset = self.sender.is_elsewhere(author.domain());
        let edits = reset.then(|| Edit::Sender(String::new()));
        let edits = edits.into_iter().collect();
        let peer = proven.then(|| author.domain().clone());
        Ok(Passed { end, edits, peer })
    }
}

/// Whether the author's domain has proved that the message is its own; it may be let in without.
async fn check_origin(
    policy: &Policy,
    domain: &Domain,
    client: Option<IpAddr>,
    verification: Verification,
) -> Result<bool, Refusal> {
    if let Some(address) = domain.ip() {
        return if client == Some(address) {
            Ok(true)
        } else {
            Err(Refusal::OtherAddress)
        };
    }
    match verification.finish().await {
        DkimVerdict::Valid => Ok(true),
        DkimVerdict::Missing => check_unsigned(policy, domain, client).await,
        DkimVerdict::Invalid(failure) => Err(Refusal::InvalidSignature(failure)),
        DkimVerdict::Temporary(failure) => Err(Refusal::KeyUnavailable(failure)),
        DkimVerdict::TooLarge => Err(Refusal::HeaderTooLarge),
    }
}

async fn check_unsigned(
    policy: &Policy,
    domain: &Domain,
    client: Option<IpAddr>,
) -> Result<bool, Refusal> {
    let unsigned = policy.unsigned.as_ref().ok_or(Refusal::NoSignature)?;
    match unsigned.vouched(domain, client).await {
        Ok(Vouched::ByAddress) => Ok(true),
        Ok(Vouched::Needless) => Ok(false),
        Ok(Vouched::Not) => Err(Refusal::NoSignature),
        Err(failure) => Err(Refusal::AddressesUnavailable(failure)),
    }
}

impl Sender {
    fn new(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::Null;
        }
        Address::try_from(text).map_or_else(
            |_| {
                let text = str::from_utf8(text).ok();
                let domain = text.and_then(|text| text.rsplit_once('@')?.1.parse().ok());
                Self::Other(domain)
            },
            Self::Mailbox,
        )
    }

    fn address(&self) -> Option<&Address> {
        match self {
            Self::Mailbox(address) => Some(address),
            Self::Null | Self::Other(_) => None,
        }
    }

    /// Whether a bounce would go to another domain than the author's.
    fn is_elsewhere(&self, author: &Domain) -> bool {
        match self {
            Self::Null => false,
            Self::Mailbox(address) => address.domain() != author,
            Self::Other(domain) => domain.as_ref() != Some(author),
        }
    }

    /// Whether this is who sends delivery reports (RFC 5321 section 4.5.5).
    fn is_mail_system(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Mailbox(address) => address.local_part().as_str() == MAILER_DAEMON,
            Self::Other(_) => false,
        }
    }
}
