//! madmail, as its peers meet it.
//!
//! As the receiver: 400 without recipients, 403 for what its gate refuses, 413, 507; all with a few words
//! instead of an SMTP reply. Recipients that it does not have are dropped in silence: 200 all the same. The
//! body is the message, dots and all.
//!
//! As the sender: asks the mail domain, never an MX host, and does not look at certificates; takes nothing
//! but 200; sends again after 30 seconds; version 2.23 and older do not sign.

use bytes::Bytes;
use hyper::Method;

use super::{Answer, Behaviour, Post};

/// The largest message it takes unless somebody sets it, in octets.
const BODY_MAX: usize = 32 << 20;

/// madmail's `/mxdeliv`.
pub fn receiver() -> Behaviour {
    Behaviour::judge(judge)
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
