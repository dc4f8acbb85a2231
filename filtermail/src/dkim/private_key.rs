//! The keys that sign: files, and what of them belongs into DNS.

use std::fmt;
use std::io;
use std::path::Path;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64_simd::STANDARD;
use viadkim::crypto::KeyType;

/// The largest key file that is read, in octets.
const FILE_MAX: u64 = 64 << 10;

/// Octets of an Ed25519 key without any frame (RFC 8463 section 6).
const SEED: usize = 32;

/// A private key.
pub struct PrivateKey(Kind);

enum Kind {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

/// Why a file is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum PrivateKeyError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// It holds something else.
    #[error(
        "it holds no private key: expected a PEM file with BEGIN PRIVATE KEY (RSA or Ed25519) or \
         BEGIN RSA PRIVATE KEY, or the Base64 of 32 octets (Ed25519)"
    )]
    NoKey,
    /// A key that aws-lc refuses.
    #[error("its key cannot be used ({0}); RSA keys have 2048 to 8192 bits")]
    Rejected(String),
    /// The random numbers ran out, or something as unlikely.
    #[error("the cryptographic library failed")]
    Crypto,
}

impl PrivateKey {
    /// A new RSA key of 2048 bits: the longest whose record fits into one DNS answer everywhere
    /// (RFC 8301 section 3.2).
    ///
    /// # Errors
    /// [`PrivateKeyError::Crypto`].
    pub fn generate_rsa() -> Result<Self, PrivateKeyError> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| PrivateKeyError::Crypto)?;
        Ok(Self(Kind::Rsa(Box::new(key))))
    }

    /// A new Ed25519 key.
    ///
    /// # Errors
    /// [`PrivateKeyError::Crypto`].
    pub fn generate_ed25519() -> Result<Self, PrivateKeyError> {
        let key = Ed25519KeyPair::generate().map_err(|_| PrivateKeyError::Crypto)?;
        Ok(Self(Kind::Ed25519(key)))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key that can be used.
    pub fn load(path: &Path) -> Result<Self, PrivateKeyError> {
        if std::fs::metadata(path)?.len() > FILE_MAX {
            return Err(PrivateKeyError::NoKey);
        }
        Self::parse(&std::fs::read(path)?)
    }

    /// Reads the content of a key file: PEM with PKCS#8 or PKCS#1, or a bare Ed25519 key as 32
    /// octets or their Base64.
    ///
    /// # Errors
    /// It holds no key that can be used.
    pub fn parse(file: &[u8]) -> Result<Self, PrivateKeyError> {
        if let Some(seed) = bare_seed(file) {
            let key = Ed25519KeyPair::from_seed_unchecked(&seed);
            let key = key.map_err(|error| PrivateKeyError::Rejected(error.to_string()))?;
            return Ok(Self(Kind::Ed25519(key)));
        }
        let text = std::str::from_utf8(file).map_err(|_| PrivateKeyError::NoKey)?;
        let rejected =
            |error: aws_lc_rs::error::KeyRejected| PrivateKeyError::Rejected(error.to_string());
        if let Some(der) = pem(text, "RSA PRIVATE KEY") {
            let key = RsaKeyPair::from_der(&der).map_err(rejected)?;
            return Ok(Self(Kind::Rsa(Box::new(key))));
        }
        let der = pem(text, "PRIVATE KEY").ok_or(PrivateKeyError::NoKey)?;
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Ok(Self(Kind::Ed25519(key)));
        }
        let key = RsaKeyPair::from_pkcs8(&der).map_err(rejected)?;
        Ok(Self(Kind::Rsa(Box::new(key))))
    }

    /// The content of a key file: PEM with PKCS#8, which OpenSSL and OpenDKIM read as well.
    ///
    /// # Errors
    /// [`PrivateKeyError::Crypto`].
    pub fn to_pem(&self) -> Result<String, PrivateKeyError> {
        let der: Pkcs8V1Der<'static> = match &self.0 {
            Kind::Rsa(key) => key.as_der(),
            Kind::Ed25519(key) => key.as_der(),
        }
        .map_err(|_| PrivateKeyError::Crypto)?;
        let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
        let encoded = STANDARD.encode_to_string(der.as_ref());
        for (at, letter) in encoded.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                text.push('\n');
            }
            text.push(letter);
        }
        text.push_str("\n-----END PRIVATE KEY-----\n");
        Ok(text)
    }

    /// The text of the TXT record that publishes the key (RFC 6376 section 3.6.1).
    ///
    /// # Errors
    /// [`PrivateKeyError::Crypto`].
    pub fn record(&self) -> Result<String, PrivateKeyError> {
        let (name, key) = match &self.0 {
            Kind::Rsa(_) => ("rsa", self.public_info()?),
            Kind::Ed25519(key) => ("ed25519", key.public_key().as_ref().to_vec()),
        };
        let key = STANDARD.encode_to_string(key);
        Ok(format!("v=DKIM1; k={name}; p={key}"))
    }

    /// The public key as SubjectPublicKeyInfo.
    pub(super) fn public_info(&self) -> Result<Vec<u8>, PrivateKeyError> {
        let info: PublicKeyX509Der<'static> = match &self.0 {
            Kind::Rsa(key) => key.public_key().as_der(),
            Kind::Ed25519(key) => key.public_key().as_der(),
        }
        .map_err(|_| PrivateKeyError::Crypto)?;
        Ok(info.as_ref().to_vec())
    }

    pub(super) fn key_type(&self) -> KeyType {
        match &self.0 {
            Kind::Rsa(_) => KeyType::Rsa,
            Kind::Ed25519(_) => KeyType::Ed25519,
        }
    }

    /// Signs what has this hash.
    pub(super) fn sign(&self, data_hash: &Digest) -> Result<Vec<u8>, PrivateKeyError> {
        match &self.0 {
            Kind::Rsa(key) => {
                let mut octets = vec![0; key.public_modulus_len()];
                key.sign_digest(&RSA_PKCS1_SHA256, data_hash, &mut octets)
                    .map_err(|_| PrivateKeyError::Crypto)?;
                Ok(octets)
            }
            // RFC 8463 section 3: the hash is the message that is signed.
            Kind::Ed25519(key) => match key.try_sign(data_hash.as_ref()) {
                Ok(octets) => Ok(octets.as_ref().to_vec()),
                Err(_) => Err(PrivateKeyError::Crypto),
            },
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PrivateKey({})", self.key_type())
    }
}

fn bare_seed(file: &[u8]) -> Option<Vec<u8>> {
    if file.len() == SEED {
        return Some(file.to_vec());
    }
    let decoded = STANDARD.decode_to_vec(file.trim_ascii()).ok()?;
    (decoded.len() == SEED).then_some(decoded)
}

/// What the first block of this label holds (RFC 7468).
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode_to_vec(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};

    fn same(key: &PrivateKey, file: &[u8]) {
        let read = PrivateKey::parse(file).unwrap();
        assert_eq!(read.record().unwrap(), key.record().unwrap());
        assert_eq!(read.key_type(), key.key_type());
    }

    #[test]
    fn what_is_written_is_read() {
        for key in [PrivateKey::generate_rsa(), PrivateKey::generate_ed25519()] {
            let key = key.unwrap();
            let text = key.to_pem().unwrap();
            assert!(text.lines().all(|line| line.len() <= 64));
            same(&key, text.as_bytes());
            same(&key, text.replace('\n', "\r\n").as_bytes());
            same(&key, format!("a comment\n{text}and more\n").as_bytes());
        }
    }

    #[test]
    fn the_older_form_of_rsa_keys() {
        let key = PrivateKey::generate_rsa().unwrap();
        let der = pem(&key.to_pem().unwrap(), "PRIVATE KEY").unwrap();
        // In PKCS#8 a key of 2048 bits has 26 octets before the RSAPrivateKey.
        let inner = STANDARD.encode_to_string(&der[26..]);
        let (begin, end) = (
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----END RSA PRIVATE KEY-----",
        );
        same(&key, format!("{begin}\n{inner}\n{end}\n").as_bytes());
    }

    #[test]
    fn a_bare_ed25519_key() {
        let seed = [7; SEED];
        let key = PrivateKey::parse(&seed).unwrap();
        assert_eq!(key.key_type(), KeyType::Ed25519);
        same(
            &key,
            format!("{}\n", STANDARD.encode_to_string(seed)).as_bytes(),
        );
        let hash = digest(&SHA256, b"");
        assert_eq!(key.sign(&hash).unwrap().len(), 64);
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = PrivateKey::generate_ed25519().unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(ed25519)");
    }
}
