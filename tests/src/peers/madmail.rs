//! madmail, as its peers meet it.
//!
//! As the receiver: 400 without recipients, 403 for what its gate refuses, 413, 507; all with a few words
//! instead of an SMTP reply. Recipients that it does not have are dropped in silence: 200 all the same. The
//! body is the message, dots and all.
//!
//! As the sender: asks the mail domain, never an MX host, and does not look at certificates; a post for each
//! recipient; takes nothing but 200; sends again when there is no answer after 30 seconds. Versions up to
//! 2.23 do not sign. (After HTTPS it tries HTTP and port 25, which are not played.)

use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use hyper::Method;
use tokio::time::timeout;

use super::client::Trust;
use super::{Answer, Behaviour, Letter, Peer, Post, domain_of};

/// The largest message it takes unless somebody sets it, in octets.
const BODY_MAX: usize = 32 << 20;

/// How long it waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it sends what is not answered.
const ATTEMPTS: usize = 3;

/// madmail's `/mxdeliv`.
pub fn receiver() -> Behaviour {
    Behaviour::judge(judge)
}

/// Posts a message as madmail does.
///
/// # Errors
/// It was not taken for one of the recipients; the message has what was said.
pub async fn send(peer: &Peer, letter: &Letter<'_>) -> anyhow::Result<()> {
    let domain = domain_of(letter)?;
    for recipient in letter.recipients {
        let one = Letter {
            recipients: &[recipient],
            ..*letter
        };
        let mut attempts = 0;
        let (status, text) = loop {
            attempts += 1;
            match timeout(PATIENCE, peer.post(&domain, Trust::Everybody, &one)).await {
                Ok(answer) => break answer?,
                Err(late) if attempts == ATTEMPTS => return Err(late.into()),
                Err(_) => {}
            }
        };
        ensure!(status == 200, "not taken: {status} {text}");
    }
    Ok(())
}

fn judge(post: &Post) -> Answer {
    if post.method != Method::POST {
        return Answer::refuse(405, "");
    }
    if post.recipients.is_empty() {
        return Answer::refuse(400, "bad request");
    }
    if post.body.len() > BODY_MAX {
        return Answer::refuse(413, "message too large");
    }
    Answer::take("OK", Bytes::clone(&post.body))
}
