//! A public key as DNS has it (RFC 6376 section 3.6.1, RFC 8463 section 4).

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ED25519, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RsaParameters,
};
use viadkim::crypto::KeyType;
use viadkim::record::{DkimKeyRecord, SelectorFlag};
use viadkim::signature::DkimSignature;
use viadkim::tag_list::TagList;

use super::DkimFailure;

/// The largest record, in octets, that is looked at. A record with an RSA key of 8192 bits takes
/// 1.5 KiB.
const RECORD_MAX: usize = 16 << 10;

/// The shortest RSA modulus in bits (RFC 8301 section 3.2).
const MODULUS_MIN: u32 = 1024;

/// A parsed key record whose key can be used.
#[derive(Debug)]
pub struct PublicKey {
    key: ParsedPublicKey,
    key_type: KeyType,
    /// The record's `t=s`: the identity `i=` must be of the very domain.
    no_subdomains: bool,
}

impl PublicKey {
    /// Reads the text of a TXT record, its strings joined.
    ///
    /// `v=` may be missing; an RSA key may be a SubjectPublicKeyInfo or a bare RSAPublicKey
    /// (PKCS#1); white space in it does not count.
    ///
    /// # Errors
    /// [`DkimFailure::KeyRevoked`], [`DkimFailure::KeyTooShort`], or [`DkimFailure::KeyUnusable`] for
    /// all else that keeps it from verifying SHA-256 signatures of mail.
    pub fn from_record(record: &[u8]) -> Result<Self, DkimFailure> {
        if record.len() > RECORD_MAX {
            return Err(DkimFailure::KeyUnusable);
        }
        // Zone files and web forms let white space slip in that tag lists do not know: line ends
        // alone, form feeds, and anything after the last semicolon.
        let text = std::str::from_utf8(record).map_err(|_| DkimFailure::KeyUnusable)?;
        let text = text.replace(|c: char| c.is_ascii_whitespace(), " ");
        let tags = TagList::from_str(text.trim_ascii()).map_err(|_| DkimFailure::KeyUnusable)?;
        let record = DkimKeyRecord::from_tag_list(&tags).map_err(|_| DkimFailure::KeyUnusable)?;
        if record.key_data.is_empty() {
            return Err(DkimFailure::KeyRevoked);
        }
        let key = match record.key_type {
            KeyType::Rsa => rsa_key(&record.key_data)?,
            KeyType::Ed25519 => ParsedPublicKey::new(&ED25519, &record.key_data)
                .map_err(|_| DkimFailure::KeyUnusable)?,
        };
        Ok(Self {
            key,
            key_type: record.key_type,
            no_subdomains: record.flags.contains(&SelectorFlag::NoSubdomains),
        })
    }

    /// Whether the key made this signature of a data hash.
    ///
    /// # Errors
    /// The signature is wrong, or is not one that this key may make.
    pub(super) fn verify(
        &self,
        signature: &DkimSignature,
        data_hash: &Digest,
    ) -> Result<(), DkimFailure> {
        if signature.algorithm.key_type() != self.key_type {
            return Err(DkimFailure::KeyUnusable);
        }
        let identity = signature.identity.as_ref();
        if self.no_subdomains && identity.is_some_and(|i| i.domain != signature.domain) {
            return Err(DkimFailure::KeyUnusable);
        }
        let octets = &signature.signature_data;
        let verified = match self.key_type {
            KeyType::Rsa => self.key.verify_digest_sig(data_hash, octets),
            // RFC 8463 section 3: the hash is the message that is signed.
            KeyType::Ed25519 => self.key.verify_sig(data_hash.as_ref(), octets),
        };
        verified.map_err(|_| DkimFailure::WrongSignature)
    }

    /// Octets that the record held, for accounting.
    pub(super) fn size(&self) -> usize {
        self.key.as_ref().len()
    }

    /// Whether this is the public part of a private key, given as SubjectPublicKeyInfo.
    pub(super) fn is(&self, key_type: KeyType, info: &[u8]) -> bool {
        self.key_type == key_type && self.key.as_der().is_ok_and(|own| own.as_ref() == info)
    }
}

fn rsa_key(octets: &[u8]) -> Result<ParsedPublicKey, DkimFailure> {
    let key = ParsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, octets)
        .map_err(|_| DkimFailure::KeyUnusable)?;
    let bits = rsa::PublicKey::from_der(octets)
        .ok()
        .and_then(|key| RsaParameters::public_modulus_len(key.as_ref()).ok());
    match bits {
        Some(MODULUS_MIN..) => Ok(key),
        Some(_) => Err(DkimFailure::KeyTooShort),
        None => Err(DkimFailure::KeyUnusable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::nowhere("")]
    #[case::line_end("\r\n")]
    #[case::carriage_return("\r")]
    #[case::form_feed("\r\x0c\r")]
    fn white_space_means_nothing_wherever_it_stands(#[case] space: &str) {
        let key = "f3EzvOKwz3VvFcs0wxnogJTg3RiQIpJQG+1MrrcFSC0=";
        let record = format!("{space}v=DKIM1;{space} k=ed25519; p={key}{space}");
        assert!(PublicKey::from_record(record.as_bytes()).is_ok());
    }
}
