//! The keys that this relay signs with.

use std::path::PathBuf;
use std::sync::Arc;

use chatmail::Config;
use viadkim::crypto::KeyType;
use viadkim::signature::Selector;

use super::{PrivateKey, PrivateKeyError, Signing};

/// The private keys; clones share them.
#[derive(Clone, Debug)]
pub struct Signer {
    keys: Arc<Keys>,
}

/// What signs a message: an RSA key, an Ed25519 key, or both.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) domain: String,
    pub(super) keys: Vec<NamedKey>,
}

/// A key and the selector that leads to its public part.
#[derive(Debug)]
pub(super) struct NamedKey {
    pub(super) selector: String,
    pub(super) key: PrivateKey,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// A selector that cannot be a DNS name.
    #[error("dkim_selectors: `{0}` is no selector; use letters, digits and hyphens")]
    Selector(String),
    /// A key file that is there and cannot be read.
    #[error(
        "cannot read DKIM key {path}: {source}; filtermail's user must own it, with mode 0600",
        path = path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A key file that cannot be used.
    #[error(
        "DKIM key {path}: {source}; mend it, or move it away and run filtermail dkim generate",
        path = path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PrivateKeyError,
    },
}

impl Signer {
    /// Reads the keys of `dkim_selectors` from `dkim_keys_dir`. The first RSA key and the first
    /// Ed25519 key sign; further ones are there to be published before they are changed over to.
    ///
    /// `None` when mail leaves unsigned: there is no key, which is logged, or the relay's domain is
    /// an address literal, which has no DNS.
    ///
    /// # Errors
    /// A file cannot be read or holds no key that can be used.
    pub fn load(config: &Config) -> Result<Option<Self>, SignerError> {
        if config.mail_domain.ip().is_some() {
            return Ok(None);
        }
        let mut keys: Vec<NamedKey> = Vec::new();
        let mut missing = Vec::new();
        for selector in &config.dkim_selectors.0 {
            let Some(key) = load_key(config, selector)? else {
                missing.push(selector.as_str());
                continue;
            };
            let alike = |named: &NamedKey| named.key.key_type() == key.key_type();
            if !keys.iter().any(alike) {
                let selector = selector.clone();
                keys.push(NamedKey { selector, key });
            }
        }
        warn(config, &keys, &missing);
        if keys.is_empty() {
            return Ok(None);
        }
        let domain = config.mail_domain.to_string();
        let keys = Arc::new(Keys { domain, keys });
        Ok(Some(Self { keys }))
    }

    /// Begins a message.
    pub fn begin(&self) -> Signing {
        Signing::new(self.keys.clone())
    }
}

/// Where the private key of a selector lies.
///
/// # Errors
/// The selector is not one.
pub(super) fn key_path(config: &Config, selector: &str) -> Result<PathBuf, SignerError> {
    // Also what keeps the path within its folder.
    if selector.parse::<Selector>().is_err() || !selector.is_ascii() {
        return Err(SignerError::Selector(selector.to_owned()));
    }
    Ok(config.dkim_keys_dir.join(format!("{selector}.private")))
}

/// The private key of a selector; `None` when there is no such file.
pub(super) fn load_key(config: &Config, selector: &str) -> Result<Option<PrivateKey>, SignerError> {
    let path = key_path(config, selector)?;
    match PrivateKey::load(&path) {
        Ok(key) => Ok(Some(key)),
        Err(PrivateKeyError::Read(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(PrivateKeyError::Read(source)) => Err(SignerError::Unreadable { path, source }),
        Err(source) => Err(SignerError::Key { path, source }),
    }
}

fn warn(config: &Config, keys: &[NamedKey], missing: &[&str]) {
    let dir = config.dkim_keys_dir.display();
    if keys.is_empty() {
        tracing::warn!(
            "mail leaves unsigned, and other relays will refuse it: no DKIM key in {dir}; \
             run filtermail dkim generate"
        );
        return;
    }
    for selector in missing {
        tracing::warn!(
            "no DKIM key {dir}/{selector}.private; run filtermail dkim generate --selector \
             {selector}, or take it out of dkim_selectors"
        );
    }
    if keys
        .iter()
        .all(|named| named.key.key_type() != KeyType::Rsa)
    {
        tracing::warn!(
            "there is no RSA key in {dir}: servers that do not know Ed25519 will refuse our mail; \
             run filtermail dkim generate --selector NAME and add it to dkim_selectors"
        );
    }
}
