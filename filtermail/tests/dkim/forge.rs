//! Signatures as another signer might make them: any tags, hashed by viadkim's code.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64_simd::STANDARD;
use viadkim::canonicalize::BodyCanonicalizer;
use viadkim::crypto::HashAlgorithm;
use viadkim::header::FieldName;
use viadkim::message_hash::compute_data_hash;
use viadkim::signature::{Canonicalization, CanonicalizationAlgorithm};

use crate::message::Message;
use crate::oracle;

/// An RSA key that signs whatever it is told to.
pub struct Forge {
    key: KeyPair,
}

impl Forge {
    /// Takes a key in PEM with PKCS#8.
    pub fn new(pem: &str) -> Self {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode_to_vec(body).unwrap();
        Self {
            key: KeyPair::from_pkcs8(&der).unwrap(),
        }
    }

    /// The message with a signature of `chat.example` by the key `rsa`; `tags` are `h=`, perhaps
    /// `c=`, and whatever a test wants. `bh=` and `b=` are added.
    pub fn sign(&self, message: &Message, tags: &str) -> Message {
        let common = "v=1; a=rsa-sha256; d=chat.example; s=rsa";
        self.sign_as(message, &format!("{common}; {tags}"))
    }

    /// As [`Forge::sign`], without tags of its own but `bh=` and `b=`.
    pub fn sign_as(&self, message: &Message, tags: &str) -> Message {
        let algorithms = canonicalization(tags);
        let body_hash = body_hash(&message.body, algorithms.body, tag(tags, "l"));
        let unsigned = format!(" {tags}; bh={body_hash}; b=");
        let names: Vec<FieldName> = tag(tags, "h")
            .unwrap()
            .split(':')
            .map(|name| FieldName::new(name.trim()).unwrap())
            .collect();
        let hash = compute_data_hash(
            HashAlgorithm::Sha256,
            algorithms.header,
            &oracle::fields(message),
            &names,
            "DKIM-Signature",
            &String::from_utf8(Message::wire_value(unsigned.as_bytes())).unwrap(),
        );
        let hash = Digest::import_less_safe(&hash, &SHA256).unwrap();
        let mut octets = vec![0; self.key.public_modulus_len()];
        let signed = self.key.sign_digest(&RSA_PKCS1_SHA256, &hash, &mut octets);
        signed.unwrap();
        let signature = STANDARD.encode_to_string(octets);
        message
            .clone()
            .with("DKIM-Signature", &format!("{unsigned}{signature}"))
    }
}

fn tag<'a>(tags: &'a str, name: &str) -> Option<&'a str> {
    let specs = tags.split(';').filter_map(|spec| spec.split_once('='));
    let mut values = specs.filter(|(found, _)| found.trim() == name);
    values.next().map(|(_, value)| value.trim())
}

fn canonicalization(tags: &str) -> Canonicalization {
    tag(tags, "c").map_or_else(Canonicalization::default, |c| c.parse().unwrap())
}

fn body_hash(body: &[u8], algorithm: CanonicalizationAlgorithm, limit: Option<&str>) -> String {
    let mut canonicalizer = BodyCanonicalizer::new(algorithm);
    let mut canonical = canonicalizer.canonicalize_chunk(body).into_owned();
    canonical.extend_from_slice(&canonicalizer.finish());
    if let Some(limit) = limit {
        canonical.truncate(limit.parse().unwrap());
    }
    let hash = aws_lc_rs::digest::digest(&SHA256, &canonical);
    STANDARD.encode_to_string(hash)
}
