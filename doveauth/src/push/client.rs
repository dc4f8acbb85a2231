//! Posts tokens to the notification server, over one HTTP/2 connection.

use std::path::Path;
use std::time::Duration;

use chatmail::tls::{self, TlsError};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Version};

use crate::metadata::tokens::Token;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a connection is kept without use.
pub(super) const IDLE: Duration = Duration::from_secs(90);

/// How often a connection in use is looked at, and how long the server may be silent then.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Why nothing can be posted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("HTTP cannot be used: {0}")]
    Http(#[from] reqwest::Error),
}

/// What the server says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its device is woken up.
    Sent,
    /// It is of no use any more.
    Gone,
    /// Something else: this status.
    Other(StatusCode),
}

/// What came of a post.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) answer: Answer,
    /// Whether many posts can share the connection.
    pub(super) is_http2: bool,
}

/// The connection to the server.
#[derive(Clone, Debug)]
pub(super) struct NotificationServer {
    client: Client,
    url: String,
}

impl NotificationServer {
    /// The server at `url`, whose certificate one of these `authorities` (a PEM file) must have signed.
    pub(super) fn new(url: &str, authorities: &Path) -> Result<Self, ClientError> {
        let mut tls = tls::client(authorities, "notification_authorities")?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .pool_idle_timeout(IDLE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .build()?;
        Ok(Self {
            client,
            url: url.to_owned(),
        })
    }

    /// Posts a token.
    ///
    /// # Errors
    /// There is no answer; in words that do not hold the token.
    pub(super) async fn post(&self, token: &Token) -> Result<Posted, String> {
        let request = self.client.post(&self.url).body(token.as_str().to_owned());
        let mut response = request.send().await.map_err(|error| shown(&error))?;
        let answer = match response.status() {
            StatusCode::OK => Answer::Sent,
            StatusCode::GONE => Answer::Gone,
            other => Answer::Other(other),
        };
        // A connection whose answer is not read to its end is not used again, over HTTP/1.1. One piece is
        // more than a server has to say.
        let _ = response.chunk().await;
        Ok(Posted {
            answer,
            is_http2: response.version() == Version::HTTP_2,
        })
    }
}

/// The innermost reason is the one that says something.
fn shown(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let first: &(dyn std::error::Error + 'static) = error;
    let innermost = std::iter::successors(Some(first), |error| error.source()).last();
    innermost.map_or_else(|| "no answer".into(), ToString::to_string)
}
