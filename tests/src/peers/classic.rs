//! A classic relay: nginx in front of filtermail 0.6.4 or later, as its peers meet it.
//!
//! As the receiver: nginx refuses bodies over 1 MiB with a page of its own (413). POST only, else 405.
//! What filtermail refuses is `400` with the SMTP reply as body; a signature of the author's domain is
//! required, or of an address literal that it is the client's; recipients are not looked at, Postfix does
//! that later. The body stands for what an SMTP client sends between `DATA` and the final dot: one dot at the
//! start of a line belongs to SMTP.
//!
//! As the sender: asks the MX hosts by preference, an address literal itself; whatever certificate for a
//! literal or a name that begins with `_`, else a good one; all recipients of a domain in one post; takes any
//! 2xx. (Otherwise it goes to port 25 of the same host, which is not played: others test that port.)

use std::net::IpAddr;

use anyhow::bail;
use bytes::Bytes;
use hyper::Method;

use super::client::Trust;
use super::{Answer, Behaviour, Letter, Peer, Post, domain_of};

/// nginx's `client_max_body_size` unless somebody sets it, in octets.
const BODY_MAX: usize = 1 << 20;

/// A classic relay's `/mxdeliv`.
pub fn receiver() -> Behaviour {
    Behaviour::judge(judge)
}

/// Posts a message that was signed, as a classic relay does.
///
/// # Errors
/// No host has taken it; the message has what each of them said.
pub async fn send(peer: &Peer, letter: &Letter<'_>) -> anyhow::Result<()> {
    let domain = domain_of(letter)?;
    let lax = domain.ip().is_some() || domain.as_str().starts_with('_');
    let mut said = Vec::new();
    for host in peer.names.mail_hosts(&domain).await? {
        let trust = if lax {
            Trust::Everybody
        } else {
            Trust::Authorities(&peer.authorities)
        };
        match peer.post(&host, trust, letter).await {
            Ok((200..300, _)) => return Ok(()),
            Ok((status, text)) => said.push(format!("{host}: {status} {text}")),
            Err(error) => said.push(format!("{host}: {error:#}")),
        }
    }
    bail!("nobody takes it: {}", said.join("; "))
}

fn judge(post: &Post) -> Answer {
    if post.body.len() > BODY_MAX {
        return Answer::page(413);
    }
    if post.method != Method::POST {
        return Answer::refuse(405, "Method Not Allowed");
    }
    let literal = post.sender.split_once("@[");
    let literal = literal.and_then(|(_, rest)| rest.strip_suffix(']'));
    let proved = match literal.map(str::parse::<IpAddr>) {
        Some(address) => address == Ok(post.client),
        None => has_field(&post.body, "dkim-signature"),
    };
    if !proved {
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
