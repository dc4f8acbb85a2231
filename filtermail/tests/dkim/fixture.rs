//! A signer, a DNS that publishes its key, and the verdict on messages.

use std::sync::LazyLock;

use filtermail::dkim::{DkimVerdict, KeyCache, PrivateKey, Signer, Verification};

use crate::dns::{Dns, Say};
use crate::forge::Forge;
use crate::message::{Keys, Message};

/// Where the key `rsa` is published.
pub const RECORD: &str = "rsa._domainkey.chat.example";

/// An RSA key in PEM; making one takes a while, and the tests need no secret.
pub static RSA: LazyLock<String> =
    LazyLock::new(|| PrivateKey::generate_rsa().unwrap().to_pem().unwrap());

/// The record of [`RSA`].
pub fn rsa_record() -> String {
    PrivateKey::parse(RSA.as_bytes()).unwrap().record().unwrap()
}

/// A relay's DKIM with a DNS of its own.
pub struct Fixture {
    pub dns: Dns,
    pub keys: Keys,
    pub cache: KeyCache,
    pub signer: Signer,
    pub forge: Forge,
}

impl Fixture {
    /// The key `rsa` is there and published.
    pub async fn start() -> Self {
        let dns = Dns::start().await;
        dns.set(RECORD, Say::txt(&rsa_record()));
        let keys = Keys::new(&dns.config_line());
        keys.write("rsa", RSA.as_bytes());
        let config = keys.config("rsa");
        Self {
            cache: KeyCache::new(&config).unwrap(),
            signer: Signer::load(&config).unwrap().unwrap(),
            forge: Forge::new(&RSA),
            dns,
            keys,
        }
    }

    /// The verdict, with `chat.example` as the author's domain.
    pub async fn verdict(&self, message: &Message) -> DkimVerdict {
        let mut verification = Verification::new();
        message.to_verification(&mut verification, &self.cache);
        verification.finish().await
    }
}
