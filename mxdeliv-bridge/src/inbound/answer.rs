//! What a peer is told.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chatmail::Reply;

/// What a message that was taken is answered with. Some peers take nothing else for success.
const TAKEN: &str = "250 OK";

/// When a peer may come again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

/// Why a message is not taken: an HTTP status, and the SMTP reply that says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    reply: Reply,
    /// For the operator, without addresses.
    reason: String,
}

impl Failure {
    /// The request is none that can be understood.
    pub(super) fn bad_request(text: &'static str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Reply::new(501, (5, 5, 4), text.to_owned()),
        )
    }

    /// The message is larger than `max_message_size`.
    pub(super) fn too_large() -> Self {
        let reply = Reply::new(552, (5, 3, 4), "Message too large");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, reply)
    }

    /// The client wants too much at a time.
    pub(super) fn too_many() -> Self {
        let reply = Reply::new(451, (4, 7, 1), "Too many requests from you");
        Self::new(StatusCode::TOO_MANY_REQUESTS, reply)
    }

    /// There is no room for the message.
    pub(super) fn no_room() -> Self {
        Self::temporary(Reply::new(452, (4, 3, 1), "No room for the message now"))
    }

    /// The client takes too long to send the message.
    pub(super) fn slow_client() -> Self {
        let reply = Reply::new(451, (4, 4, 2), "The message did not come in time");
        Self::new(StatusCode::REQUEST_TIMEOUT, reply)
    }

    /// The message cannot be taken in time.
    pub(super) fn slow() -> Self {
        Self::temporary(Reply::new(451, (4, 4, 7), "The message takes too long"))
    }

    /// Something here does not work.
    pub(super) fn unavailable() -> Self {
        Self::temporary(Reply::new(451, (4, 3, 0), "Try again later"))
    }

    /// nginx does not say who the client is.
    pub(super) fn misconfigured() -> Self {
        let reply = Reply::new(451, (4, 3, 5), "The server's configuration is incomplete");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, reply)
    }

    /// The whole message is refused for this reason, which names no address.
    pub(super) fn refused(reply: Reply) -> Self {
        if reply.is_temporary() {
            Self::temporary(reply)
        } else {
            Self::new(StatusCode::FORBIDDEN, reply)
        }
    }

    /// No recipient can have the message; the reply to each, at least one. The peer hears one for all:
    /// a temporary one when there is any, so that nobody gives up who could still succeed.
    pub(super) fn of_recipients(replies: &[Reply]) -> Self {
        let temporary = replies.iter().find(|reply| reply.is_temporary());
        let Some(reply) = temporary.or_else(|| replies.first()) else {
            return Self::unavailable();
        };
        let mut failure = Self::refused(reply.clone());
        if replies.iter().all(is_quota) {
            failure.status = StatusCode::INSUFFICIENT_STORAGE;
        }
        // The text may be Dovecot's, and that has addresses.
        failure.reason = format!("{} {}", reply.code, reply.enhanced_text());
        failure
    }

    /// Why, for the operator; names no address.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether it is the client's doing.
    pub(super) fn is_refusal(&self) -> bool {
        let by_others = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        self.status.is_client_error() && !by_others.contains(&self.status)
    }

    fn temporary(reply: Reply) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reply)
    }

    fn new(status: StatusCode, reply: Reply) -> Self {
        let reason = reply.to_string();
        Self {
            status,
            reply,
            reason,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.reply.to_string()).into_response();
        if self.reply.is_temporary() {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

/// The answer to a message.
pub(super) fn response(taken: Result<(), Failure>) -> Response {
    match taken {
        Ok(()) => (StatusCode::OK, TAKEN).into_response(),
        Err(failure) => failure.into_response(),
    }
}

/// Mailbox full (RFC 3463 section 3.3), for now or for good.
fn is_quota(reply: &Reply) -> bool {
    let (_, subject, detail) = reply.enhanced;
    (subject, detail) == (2, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Reply = Reply {
        code: 550,
        enhanced: (5, 1, 1),
        text: std::borrow::Cow::Borrowed("<bob@x.org> is unknown"),
    };
    const FULL: Reply = Reply {
        code: 452,
        enhanced: (4, 2, 2),
        text: std::borrow::Cow::Borrowed("Full"),
    };

    #[test]
    fn one_reply_speaks_for_all_recipients() {
        let told = |replies: &[Reply]| {
            let failure = Failure::of_recipients(replies);
            (failure.status.as_u16(), failure.reply.code)
        };
        assert_eq!(told(&[UNKNOWN, UNKNOWN]), (403, 550));
        assert_eq!(told(&[UNKNOWN, FULL]), (503, 452));
        assert_eq!(told(&[FULL, FULL]), (507, 452));
        let lasting = Reply::new(552, (5, 2, 2), "Full");
        assert_eq!(told(&[lasting]), (507, 552));
        assert_eq!(told(&[]), (503, 451));
    }

    #[test]
    fn reasons_name_nobody() {
        assert_eq!(Failure::of_recipients(&[UNKNOWN]).reason(), "550 5.1.1");
    }
}
