//! What other implementations think of our signatures, and signatures that they make.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Instant;

use mail_auth::common::cache::NoCache;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
};
use viadkim::crypto::SigningKey;
use viadkim::header::HeaderFields;
use viadkim::signature::SigningAlgorithm;
use viadkim::signer::SignRequest;
use viadkim::verifier::{LookupTxt, VerificationStatus};

use crate::message::Message;

/// A message's fields as viadkim takes them.
pub fn fields(message: &Message) -> HeaderFields {
    let field = |(name, value): &(String, Vec<u8>)| (name.clone(), Message::wire_value(value));
    HeaderFields::from_vec(message.headers.iter().map(field).collect()).unwrap()
}

/// Whether viadkim finds all signatures valid, one at least, with this record for any key.
pub async fn viadkim(message: &Message, record: &str) -> bool {
    let config = viadkim::verifier::Config {
        forbid_unsigned_content: true,
        ..Default::default()
    };
    let dns = OneRecord(record.to_owned());
    let results = viadkim::verify(&dns, &fields(message), &message.body, &config).await;
    let good = |status: &VerificationStatus| *status == VerificationStatus::Success;
    !results.is_empty() && results.iter().all(|result| good(&result.status))
}

/// A DNS with one answer for all questions.
#[derive(Clone)]
struct OneRecord(String);

impl LookupTxt for OneRecord {
    type Answer = Vec<io::Result<Vec<u8>>>;
    type Query<'a> = Pin<Box<dyn Future<Output = io::Result<Self::Answer>> + Send + 'a>>;

    fn lookup_txt(&self, _: &str) -> Self::Query<'_> {
        Box::pin(async { Ok(vec![Ok(self.0.clone().into_bytes())]) })
    }
}

/// viadkim with an RSA key.
pub struct Viadkim {
    key: SigningKey,
}

impl Viadkim {
    /// Takes a key in PEM.
    pub fn new(pem: &str) -> Self {
        Self {
            key: SigningKey::from_pkcs8_pem(pem).unwrap(),
        }
    }

    /// The message with the signature that viadkim makes.
    pub async fn sign(&self, message: &Message) -> Message {
        let request = SignRequest::new(
            "chat.example".parse().unwrap(),
            "rsa".parse().unwrap(),
            SigningAlgorithm::RsaSha256,
            &self.key,
        );
        let signed = viadkim::sign(fields(message), &message.body, [request]).await;
        let output = signed.unwrap().remove(0).unwrap();
        let value = output.header_value.replace("\r\n", "\n");
        message.clone().with(&output.header_name, &value)
    }
}

/// mail-auth with a table in place of DNS.
pub struct MailAuth {
    authenticator: MessageAuthenticator,
    records: Records,
}

struct Records(Mutex<HashMap<Box<str>, Txt>>);

impl MailAuth {
    /// Takes names and their records.
    pub fn new(records: &[(&str, &str)]) -> Self {
        let record = |(name, text): &(&str, &str)| {
            let key = DomainKey::parse(text.as_bytes()).unwrap();
            (format!("{name}.").into_boxed_str(), Txt::from(key))
        };
        let records = records.iter().map(record).collect();
        // Never asked: all names that a test uses are in the table.
        let nowhere = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        Self {
            authenticator: MessageAuthenticator::new(nowhere, ResolverOpts::default()).unwrap(),
            records: Records(Mutex::new(records)),
        }
    }

    /// Whether all signatures are valid, one at least.
    pub async fn verify(&self, message: &Message) -> bool {
        let wire = message.wire();
        let parsed = AuthenticatedMessage::parse(&wire).unwrap();
        let parameters: Parameters<
            '_,
            _,
            _,
            NoCache<_, _>,
            NoCache<_, _>,
            NoCache<_, _>,
            NoCache<_, _>,
        > = Parameters::new(&parsed).with_txt_cache(&self.records);
        let results = self.authenticator.verify_dkim(parameters).await;
        !results.is_empty()
            && results
                .iter()
                .all(|result| *result.result() == DkimResult::Pass)
    }
}

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: std::borrow::Borrow<Q>,
        Q: std::hash::Hash + Eq + ?Sized,
    {
        self.0.lock().unwrap().get(name).cloned()
    }

    fn remove<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: std::borrow::Borrow<Q>,
        Q: std::hash::Hash + Eq + ?Sized,
    {
        self.0.lock().unwrap().remove(name)
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}
