//! DKIM (RFC 6376, RFC 8301, RFC 8463): whether the author's domain signed a message, and signing
//! our own.
//!
//! - [`Verification`]: one incoming message, a push parser; the keys it needs come from a [`KeyCache`]
//! - [`Signer`] and [`Signing`]: the signature of an outgoing message

mod key_cache;
mod signer;
mod verification;

pub use key_cache::{KeyCache, KeyCacheError};
pub use signer::{Signer, SignerError, Signing, SigningError};
pub use verification::{DkimFailure, DkimVerdict, Verification};
