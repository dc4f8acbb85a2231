//! The verification of one message (RFC 6376 section 6).
//!
//! Only signatures of the author's own domain count; all others cost no more than a look at their
//! `d=`. What can be known without the key is found out first, and a key is asked for only when it
//! can decide something.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::Digest;
use chatmail::Domain;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use viadkim::signature::{CanonicalizationAlgorithm, DkimSignature};

use super::body_hash::BodyHash;
use super::headers::{Field, Headers, Selection};
use super::{DkimFailure, KeyCache, PublicKey, record_name, signature};

/// The most signatures of a message that are verified, from the top.
const SIGNATURES_MAX: usize = 10;

/// The most keys that a message has us ask for.
const KEYS_MAX: usize = 3;

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
    /// The header section is larger than we keep: 256 KiB.
    TooLarge,
}

/// One message on its way in.
#[derive(Default)]
pub struct Verification {
    headers: Headers,
    candidates: Vec<Candidate>,
    lookups: Vec<Lookup>,
    bodies: Bodies,
    /// Why those that are no candidates are not.
    failure: Option<DkimFailure>,
    too_large: bool,
}

/// A signature that body and key can still prove.
struct Candidate {
    signature: DkimSignature,
    data_hash: Digest,
    /// Which of the lookups is for its key.
    lookup: usize,
}

/// A key on its way here. Ends with the message.
struct Lookup {
    name: String,
    task: JoinHandle<Found>,
    found: Option<Found>,
}

type Found = Result<Arc<[PublicKey]>, DkimFailure>;

/// The body's hash, in the forms that are asked for.
#[derive(Default)]
struct Bodies {
    simple: Option<BodyHash>,
    relaxed: Option<BodyHash>,
}

/// The hash of a canonical body, and its length.
type Hashed = (Digest, u64);

impl Verification {
    /// Begins a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// One header field, its value with the white space that follows the colon; LF or CRLF before
    /// continuation lines.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        self.headers.push(name, value);
    }

    /// The header section is over. Picks the signatures of the author's domain and begins to look
    /// up their keys, without waiting for them.
    ///
    /// `author` is the domain of the one mailbox in `From`; without it, or when it is an address
    /// literal, nothing can be signed in its name. Belongs within a tokio runtime.
    pub fn end_of_headers(&mut self, author: Option<&Domain>, keys: &KeyCache) {
        let headers = std::mem::take(&mut self.headers);
        self.too_large = headers.too_large();
        let Some(author) = author.filter(|author| author.ip().is_none()) else {
            return;
        };
        let signatures = self.signatures(&headers, author);
        if signatures.is_empty() {
            return;
        }
        let selection = Selection::new(headers.fields());
        for (field, signature) in signatures {
            let Some(lookup) = self.look_up(&signature, keys) else {
                continue;
            };
            self.bodies.want(signature.canonicalization.body);
            self.candidates.push(Candidate {
                data_hash: signature::data_hash(&signature, field, &selection),
                signature,
                lookup,
            });
        }
    }

    /// The author's signatures that body and key can still prove, with their fields.
    fn signatures<'h>(
        &mut self,
        headers: &'h Headers,
        author: &Domain,
    ) -> Vec<(&'h Field<'h>, DkimSignature)> {
        let now = super::now();
        let froms = headers.fields().iter().filter(|field| field.is("From"));
        let froms = froms.count();
        let mut signatures = Vec::new();
        for field in headers.fields() {
            let Some(read) = signature::of_domain(field, author) else {
                continue;
            };
            let checked = read.and_then(|signature| {
                signature::check(&signature, froms, now)?;
                Ok(signature)
            });
            match checked {
                Ok(signature) => signatures.push((field, signature)),
                Err(failure) => self.failure = self.failure.or(Some(failure)),
            }
            if signatures.len() == SIGNATURES_MAX {
                break;
            }
        }
        signatures
    }

    /// Begins to look up a signature's key, or finds the lookup that does; `None` when that would
    /// be one too many.
    fn look_up(&mut self, signature: &DkimSignature, keys: &KeyCache) -> Option<usize> {
        let (selector, domain) = (signature.selector.to_ascii(), signature.domain.to_ascii());
        let name = record_name(&selector, &domain);
        let known = self.lookups.iter().position(|lookup| lookup.name == name);
        if known.is_some() {
            return known;
        }
        if self.lookups.len() == KEYS_MAX {
            return None;
        }
        let Ok(runtime) = Handle::try_current() else {
            self.failure = self.failure.or(Some(DkimFailure::DnsFailure));
            return None;
        };
        let (keys, wanted) = (keys.clone(), name.clone());
        self.lookups.push(Lookup {
            name,
            task: runtime.spawn(async move { keys.keys(wanted).await }),
            found: None,
        });
        Some(self.lookups.len() - 1)
    }

    /// A piece of the body, lines ending in CRLF.
    pub fn body(&mut self, chunk: &[u8]) {
        self.bodies.update(chunk);
    }

    /// The verdict; waits for keys that decide, ten seconds at most.
    pub async fn finish(mut self) -> DkimVerdict {
        if self.too_large {
            return DkimVerdict::TooLarge;
        }
        let candidates = std::mem::take(&mut self.candidates);
        let bodies = std::mem::take(&mut self.bodies).finish();
        let mut temporary = self.failure.filter(|failure| failure.is_temporary());
        for candidate in candidates {
            let failure = match self.verify(candidate, &bodies).await {
                Ok(()) => return DkimVerdict::Valid,
                Err(failure) => failure,
            };
            if failure.is_temporary() {
                temporary = temporary.or(Some(failure));
            }
            self.failure = self.failure.or(Some(failure));
        }
        match (temporary, self.failure) {
            (Some(failure), _) => DkimVerdict::Temporary(failure),
            (None, Some(failure)) => DkimVerdict::Invalid(failure),
            (None, None) => DkimVerdict::Missing,
        }
    }

    async fn verify(
        &mut self,
        candidate: Candidate,
        bodies: &[Option<Hashed>; 2],
    ) -> Result<(), DkimFailure> {
        let Candidate {
            signature,
            data_hash,
            lookup,
        } = candidate;
        check_body(&signature, bodies)?;
        let lookup = self.lookups.get_mut(lookup);
        let keys = lookup.ok_or(DkimFailure::DnsFailure)?.wait().await?;
        let mut result = Err(DkimFailure::KeyMissing);
        for key in keys.iter() {
            result = key.verify(&signature, &data_hash);
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

impl fmt::Debug for Verification {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("Verification");
        shown.field("candidates", &self.candidates.len());
        shown.finish_non_exhaustive()
    }
}

/// Whether the body is the one that was signed, all of it.
fn check_body(
    signature: &DkimSignature,
    [simple, relaxed]: &[Option<Hashed>; 2],
) -> Result<(), DkimFailure> {
    let hashed = match signature.canonicalization.body {
        CanonicalizationAlgorithm::Simple => simple,
        CanonicalizationAlgorithm::Relaxed => relaxed,
    };
    let (hash, length) = hashed.as_ref().ok_or(DkimFailure::WrongBody)?;
    // What lies beyond l= is anybody's (RFC 6376 section 8.2).
    match signature.body_length {
        Some(covered) if covered < *length => return Err(DkimFailure::BodyNotCovered),
        Some(covered) if covered > *length => return Err(DkimFailure::WrongBody),
        _ => {}
    }
    if *signature.body_hash != *hash.as_ref() {
        return Err(DkimFailure::WrongBody);
    }
    Ok(())
}

impl Bodies {
    fn want(&mut self, algorithm: CanonicalizationAlgorithm) {
        let hash = match algorithm {
            CanonicalizationAlgorithm::Simple => &mut self.simple,
            CanonicalizationAlgorithm::Relaxed => &mut self.relaxed,
        };
        hash.get_or_insert_with(|| BodyHash::new(algorithm));
    }

    fn update(&mut self, chunk: &[u8]) {
        for hash in [&mut self.simple, &mut self.relaxed].into_iter().flatten() {
            hash.update(chunk);
        }
    }

    fn finish(self) -> [Option<Hashed>; 2] {
        [self.simple, self.relaxed].map(|hash| hash.map(BodyHash::finish))
    }
}

impl Lookup {
    async fn wait(&mut self) -> Found {
        if let Some(found) = &self.found {
            return found.clone();
        }
        // A task that panicked has found nothing; whoever sends may try again.
        let found = (&mut self.task).await;
        let found = found.unwrap_or(Err(DkimFailure::DnsFailure));
        self.found.insert(found).clone()
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.task.abort();
    }
}
