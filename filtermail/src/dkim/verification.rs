//! The verification of one message.

use std::fmt;

use chatmail::Domain;

use super::KeyCache;

/// Whether the author's domain signed a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DkimVerdict {
    /// A signature of the author's domain is valid.
    Valid,
    /// There is no signature, or none of the author's domain.
    Missing,
    /// No signature of the author's domain is valid; why the first of them is not.
    Invalid(DkimFailure),
    /// No signature of the author's domain is valid, but one could be: its key cannot be had now.
    Temporary(DkimFailure),
    /// The header section is larger than we keep.
    TooLarge,
}

/// Why a signature is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DkimFailure {
    /// DNS does not answer.
    Timeout,
}

impl fmt::Display for DkimFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("dns-timeout")
    }
}

/// One message on its way in.
#[derive(Debug, Default)]
pub struct Verification;

impl Verification {
    /// Begins a message.
    pub fn new() -> Self {
        Self
    }

    /// One header field, its value with the white space that follows the colon; LF or CRLF before
    /// continuation lines.
    pub fn header(&mut self, _name: &[u8], _value: &[u8]) {}

    /// The header section is over. Picks the signatures of the author's domain and begins to look
    /// up their keys, without waiting for them; must be called within a tokio runtime.
    pub fn end_of_headers(&mut self, _author: Option<&Domain>, _keys: &KeyCache) {}

    /// A piece of the body, lines ending in CRLF.
    pub fn body(&mut self, _chunk: &[u8]) {}

    /// The verdict; waits for the keys.
    pub async fn finish(self) -> DkimVerdict {
        DkimVerdict::Temporary(DkimFailure::Timeout)
    }
}
