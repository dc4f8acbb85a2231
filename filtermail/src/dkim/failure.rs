//! Why a signature is not valid.

/// Why a signature is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DkimFailure {
    /// The field's tags break the grammar, or one that must be there is missing.
    #[error("the signature is malformed")]
    Syntax,
    /// A version, algorithm, canonicalization or query method that we do not know; SHA-1
    /// (RFC 8301 section 3.1).
    #[error("the signature is of a kind that is not supported")]
    Unsupported,
    /// `x=` has passed.
    #[error("the signature has expired")]
    Expired,
    /// `t=` is ahead of our clock.
    #[error("the signature was made in the future")]
    FromTheFuture,
    /// Not every `From` field is signed.
    #[error("the signature does not cover From")]
    FromNotCovered,
    /// `l=` leaves some of the body unsigned.
    #[error("the signature covers a part of the body only")]
    BodyNotCovered,
    /// The body was changed: `bh=` is of another one.
    #[error("the body is not the one that was signed")]
    WrongBody,
    /// The signature is not one of these header fields by this key.
    #[error("the signature is wrong")]
    WrongSignature,
    /// DNS has no record at `SELECTOR._domainkey.DOMAIN`.
    #[error("there is no key in DNS")]
    KeyMissing,
    /// The record's `p=` is empty (RFC 6376 section 3.6.1).
    #[error("the key in DNS is revoked")]
    KeyRevoked,
    /// An RSA key of less than 1024 bits (RFC 8301 section 3.2).
    #[error("the key in DNS is too short")]
    KeyTooShort,
    /// The record is malformed, or its key is not for signatures such as this one.
    #[error("the key in DNS cannot be used for this signature")]
    KeyUnusable,
    /// DNS did not answer in time. Temporary.
    #[error("DNS did not answer in time")]
    DnsTimeout,
    /// DNS answered with a failure, or cannot be reached. Temporary.
    #[error("DNS failed")]
    DnsFailure,
}

impl DkimFailure {
    /// Whether the same message may pass later, with nothing changed in it or in DNS.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::DnsTimeout | Self::DnsFailure)
    }

    /// A short name for logs and metrics, for example `dkim-wrong-body`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "dkim-syntax",
            Self::Unsupported => "dkim-unsupported",
            Self::Expired => "dkim-expired",
            Self::FromTheFuture => "dkim-from-the-future",
            Self::FromNotCovered => "dkim-from-not-covered",
            Self::BodyNotCovered => "dkim-body-not-covered",
            Self::WrongBody => "dkim-wrong-body",
            Self::WrongSignature => "dkim-wrong-signature",
            Self::KeyMissing => "dkim-key-missing",
            Self::KeyRevoked => "dkim-key-revoked",
            Self::KeyTooShort => "dkim-key-too-short",
            Self::KeyUnusable => "dkim-key-unusable",
            Self::DnsTimeout => "dkim-dns-timeout",
            Self::DnsFailure => "dkim-dns-failure",
        }
    }
}
