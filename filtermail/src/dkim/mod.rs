//! DKIM (RFC 6376, RFC 8301, RFC 8463): whether the author's domain signed a message, and signing
//! our own.
//!
//! - [`Verification`]: one incoming message, a push parser; the keys it needs come from a [`KeyCache`]
//! - [`Signer`] and [`Signing`]: the signatures of an outgoing message, by each [`PrivateKey`]
//! - [`command`]: `filtermail dkim`
//!
//! Tag lists are read by viadkim. Hashing, canonicalizing and choosing fields are our own, since
//! they must be streaming, linear in the message's size and without a way to panic; the
//! cryptography is aws-lc's, several times as fast.

mod body_hash;
pub mod command;
mod failure;
mod headers;
mod key_cache;
mod private_key;
mod public_key;
mod signature;
mod signer;
mod signing;
mod verification;

use std::time::{SystemTime, UNIX_EPOCH};

pub use failure::DkimFailure;
pub use key_cache::{KeyCache, KeyCacheError};
pub use private_key::{PrivateKey, PrivateKeyError};
pub use public_key::PublicKey;
pub use signer::{Signer, SignerError};
pub use signing::{Signing, SigningError};
pub use verification::{DkimVerdict, Verification};

/// Seconds since 1970, as signatures tell time.
fn now() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |duration| duration.as_secs())
}

/// Where a key is in DNS (RFC 6376 section 3.6.2.1), without the final dot.
fn record_name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}").to_ascii_lowercase()
}
