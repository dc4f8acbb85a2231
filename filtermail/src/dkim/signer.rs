//! Signing.

use chatmail::Config;

use crate::session::Edit;

/// The private keys; clones share them.
#[derive(Clone, Debug)]
pub struct Signer;

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {}

/// Why a message cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The header section is larger than we keep.
    #[error("the header section is too large to sign")]
    TooLarge,
}

impl Signer {
    /// Reads the keys of `dkim_selectors` from `dkim_keys_dir`; `None` when mail leaves unsigned.
    ///
    /// # Errors
    /// A file cannot be read or holds no key that can be used.
    pub fn load(_config: &Config) -> Result<Option<Self>, SignerError> {
        Ok(None)
    }

    /// Begins a message.
    pub fn begin(&self) -> Signing {
        Signing
    }
}

/// One message on its way out.
#[derive(Debug)]
pub struct Signing;

impl Signing {
    /// One header field, as [`Session::header`](crate::session::Session::header) has it.
    pub fn header(&mut self, _name: &[u8], _value: &[u8]) {}

    /// A piece of the body, lines ending in CRLF.
    pub fn body(&mut self, _chunk: &[u8]) {}

    /// The signatures to insert, over the message as it will be after `edits`.
    ///
    /// # Errors
    /// The header section is too large.
    pub fn finish(self, _edits: &[Edit]) -> Result<Vec<Edit>, SigningError> {
        Ok(Vec::new())
    }
}
