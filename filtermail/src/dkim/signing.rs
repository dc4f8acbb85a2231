//! The signatures of one outgoing message (RFC 6376 section 5), as classic relays make them.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::Context;
use base64_simd::STANDARD;
use viadkim::crypto::KeyType;
use viadkim::signature::CanonicalizationAlgorithm;

use super::body_hash::BodyHash;
use super::headers::{Field, Headers, Selection, hash_field};
use super::signature::FIELD_NAME;
use super::signer::{Keys, NamedKey};
use crate::session::Edit;

/// The fields that are signed wherever they stand: those of RFC 6376 section 5.4.1 that OpenDKIM
/// takes by default. One more of each than there are is signed as well, so that none can be added.
const OVERSIGNED: [&str; 21] = [
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "To",
    "Cc",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "In-Reply-To",
    "References",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "Autocrypt",
];

/// Signed where it stands, without one more.
const SIGNED: [&str; 1] = ["Content-Type"];

/// The most fields that are signed in one message. Real ones have a dozen.
const SIGNED_FIELDS_MAX: usize = 500;

/// Where lines of the signature are folded, in octets (RFC 5322 section 2.1.1).
const LINE: usize = 76;

/// One message on its way out.
pub struct Signing {
    keys: Arc<Keys>,
    headers: Headers,
    body: BodyHash,
}

/// Why a message cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The header section has more than 256 KiB, or more fields to sign than any real one.
    #[error("the header section is too large to sign")]
    TooLarge,
    /// The cryptographic library failed.
    #[error("the signature could not be made")]
    Crypto,
}

impl Signing {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            headers: Headers::default(),
            body: BodyHash::new(CanonicalizationAlgorithm::Simple),
        }
    }

    /// One header field, as [`Session::header`](crate::session::Session::header) has it.
    pub fn header(&mut self, name: &[u8], value: &[u8]) {
        self.headers.push(name, value);
    }

    /// A piece of the body, lines ending in CRLF.
    pub fn body(&mut self, chunk: &[u8]) {
        self.body.update(chunk);
    }

    /// The signatures to insert, over the message as it will be after `edits`.
    ///
    /// # Errors
    /// The header section is too large, or the cryptographic library fails.
    pub fn finish(self, edits: &[Edit]) -> Result<Vec<Edit>, SigningError> {
        if self.headers.too_large() {
            return Err(SigningError::TooLarge);
        }
        let fields = self.headers.edited(edits);
        let names = signed_names(&fields);
        if names.len() > SIGNED_FIELDS_MAX {
            return Err(SigningError::TooLarge);
        }
        let relaxed = CanonicalizationAlgorithm::Relaxed;
        let context = Selection::new(&fields).hash(names.iter().copied(), relaxed);
        let now = super::now();
        let (body_hash, _) = self.body.finish();
        let body_hash = STANDARD.encode_to_string(body_hash);
        // Each is inserted before all other fields: the last here is the first there.
        let keys = self.keys.keys.iter().rev();
        keys.map(|key| {
            let unsigned = tags(key, &self.keys.domain, now, &names, &body_hash);
            sign(key, unsigned, context.clone())
        })
        .collect()
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Signing").finish_non_exhaustive()
    }
}

/// What `h=` names: the fields there are in their order, then those that must not be added.
fn signed_names(fields: &[Field<'_>]) -> Vec<&'static str> {
    let known = |field: &Field<'_>| {
        let mut all = OVERSIGNED.into_iter().chain(SIGNED);
        all.find(|name| field.is(name))
    };
    fields.iter().filter_map(known).chain(OVERSIGNED).collect()
}

/// The tag list with nothing after `b=`.
fn tags(key: &NamedKey, domain: &str, now: u64, names: &[&str], body_hash: &str) -> Folder {
    let algorithm = match key.key.key_type() {
        KeyType::Rsa => "rsa-sha256",
        KeyType::Ed25519 => "ed25519-sha256",
    };
    let selector = &key.selector;
    let mut folder = Folder::default();
    folder.word("v=1;");
    folder.word(&format!("a={algorithm};"));
    folder.word("c=relaxed/simple;");
    folder.word(&format!("d={domain};"));
    folder.word(&format!("s={selector};"));
    folder.word(&format!("t={now};"));
    for (at, name) in names.iter().enumerate() {
        let before = if at == 0 { "h=" } else { "" };
        let after = if at + 1 == names.len() { ";" } else { ":" };
        let piece = format!("{before}{name}{after}");
        if at == 0 {
            folder.word(&piece);
        } else {
            folder.piece(&piece);
        }
    }
    folder.word(&format!("bh={body_hash};"));
    folder.word("b=");
    folder
}

fn sign(key: &NamedKey, mut tags: Folder, mut context: Context) -> Result<Edit, SigningError> {
    // Neither folding nor what stands in front of the value matters to the relaxed form.
    let relaxed = CanonicalizationAlgorithm::Relaxed;
    hash_field(
        &mut context,
        relaxed,
        FIELD_NAME.as_bytes(),
        tags.text.as_bytes(),
    );
    let signature = key.key.sign(&context.finish());
    let signature = STANDARD.encode_to_string(signature.map_err(|_| SigningError::Crypto)?);
    for letter in signature.chars() {
        tags.piece(letter.encode_utf8(&mut [0; 4]));
    }
    let (name, value) = (FIELD_NAME.to_owned(), tags.text);
    Ok(Edit::Insert { name, value })
}

/// Puts words on lines of [`LINE`] octets, where they fit.
#[derive(Default)]
struct Folder {
    text: String,
    line: usize,
}

impl Folder {
    /// A word that follows the last one after white space.
    fn word(&mut self, word: &str) {
        if self.text.is_empty() {
            // The field's name and its colon stand before it.
            self.line = FIELD_NAME.len() + 2;
        } else if self.line + 1 + word.len() > LINE {
            self.fold();
        } else {
            self.text.push(' ');
            self.line += 1;
        }
        self.push(word);
    }

    /// A piece that follows the last one, at once or on a new line.
    fn piece(&mut self, piece: &str) {
        if self.line + piece.len() > LINE {
            self.fold();
        }
        self.push(piece);
    }

    fn fold(&mut self) {
        self.text.push_str("\n\t");
        self.line = 8;
    }

    fn push(&mut self, word: &str) {
        self.text.push_str(word);
        self.line += word.len();
    }
}
