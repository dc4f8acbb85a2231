//! The rules of submission: who may send, how much, and that it is encrypted.
//!
//! A message passes when its login, its envelope sender and the one mailbox of its one `From` are
//! the same address, and when it is encrypted or a securejoin request. Cleartext passes only from
//! `passthrough_senders`, or when each recipient is in `passthrough_recipients`. Whoever sends too
//! much is told so at `RCPT`; every other refusal comes after the final dot, where clients expect
//! it, and leaves the SMTP connection usable. What passes is signed last, as it will leave; what stays
//! here needs no signature (`dkim_sign_local`).
//!
//! A connection may outlive the account that has logged in. So doveauth is asked about the sender of
//! each message that would pass. Where it does not answer the login still holds: mail of people who
//! are let in does not wait for it.

use std::net::IpAddr;
use std::sync::Arc;

use chatmail::config::AddressList;
use chatmail::log_limit::LogLimit;
use chatmail::policy::PolicyClient;
use chatmail::{Address, Config, Domain, Reply};

use crate::dkim::{Signer, Signing, SigningError};
use crate::gate::{Class, Direction, Gate, Progress, Rule, Verdict};
use crate::hygiene::{Excess, Hygiene, Mode};
use crate::metrics::{MessageEnd, Metrics};
use crate::rate_limit::{Limit, RateLimits};
use crate::session::{Answer, Edit, Outcome, Session, out_of_order};

/// The most octets of a client's text that a reply repeats.
const QUOTED_MAX: usize = 320;

/// What holds for all sessions.
#[derive(Debug)]
pub struct Policy {
    limits: RateLimits,
    accounts: PolicyClient,
    complaints: LogLimit,
    passthrough_senders: AddressList,
    passthrough_recipients: AddressList,
    headers: Mode,
    signer: Option<Signer>,
    /// What a message with no other recipients needs no signature for; none if all need one.
    unsigned_domain: Option<Domain>,
    metrics: Metrics,
}

impl Policy {
    /// The policy that the configuration states; without a signer mail leaves unsigned.
    pub fn new(config: &Config, signer: Option<Signer>, metrics: Metrics) -> Self {
        Self {
            limits: RateLimits::new(config),
            accounts: PolicyClient::new(&config.policy_socket),
            complaints: LogLimit::new(),
            passthrough_senders: config.passthrough_senders.clone(),
            passthrough_recipients: config.passthrough_recipients.clone(),
            headers: if config.outgoing_strict_headers {
                Mode::Strict
            } else {
                Mode::Ordinary
            },
            signer,
            unsigned_domain: (!config.dkim_sign_local).then(|| config.mail_domain.clone()),
            metrics,
        }
    }

    /// The rate limits, whose memory wants tidying from time to time.
    pub fn limits(&self) -> &RateLimits {
        &self.limits
    }

    /// Whether the account is still there, and the operator has not blocked it.
    async fn may_send(&self, login: &Address) -> bool {
        match self.accounts.lookup(login).await {
            Ok(account) => account.exists && !account.blocked,
            // It names no address, so it may be logged.
            Err(error) => {
                if let Some(suppressed) = self.complaints.allow() {
                    tracing::warn!(suppressed, "Senders are taken at their login: {error}");
                }
                true
            }
        }
    }
}

/// One SMTP connection on a submission port.
#[derive(Debug)]
pub struct Submission {
    policy: Arc<Policy>,
    message: Option<Message>,
    /// A port without login is an operator's mistake; once per connection is often enough.
    reported: bool,
}

impl Submission {
    /// A connection without a message yet.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self {
            policy,
            message: None,
            reported: false,
        }
    }
}

impl Session for Submission {
    /// Who submits is known by the login.
    fn connected(&mut self, _client: Option<IpAddr>) {}

    fn mail(&mut self, sender: &[u8], login: Option<&[u8]>) {
        let login = match login {
            None => Err(NoLogin::Absent),
            Some(login) => Address::try_from(login).map_err(|_| NoLogin::NotAnAddress),
        };
        if let (Err(problem), false) = (&login, self.reported) {
            self.reported = true;
            tracing::error!("Refusing mail: {problem}");
        }
        self.message = Some(Message::new(sender, login, &self.policy));
    }

    async fn recipient(&mut self, recipient: &[u8]) -> Answer {
        let Some(message) = &mut self.message else {
            return Answer::Refuse(out_of_order());
        };
        match message.recipient(recipient, &self.policy) {
            Ok(()) => Answer::Continue,
            Err(reply) => Answer::Refuse(reply),
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        if let Some(message) = &mut self.message {
            message.header(name, value);
        }
    }

    fn end_of_headers(&mut self) {
        if let Some(message) = &mut self.message {
            message.gate.end_of_headers();
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
        let login = message.login.clone();
        let mut judged = message.judge(&self.policy);
        if let (Ok(_), Ok(login)) = (&judged, login)
            && !self.policy.may_send(&login).await
        {
            judged = Err(Refusal::Blocked);
        }
        log(queue_id, &judged);
        match judged {
            Ok(passed) => {
                self.policy.metrics.message(passed.end, String::new());
                Outcome::Accept(passed.edits)
            }
            Err(refusal) => {
                self.policy
                    .metrics
                    .message(MessageEnd::Refused, refusal.rule());
                Outcome::Refuse(refusal.reply())
            }
        }
    }

    fn abort(&mut self) {
        self.message = None;
    }
}

/// Why there is nobody to hold a message's sender against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NoLogin {
    #[error(
        "Postfix names no login ({{auth_authen}}); the port of this milter must require one \
         (smtpd_sasl_auth_enable = yes, smtpd_recipient_restrictions = \
         permit_sasl_authenticated, reject)"
    )]
    Absent,
    #[error(
        "the login that Postfix names ({{auth_authen}}) is not an address; Dovecot must use full \
         addresses as user names"
    )]
    NotAnAddress,
}

/// One message on its way in.
#[derive(Debug)]
struct Message {
    sender: Sender,
    login: Result<Address, NoLogin>,
    /// Set by the first recipient: whether the sender may send this message now.
    admitted: Option<Result<(), Limit>>,
    /// Whether all recipients so far may get cleartext.
    recipients_take_cleartext: bool,
    gate: Gate,
    decided: bool,
    hygiene: Hygiene,
    /// Begun with the first recipient for whom it must be signed.
    signing: Option<Signing>,
}

/// The envelope sender, or the beginning of what stands in its place.
#[derive(Debug)]
enum Sender {
    Address(Address),
    Other(String),
}

/// What a passing message counts as, and the changes to it.
#[derive(Debug)]
struct Passed {
    end: MessageEnd,
    edits: Vec<Edit>,
}

/// Why a complete message does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    NoLogin,
    /// Envelope sender or `From`, here `author`, is not the login; `rule` when `From` has no one
    /// mailbox to compare.
    InvalidFrom {
        author: String,
        login: Address,
        rule: Option<Rule>,
    },
    Unencrypted(Rule),
    /// The account is gone or blocked.
    Blocked,
    Excess(Excess),
    Unsigned(SigningError),
}

impl Message {
    fn new(sender: &[u8], login: Result<Address, NoLogin>, policy: &Policy) -> Self {
        let sender = match Address::try_from(sender) {
            Ok(address) => Sender::Address(address),
            Err(_) => {
                let quoted = sender.get(..QUOTED_MAX).unwrap_or(sender);
                Sender::Other(String::from_utf8_lossy(quoted).into_owned())
            }
        };
        Self {
            sender,
            login,
            admitted: None,
            recipients_take_cleartext: true,
            gate: Gate::new(Direction::Outgoing),
            decided: false,
            hygiene: Hygiene::new(policy.headers),
            signing: None,
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        self.hygiene.header(name, value);
        self.gate.header(name, value);
        if let Some(signing) = &mut self.signing {
            signing.header(name, value);
        }
    }

    fn body(&mut self, chunk: &[u8]) {
        if !self.decided {
            self.decided = self.gate.body(chunk) == Progress::Decided;
        }
        // The gate may have decided, but cleartext of some senders passes.
        if let Some(signing) = &mut self.signing {
            signing.body(chunk);
        }
    }

    fn recipient(&mut self, recipient: &[u8], policy: &Policy) -> Result<(), Reply> {
        let login = self.login.as_ref().map_err(|_| no_login())?;
        self.admitted
            .get_or_insert_with(|| policy.limits.message(login))
            .and_then(|()| policy.limits.recipient(login))
            .map_err(|limit| {
                policy.metrics.rate_limited(limit);
                too_much(login)
            })?;
        let recipient = Address::try_from(recipient).ok();
        let takes_cleartext = recipient
            .as_ref()
            .is_some_and(|recipient| policy.passthrough_recipients.matches(recipient));
        self.recipients_take_cleartext &= takes_cleartext;
        let stays = recipient
            .is_some_and(|recipient| policy.unsigned_domain.as_ref() == Some(recipient.domain()));
        if !stays && self.signing.is_none() {
            self.signing = policy.signer.as_ref().map(Signer::begin);
        }
        Ok(())
    }

    fn judge(self, policy: &Policy) -> Result<Passed, Refusal> {
        let login = self.login.map_err(|_| Refusal::NoLogin)?;
        let Verdict { class, from } = self.gate.finish();
        let from = check_author(&self.sender, from, &login)?;
        let may_send_cleartext =
            self.recipients_take_cleartext || policy.passthrough_senders.matches(&login);
        let end = match class {
            Class::Encrypted => MessageEnd::Encrypted,
            Class::SecurejoinRequest => MessageEnd::Securejoin,
            Class::Cleartext(_) if may_send_cleartext => MessageEnd::Passthrough,
            Class::Cleartext(rule) => return Err(Refusal::Unencrypted(rule)),
        };
        let mut edits = self.hygiene.edits(&from).map_err(Refusal::Excess)?;
        if let Some(signing) = self.signing {
            let signatures = signing.finish(&edits).map_err(Refusal::Unsigned)?;
            edits.extend(signatures);
        }
        Ok(Passed { end, edits })
    }
}

/// Login, envelope sender and author are one address, which is returned.
fn check_author(
    sender: &Sender,
    from: Result<Address, Rule>,
    login: &Address,
) -> Result<Address, Refusal> {
    let invalid = |author: String, rule| {
        Err(Refusal::InvalidFrom {
            author,
            login: login.clone(),
            rule,
        })
    };
    match (sender, from) {
        (Sender::Other(text), _) => invalid(text.clone(), None),
        (Sender::Address(sender), _) if sender != login => invalid(sender.to_string(), None),
        (_, Err(rule)) => invalid(String::new(), Some(rule)),
        (_, Ok(from)) if from != *login => invalid(from.to_string(), None),
        (_, Ok(from)) => Ok(from),
    }
}

impl Refusal {
    /// The name of what was broken.
    fn rule(&self) -> String {
        match self {
            Self::NoLogin => "no-login".to_owned(),
            Self::InvalidFrom { rule: None, .. } => "from-is-not-login".to_owned(),
            Self::InvalidFrom {
                rule: Some(rule), ..
            }
            | Self::Unencrypted(rule) => rule.to_string(),
            Self::Blocked => "blocked".to_owned(),
            Self::Excess(_) => "too-many-header-fields".to_owned(),
            Self::Unsigned(SigningError::TooLarge) => "header-too-large".to_owned(),
            Self::Unsigned(SigningError::Crypto) => "unsigned".to_owned(),
        }
    }

    fn reply(&self) -> Reply {
        match self {
            Self::NoLogin => no_login(),
            Self::InvalidFrom {
                author,
                login,
                rule: None,
            } => Reply::new(
                500,
                (5, 7, 1),
                format!("Invalid FROM <{author}> for <{login}>"),
            ),
            Self::InvalidFrom {
                author,
                login,
                rule: Some(rule),
            } => {
                let text = format!("Invalid FROM <{author}> for <{login}> ({rule})");
                Reply::new(500, (5, 7, 1), text)
            }
            Self::Unencrypted(rule) => {
                let text = format!("Encryption Needed: Invalid Unencrypted Mail ({rule})");
                Reply::new(523, (5, 7, 1), text)
            }
            Self::Blocked => Reply::new(554, (5, 7, 1), "This account may not send mail"),
            Self::Excess(_) => Reply::new(554, (5, 6, 0), "Too many header fields"),
            Self::Unsigned(SigningError::TooLarge) => {
                Reply::new(554, (5, 6, 0), "Header section too large")
            }
            Self::Unsigned(SigningError::Crypto) => {
                Reply::new(451, (4, 3, 0), "The message cannot be signed now")
            }
        }
    }
}

fn no_login() -> Reply {
    Reply::new(554, (5, 7, 1), "Log in before you send")
}

fn too_much(login: &Address) -> Reply {
    Reply::new(450, (4, 7, 1), format!("Too much mail from <{login}>"))
}

/// The texts are what operators' mtail programs count; no addresses in them.
fn log(queue_id: &str, judged: &Result<Passed, Refusal>) {
    match judged {
        Ok(Passed {
            end: MessageEnd::Passthrough,
            ..
        }) => {
            tracing::info!(queue_id, "Outgoing: Filtering unencrypted mail.");
        }
        Ok(_) => tracing::info!(queue_id, "Outgoing: Filtering encrypted mail."),
        Err(Refusal::Unencrypted(rule)) => {
            tracing::info!(queue_id, "Outgoing: Filtering unencrypted mail.");
            tracing::info!(queue_id, %rule, "Rejected unencrypted mail.");
        }
        Err(refusal) => {
            tracing::info!(queue_id, rule = refusal.rule(), "Rejected mail.");
        }
    }
}
