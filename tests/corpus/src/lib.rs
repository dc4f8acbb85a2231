//! Two collections of messages, made by code so that a reader can see what each does and add more.
//!
//! [`tricks`] try to bring readable text past the gate, or a From header that two programs read
//! differently. Each is named after what it plays, says why a parser could fall for it, and names
//! the rule that stops it. [`honest`] messages are shaped as mail programs shape encrypted mail, and
//! pass.
//!
//! Most tricks change one thing in a message that passes ([`message::good`]), so that nothing else
//! can be the reason for the refusal. Cipher text is by rPGP where real keys matter ([`openpgp`]),
//! else random octets in packets made by hand ([`packets`]), since the gate cannot tell the two.
//! All texts, names and keys were made for this purpose.

#![allow(
    clippy::expect_used,
    reason = "a message that cannot be built is a mistake in this crate, and every test shall say so"
)]

pub mod message;
pub mod openpgp;
pub mod packets;

mod honest;
mod trick;
mod tricks;

use std::io;
use std::path::Path;

pub use honest::{Honest, honest};
pub use trick::Trick;
pub use tricks::tricks;

/// Whom all messages are from. Tests that need another author use `message_from`.
pub const AUTHOR: &str = "alice@example.org";

/// Writes every message to a file in `directory`, named as the message is. Returns how many.
///
/// # Errors
/// A file cannot be written.
pub fn write_seeds(directory: &Path) -> io::Result<usize> {
    let tricks = tricks()
        .into_iter()
        .map(|trick| (trick.name, trick.message()));
    let honest = honest()
        .into_iter()
        .map(|honest| (honest.name, honest.message()));
    let mut count = 0;
    for (name, message) in tricks.chain(honest) {
        std::fs::write(directory.join(name), message)?;
        count += 1;
    }
    Ok(count)
}

/// The message with another address wherever [`AUTHOR`] stands.
fn from_another(message: &[u8], author: &str) -> Vec<u8> {
    let (local, domain) = AUTHOR.split_once('@').unwrap_or_default();
    let mut changed: Vec<u8> = Vec::with_capacity(message.len());
    // Between two at signs there may be a domain and a local part.
    for (number, piece) in message.split(|&octet| octet == b'@').enumerate() {
        let ours = number > 0
            && changed.ends_with(local.as_bytes())
            && piece.starts_with(domain.as_bytes());
        if ours {
            changed.truncate(changed.len() - local.len());
            changed.extend_from_slice(author.as_bytes());
            changed.extend_from_slice(piece.split_at(domain.len()).1);
        } else {
            if number > 0 {
                changed.push(b'@');
            }
            changed.extend_from_slice(piece);
        }
    }
    changed
}
