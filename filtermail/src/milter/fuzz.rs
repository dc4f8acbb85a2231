//! For fuzz targets: what is private otherwise.

use super::conversation::Conversation;
use super::wire::Malformed;
use crate::session::Session;

/// What a connection answers when the MTA's stream comes in these pieces, and how it ends.
pub fn converse<S: Session>(session: S, pieces: &[&[u8]]) -> (Vec<u8>, Result<(), Malformed>) {
    let mut conversation = Conversation::new(session);
    let mut answers = Vec::new();
    for piece in pieces {
        if let Err(malformed) = conversation.take(piece, &mut answers) {
            return (answers, Err(malformed));
        }
        if !conversation.message_under_way() {
            conversation.rest();
        }
    }
    (answers, Ok(()))
}
