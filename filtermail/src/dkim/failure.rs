//! Why a signature is not valid.

use std::fmt;

/// Why a signature is not valid. Its `Display` is a short name for replies, logs and metrics, for
/// example `wrong-body`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DkimFailure {
    /// The field's tags break the grammar, or one that must be there is missing.
    Syntax,
    /// A version, algorithm, canonicalization or query method that we do not know; SHA-1
    /// (RFC 8301 section 3.1).
    Unsupported,
    /// `x=` has passed.
    Expired,
    /// `t=` is ahead of our clock.
    FromTheFuture,
    /// Not every `From` field is signed.
    FromNotCovered,
    /// `l=` leaves some of the body unsigned.
    BodyNotCovered,
    /// The body was changed: `bh=` is of another one.
    WrongBody,
    /// The signature is not one of these header fields by this key.
    WrongSignature,
    /// DNS has no record at `SELECTOR._domainkey.DOMAIN`.
    KeyMissing,
    /// The record's `p=` is empty (RFC 6376 section 3.6.1).
    KeyRevoked,
    /// An RSA key of less than 1024 bits (RFC 8301 section 3.2).
    KeyTooShort,
    /// The record is malformed, or its key is not for signatures such as this one.
    KeyUnusable,
    /// DNS did not answer in time. Temporary.
    DnsTimeout,
    /// DNS answered with a failure, or cannot be reached. Temporary.
    DnsFailure,
}

impl DkimFailure {
    /// Whether the same message may pass later, with nothing changed in it or in DNS.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::DnsTimeout | Self::DnsFailure)
    }

    /// What is wrong, for humans: a clause of which the signature is the subject.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Syntax => "its tags break the grammar",
            Self::Unsupported => "it is of a kind that is not supported",
            Self::Expired => "it has expired",
            Self::FromTheFuture => "it was made in the future",
            Self::FromNotCovered => "it does not cover each From",
            Self::BodyNotCovered => "it covers a part of the body only",
            Self::WrongBody => "the body is not the one that was signed",
            Self::WrongSignature => "it is not of these header fields by this key",
            Self::KeyMissing => "there is no key in DNS",
            Self::KeyRevoked => "the key in DNS is revoked",
            Self::KeyTooShort => "the key in DNS is too short",
            Self::KeyUnusable => "the record in DNS holds no key for such signatures",
            Self::DnsTimeout => "DNS did not answer in time",
            Self::DnsFailure => "DNS failed",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Unsupported => "unsupported",
            Self::Expired => "expired",
            Self::FromTheFuture => "from-the-future",
            Self::FromNotCovered => "from-not-covered",
            Self::BodyNotCovered => "body-not-covered",
            Self::WrongBody => "wrong-body",
            Self::WrongSignature => "wrong-signature",
            Self::KeyMissing => "key-missing",
            Self::KeyRevoked => "key-revoked",
            Self::KeyTooShort => "key-too-short",
            Self::KeyUnusable => "key-unusable",
            Self::DnsTimeout => "dns-timeout",
            Self::DnsFailure => "dns-failure",
        }
    }
}

impl fmt::Display for DkimFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
