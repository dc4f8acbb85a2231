//! A classic relay: nginx in front of filtermail 0.6.4 or later, as its peers meet it.
//!
//! As the receiver: nginx refuses bodies over 1 MiB with a page of its own (413). POST only, else 405.
//! What filtermail refuses is `400` with the SMTP reply as body; a signature of the author's domain is
//! required; recipients are not looked at, Postfix does that later. The body stands for what an SMTP client
//! sends between `DATA` and the final dot: one dot at the start of a line belongs to SMTP.
//!
//! As the sender: asks the MX hosts by preference, an address literal itself; whatever certificate for a
//! literal or a name that begins with `_`, else a good one; takes any 2xx; else port 25 of the same host.

use bytes::Bytes;
use hyper::Method;

use super::{Answer, Behaviour, Post};

/// nginx's `client_max_body_size` unless somebody sets it, in octets.
const BODY_MAX: usize = 1 << 20;

/// A classic relay's `/mxdeliv`.
pub fn receiver() -> Behaviour {
    Behaviour::judge(judge)
}

fn judge(post: &Post) -> Answer {
    if post.body.len() > BODY_MAX {
        return Answer::page(413);
    }
    if post.method != Method::POST {
        return Answer::refuse(405, "Method Not Allowed");
    }
    if !has_field(&post.body, "dkim-signature") {
        return Answer::refuse(400, "554 5.7.1 No DKIM signature found");
    }
    Answer::take("250 OK", without_dots(&post.body))
}

/// Whether the header section has a field of this name, in lower case.
fn has_field(message: &[u8], name: &str) -> bool {
    let text = String::from_utf8_lossy(message).to_ascii_lowercase();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    head.split("\r\n").any(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(':'))
    })
}

fn without_dots(body: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    message.into()
}
