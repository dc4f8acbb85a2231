//! For fuzz targets: what is private otherwise.

use super::conversation::Conversation;
use super::wire::Malformed;
use crate::session::Session;

/// What a connection answers when the MTA's stream comes in these pieces, and how it ends.
pub async fn converse<S: Session>(
    session: S,
    pieces: &[&[u8]],
) -> (Vec<u8>, Result<(), Malformed>) {
    let mut conversation = Conversation::new(session);
    let mut answers = Vec::new();
    for piece in pieces {
        if let Err(malformed) = take(&mut conversation, piece, &mut answers).await {
            return (answers, Err(malformed));
        }
        if !conversation.message_under_way() {
            conversation.rest();
        }
    }
    (answers, Ok(()))
}

async fn take<S: Session>(
    conversation: &mut Conversation<S>,
    mut piece: &[u8],
    answers: &mut Vec<u8>,
) -> Result<(), Malformed> {
    piece = conversation.take(piece, answers)?;
    while conversation.is_asked() {
        conversation.answer(answers).await;
        piece = conversation.take(piece, answers)?;
    }
    Ok(())
}
