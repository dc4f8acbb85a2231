//! What a peer's HTTP answer means.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use crate::redaction::{without_addresses, without_recipient};

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The peer has the message.
    Taken,
    /// It refuses the message, by an SMTP reply.
    Refused,
    /// It cannot take the message now.
    Busy,
    /// The message is too large, or its header lines are: of a server in front of the peer, mostly.
    TooLarge,
    /// This is no endpoint.
    NoEndpoint,
    /// Something stands in the way of the endpoint, or there is none.
    Strange,
    /// The peer is broken.
    Broken,
}

impl Answer {
    /// Judges an answer by its status, its headers and the start of its body.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        if status.is_success() {
            // A web site that greets whoever comes.
            return match is_html(headers) {
                true => Self::NoEndpoint,
                false => Self::Taken,
            };
        }
        if is_smtp_refusal(status, body) {
            return Self::Refused;
        }
        match status.as_u16() {
            404 | 405 | 410 | 501 | 300..=399 => Self::NoEndpoint,
            413 | 431 => Self::TooLarge,
            408 | 429 | 503 | 507 => Self::Busy,
            500..=599 => Self::Broken,
            _ => Self::Strange,
        }
    }
}

/// What an operator is shown of an answer to a message for these recipients: the status and the first
/// line, without addresses.
pub(super) fn shown(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    recipients: &[String],
) -> String {
    let body = String::from_utf8_lossy(body);
    let line = body.lines().map(str::trim).find(|line| !line.is_empty());
    let Some(line) = line.filter(|_| !is_html(headers)) else {
        let reason = status.canonical_reason().unwrap_or_default();
        return format!("{} {reason}", status.as_u16()).trim_end().into();
    };
    let text = without_addresses(&format!("{}: {line}", status.as_u16()));
    let names = recipients
        .iter()
        .filter_map(|recipient| recipient.rsplit_once('@'));
    names.fold(text, |text, (name, _)| without_recipient(&text, name))
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| {
        kind.get(..9)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"))
    })
}

/// Whether a body is an SMTP reply of 4yz or 5yz (RFC 5321 section 4.2). A web server that repeats its
/// status ("404 page not found") has not said one, but for an enhanced code (RFC 3463).
fn is_smtp_refusal(status: StatusCode, body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    let Some((code, rest)) = body.split_at_checked(3) else {
        return false;
    };
    let is_code = matches!(code, [b'4' | b'5', b'0'..=b'5', b'0'..=b'9'])
        && matches!(rest.first(), None | Some(b' ' | b'-' | b'\r' | b'\n'));
    let repeats = status.canonical_reason().is_some() && code == status.as_str().as_bytes();
    let is_enhanced = matches!(rest, [b' ' | b'-', b'4' | b'5', b'.', b'0'..=b'9', ..]);
    is_code && (is_enhanced || !repeats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redaction::TEXT_MAX;
    use proptest::prelude::*;
    use rstest::rstest;

    fn headers(kind: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        headers
    }

    #[rstest]
    #[case(200, "text/plain", "250 OK", Answer::Taken)]
    #[case(200, "text/plain", "", Answer::Taken)]
    #[case(202, "application/json", "{}", Answer::Taken)]
    #[case(200, "text/html; charset=utf-8", "<html>", Answer::NoEndpoint)]
    #[case(200, "Text/HTML", "", Answer::NoEndpoint)]
    #[case(301, "text/html", "", Answer::NoEndpoint)]
    #[case(308, "text/plain", "", Answer::NoEndpoint)]
    #[case(404, "text/plain", "404 page not found\n", Answer::NoEndpoint)]
    #[case(503, "text/plain", "503 Service Unavailable", Answer::Busy)]
    #[case(503, "text/plain", "503 5.5.1 Bad sequence", Answer::Refused)]
    #[case(550, "text/plain", "550 no such user", Answer::Refused)]
    #[case(404, "text/plain", "not found", Answer::NoEndpoint)]
    #[case(404, "text/plain", "550 5.1.1 No such user", Answer::Refused)]
    #[case(405, "text/plain", "", Answer::NoEndpoint)]
    #[case(501, "text/plain", "", Answer::NoEndpoint)]
    #[case(413, "text/html", "<html>", Answer::TooLarge)]
    #[case(413, "text/plain", "552 5.3.4 Too big", Answer::Refused)]
    #[case(431, "text/plain", "", Answer::TooLarge)]
    #[case(429, "text/plain", "", Answer::Busy)]
    #[case(503, "text/html", "<html>", Answer::Busy)]
    #[case(503, "text/plain", "451 4.3.0 Later", Answer::Refused)]
    #[case(507, "text/plain", "", Answer::Busy)]
    #[case(500, "text/plain", "oh", Answer::Broken)]
    #[case(500, "text/plain", "523 Encryption Needed", Answer::Refused)]
    #[case(500, "text/plain", "550-5.7.1 First\n550 5.7.1 Last", Answer::Refused)]
    #[case(502, "text/html", "<html>", Answer::Broken)]
    #[case(403, "text/plain", "access denied", Answer::Strange)]
    #[case(400, "text/plain", "5000 things", Answer::Strange)]
    #[case(400, "text/plain", "599 things", Answer::Strange)]
    #[case(400, "text/plain", "250 OK", Answer::Strange)]
    fn answers_mean(
        #[case] status: u16,
        #[case] kind: &str,
        #[case] body: &str,
        #[case] meant: Answer,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(Answer::of(status, &headers(kind), body.as_bytes()), meant);
    }

    #[test]
    fn operators_see_the_status_and_the_first_line() {
        let recipients = ["bob@x.test".to_owned()];
        let text = |kind: &str, body: &str| {
            let body = body.as_bytes();
            shown(StatusCode::FORBIDDEN, &headers(kind), body, &recipients)
        };
        let plain = "\r\n550 5.1.1 <Bob@x.test>: Bob is\u{7}no user\r\nmore";
        assert_eq!(text("text/plain", plain), "403: 550 5.1.1 …: … is no user");
        assert_eq!(text("text/html", "<html>"), "403 Forbidden");
        assert_eq!(text("text/plain", " \n "), "403 Forbidden");
    }

    proptest! {
        #[test]
        fn what_is_shown_holds_no_address(body in proptest::collection::vec(any::<u8>(), 0..600)) {
            let text = shown(StatusCode::BAD_GATEWAY, &HeaderMap::new(), &body, &[]);
            prop_assert!(!text.contains('@'));
            prop_assert!(text.chars().count() <= TEXT_MAX);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
