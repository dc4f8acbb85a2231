//! What apps and browsers are told.

use std::fmt::Write as _;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chatmail::Domain;
use chatmail::accounts::Suggestion;
use chatmail::invites::Token;
use chatmail::registration::Answer;
use serde::Serialize;

use super::NoInvite;

/// When to come again if nobody knows better, in seconds.
const RETRY_AFTER: u64 = 30;

/// What an app gets.
#[derive(Serialize)]
struct Login<'a> {
    email: &'a str,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dclogin_url: Option<String>,
}

/// What an app shows when it gets nothing.
#[derive(Serialize)]
struct Reason<'a> {
    status: &'static str,
    reason: &'a str,
}

/// Why there is no address for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// doveauth says so.
    Answered(Answer),
    /// The client's network has had many; when it may come again.
    TooMany(Duration),
    /// Something here does not work.
    Unavailable,
    /// nginx does not say who the client is.
    Misconfigured,
}

/// An address and a password.
pub(super) fn suggestion(domain: &Domain, suggestion: &Suggestion) -> Response {
    let email = suggestion.address.to_string();
    let password = &suggestion.password;
    let login = Login {
        dclogin_url: domain
            .is_uncertified()
            .then(|| dclogin_url(domain, &email, password)),
        email: &email,
        password,
    };
    json(StatusCode::OK, &login)
}

/// Hands a browser over to the app.
pub(super) fn to_app(domain: &Domain, invite: Option<Result<Token, NoInvite>>) -> Response {
    let mut url = format!("dcaccount:https://{}/new", domain.url_host());
    match invite {
        None => {}
        Some(Ok(token)) => url.extend(["?t=", token.as_str()]),
        // For the app to hear what is wrong with it; and nothing goes back as it came.
        Some(Err(NoInvite)) => url.push_str("?t="),
    }
    let Ok(location) = HeaderValue::try_from(url) else {
        return Refusal::Misconfigured.into_response();
    };
    // Not for ever: what stands behind the link may change.
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

/// Whether a client shows pages to somebody, as browsers do and apps do not.
pub(super) fn takes_pages(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            let mut kinds = value.split([',', ';']);
            kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
        })
}

/// Hands a browser over to the app with an address and a password, on a relay whose certificate the app
/// must not check.
pub(super) fn to_login(domain: &Domain, suggestion: &Suggestion) -> Response {
    let email = suggestion.address.to_string();
    let url = dclogin_url(domain, &email, &suggestion.password);
    let Ok(location) = HeaderValue::try_from(url) else {
        return Refusal::Misconfigured.into_response();
    };
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::FOUND, headers).into_response()
}

/// Something else than can be done here.
pub(super) fn wrong_method() -> Response {
    let allow = [(header::ALLOW, HeaderValue::from_static("GET, POST"))];
    (StatusCode::METHOD_NOT_ALLOWED, allow).into_response()
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Answered(Answer::Busy) | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Answered(_) => StatusCode::FORBIDDEN,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Answered(answer) => match answer {
                Answer::Closed => "This server takes no new accounts",
                Answer::InviteNeeded => "This server takes new accounts by invite only",
                Answer::InviteUnknown => "This invite is unknown, or was withdrawn",
                Answer::InviteExpired => "This invite has expired",
                Answer::InviteUsedUp => "This invite is used up",
                Answer::Open | Answer::Invited | Answer::Busy => {
                    "This server has no room for new accounts at the moment"
                }
            },
            Self::TooMany(_) => "Too many new accounts from your network; try again later",
            Self::Unavailable => "This server cannot make accounts at the moment; try again later",
            Self::Misconfigured => "The server's configuration is incomplete",
        }
    }

    /// In seconds.
    fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooMany(wait) => Some(wait.as_secs().saturating_add(1)),
            _ => (self.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let reason = Reason {
            status: "error",
            reason: self.reason(),
        };
        let mut response = json(self.status(), &reason);
        if let Some(seconds) = self.retry_after() {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// A password is in it: nobody is to keep it.
fn json(status: StatusCode, content: &impl Serialize) -> Response {
    let Ok(content) = serde_json::to_string(content) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut headers = HeaderMap::new();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, "application/json");
    set(header::CACHE_CONTROL, "no-store");
    (status, headers, content).into_response()
}

/// Makes an app log in without checking the certificate: `ic` and `sc` are how those of IMAP and SMTP are checked
/// (3: not at all), `v` is the version of the scheme, `ih` and `sh` are the hosts.
fn dclogin_url(domain: &Domain, email: &str, password: &str) -> String {
    let mut url = String::from("dclogin:");
    percent_encode(email, &mut url);
    url.push_str("?p=");
    percent_encode(password, &mut url);
    url.push_str("&v=1&ic=3&sc=3");
    // An app looks for the host of `name@[192.0.2.1]` by asking DNS for `[192.0.2.1]`, and finds none.
    if let Some(address) = domain.ip().map(|address| address.to_string()) {
        for host in ["&ih=", "&sh="] {
            url.push_str(host);
            percent_encode(&address, &mut url);
        }
    }
    url
}

/// RFC 3986 section 2.1: everything but unreserved characters.
fn percent_encode(text: &str, out: &mut String) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{octet:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn what_could_be_syntax_is_encoded() {
        let domain = "_chat.example".parse().unwrap();
        let url = dclogin_url(&domain, "a@_chat.example", "p&w-ü");
        let expected = "dclogin:a%40_chat.example?p=p%26w-%C3%BC&v=1&ic=3&sc=3";
        assert_eq!(url, expected);
    }

    #[rstest]
    #[case("[192.0.2.1]", "192.0.2.1")]
    #[case("[IPv6:2001:db8::1]", "2001%3Adb8%3A%3A1")]
    fn apps_are_told_the_host_that_they_cannot_look_up(#[case] domain: &str, #[case] host: &str) {
        let domain = domain.parse().unwrap();
        let url = dclogin_url(&domain, "a@b", "p");
        let expected = format!("dclogin:a%40b?p=p&v=1&ic=3&sc=3&ih={host}&sh={host}");
        assert_eq!(url, expected);
    }

    #[rstest]
    #[case("text/html,application/xhtml+xml,*/*;q=0.8", true)]
    #[case("application/xml, Text/HTML;q=0.5", true)]
    #[case("application/json", false)]
    #[case("*/*", false)]
    #[case("text/htmlx", false)]
    #[case("", false)]
    fn browsers_ask_for_pages(#[case] accept: &'static str, #[case] expected: bool) {
        let headers = [(header::ACCEPT, HeaderValue::from_static(accept))];
        assert_eq!(takes_pages(&HeaderMap::from_iter(headers)), expected);
        assert!(!takes_pages(&HeaderMap::new()));
    }

    #[rstest]
    #[case(Refusal::Answered(Answer::Closed), 403, None)]
    #[case(Refusal::Answered(Answer::InviteNeeded), 403, None)]
    #[case(Refusal::Answered(Answer::InviteUnknown), 403, None)]
    #[case(Refusal::Answered(Answer::InviteExpired), 403, None)]
    #[case(Refusal::Answered(Answer::InviteUsedUp), 403, None)]
    #[case(Refusal::Answered(Answer::Busy), 503, Some("30"))]
    #[case(Refusal::Unavailable, 503, Some("30"))]
    #[case(Refusal::TooMany(Duration::from_millis(35_500)), 429, Some("36"))]
    #[case(Refusal::Misconfigured, 500, None)]
    fn refusals(#[case] refusal: Refusal, #[case] status: u16, #[case] after: Option<&str>) {
        let response = refusal.into_response();
        assert_eq!(response.status().as_u16(), status);
        let found = response.headers().get(header::RETRY_AFTER);
        assert_eq!(found.map(|value| value.to_str().unwrap()), after);
    }
}
