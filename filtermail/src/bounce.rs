//! Mail that Postfix itself makes, such as bounces: signed, and never refused.
//!
//! For `non_smtpd_milters` with `internal_mail_filter_classes = bounce`. A delivery report that
//! leaves without a signature of our domain is refused by other relays, so the user never learns what
//! became of a message. One that cannot be signed still leaves: refusing it would lose it for
//! certain, since there is nobody to tell.

use std::net::IpAddr;

use chatmail::{Address, Config, Domain};

use crate::dkim::{Signer, Signing};
use crate::gate::{Once, parse_from};
use crate::session::{Answer, Outcome, Session};

/// Signs messages of our domain.
#[derive(Clone, Debug)]
pub struct Policy {
    signer: Option<Signer>,
    domain: Domain,
}

impl Policy {
    /// Signs with these keys; without keys messages leave as they are.
    pub fn new(config: &Config, signer: Option<Signer>) -> Self {
        Self {
            signer,
            domain: config.mail_domain.clone(),
        }
    }
}

/// One run of Postfix's cleanup(8), which looks like an SMTP connection.
#[derive(Debug)]
pub struct Bounce {
    policy: Policy,
    message: Option<Message>,
}

/// A message that may be signed.
#[derive(Debug)]
struct Message {
    signing: Signing,
    /// Nobody would take our signature for what is not one mailbox.
    author: Once<Address>,
}

impl Bounce {
    /// A connection without a message yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            message: None,
        }
    }
}

impl Session for Bounce {
    fn connected(&mut self, _client: Option<IpAddr>) {}

    fn mail(&mut self, _sender: &[u8], _login: Option<&[u8]>) {
        self.message = self.policy.signer.as_ref().map(|signer| Message {
            signing: signer.begin(),
            author: Once::default(),
        });
    }

    async fn recipient(&mut self, _recipient: &[u8]) -> Answer {
        Answer::Continue
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        if let Some(message) = &mut self.message {
            message.signing.header(name, value);
            if name.eq_ignore_ascii_case(b"From") {
                message.author.set(|| parse_from(value));
            }
        }
    }

    /// A message of another domain is not ours to sign.
    fn end_of_headers(&mut self) {
        let domain = &self.policy.domain;
        self.message.take_if(|message| {
            let author = message.author.given();
            author.is_none_or(|author| author.domain() != domain)
        });
    }

    fn body(&mut self, chunk: &[u8]) {
        if let Some(message) = &mut self.message {
            message.signing.body(chunk);
        }
    }

    async fn end_of_message(&mut self, queue_id: &str) -> Outcome {
        let Some(message) = self.message.take() else {
            return Outcome::Accept(Vec::new());
        };
        match message.signing.finish(&[]) {
            Ok(edits) => Outcome::Accept(edits),
            Err(error) => {
                tracing::error!(queue_id, "A bounce leaves without a signature: {error}");
                Outcome::Accept(Vec::new())
            }
        }
    }

    fn abort(&mut self) {
        self.message = None;
    }
}
