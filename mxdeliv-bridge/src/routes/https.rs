//! Requests to peers' endpoints.
//!
//! Connections are kept for the next message. A server may close one at the moment when we use it; then
//! the request is made once more, on a new connection. `Idempotency-Key` lets a peer see that it is the
//! same message, in case the first request has reached it.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chatmail::Domain;
use chatmail::dns::{Dns, DnsFailure};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{self, Answer};
use super::endpoint::Endpoint;
use super::{Limits, Post};
use crate::redaction::without_addresses;

/// How long a connection is kept without use.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// Connections without use that are kept for one host.
const IDLE_PER_HOST: usize = 2;

/// How long sent octets may stay without a sign of the peer's machine.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// How long the rest of an answer is waited for, once its status is known.
const REST: Duration = Duration::from_secs(2);

/// The most of an answer's body that is read, in octets.
const BODY_MAX: usize = 4096;

const MAIL_FROM: HeaderName = HeaderName::from_static("x-mail-from");
const MAIL_TO: HeaderName = HeaderName::from_static("x-mail-to");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Connections to peers, kept for the next message. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Https {
    strict: Clients,
    lax: Clients,
}

#[derive(Clone, Debug)]
struct Clients {
    /// Keeps connections.
    pooled: Client,
    /// Makes a connection for each request.
    fresh: Client,
    tls: Arc<ClientConfig>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The message cannot be said in HTTP.
    Unsayable,
    /// DNS does not say where the endpoint is; it may later.
    Dns(DnsFailure),
    /// There is no connection, or no TLS. The peer has seen nothing of the message.
    Connect(String),
    /// The connection ended, or time did. The peer may have the message.
    Broken(String),
}

/// What a peer says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) answer: Answer,
    /// For operators, without addresses.
    pub(super) shown: String,
}

impl Https {
    /// Clients that trust `strict`, and one that trusts anybody. Connections come from `source`, if given.
    pub(super) fn new(
        strict: ClientConfig,
        lax: ClientConfig,
        dns: &Dns,
        source: Option<IpAddr>,
        limits: &Limits,
    ) -> reqwest::Result<Self> {
        Ok(Self {
            strict: Clients::new(strict, dns, source, limits)?,
            lax: Clients::new(lax, dns, source, limits)?,
        })
    }

    pub(super) fn tls(&self, lax: bool) -> Arc<ClientConfig> {
        self.clients(lax).tls.clone()
    }

    /// Opens a connection, unless one is there. What the peer answers is of no interest. May take as long
    /// as the peer likes.
    pub(super) async fn connect(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        let client = &self.clients(endpoint.lax).pooled;
        let answered = client.head(endpoint.url()).send().await;
        answered.map(drop).map_err(|error| failure(&error))
    }

    /// Posts a message. `reused`: a kept connection may be used, which may be dead.
    pub(super) async fn post(
        &self,
        endpoint: &Endpoint,
        post: &Post,
        reused: bool,
        deadline: Instant,
    ) -> Result<Said, Failure> {
        let headers = headers(post).ok_or(Failure::Unsayable)?;
        let clients = self.clients(endpoint.lax);
        let send = |client: &Client| {
            let request = client.post(endpoint.url()).headers(headers.clone());
            request.body(post.message.clone()).send()
        };
        let exchange = async {
            match send(&clients.pooled).await {
                Err(error) if reused && is_closed(&error) => send(&clients.fresh).await,
                answered => answered,
            }
        };
        match timeout_at(deadline, exchange).await {
            Ok(Ok(response)) => Ok(said(response, &post.recipients, deadline).await),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(Failure::Broken("no answer in time".into())),
        }
    }

    fn clients(&self, lax: bool) -> &Clients {
        match lax {
            true => &self.lax,
            false => &self.strict,
        }
    }
}

impl Clients {
    fn new(
        mut tls: ClientConfig,
        dns: &Dns,
        source: Option<IpAddr>,
        limits: &Limits,
    ) -> reqwest::Result<Self> {
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let build = |idle_per_host| {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .https_only(true)
                .redirect(Policy::none())
                .referer(false)
                .no_proxy()
                .dns_resolver(Arc::new(Addresses(dns.clone())))
                .local_address(source)
                .connect_timeout(limits.connect)
                .tcp_user_timeout(UNACKNOWLEDGED)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle_per_host)
                .http2_keep_alive_interval(UNACKNOWLEDGED)
                .http2_keep_alive_timeout(UNACKNOWLEDGED)
                .build()
        };
        Ok(Self {
            pooled: build(IDLE_PER_HOST)?,
            fresh: build(0)?,
            tls: Arc::new(tls),
        })
    }
}

/// Finds hosts by the resolver that all of us use.
struct Addresses(Dns);

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let dns = self.0.clone();
        Box::pin(async move {
            let host: Domain = name.as_str().parse()?;
            let addresses = dns.addresses(&host).await?;
            // The port of the URL takes the place of 0.
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// `None` when a value holds what a header line cannot.
fn headers(post: &Post) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(post.recipients.len() + 2);
    headers.insert(MAIL_FROM, value(&post.sender)?);
    for recipient in &post.recipients {
        headers.append(MAIL_TO, value(recipient)?);
    }
    headers.insert(IDEMPOTENCY_KEY, value(&post.key)?);
    headers.insert(
        reqwest::header::CONTENT_TYPE,
        HeaderValue::from_static("message/rfc822"),
    );
    Some(headers)
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

/// Reads what is needed of an answer. That it ends is of no importance: its status says all.
async fn said(mut response: Response, recipients: &[String], deadline: Instant) -> Said {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    let read = async {
        while body.len() < BODY_MAX
            && let Ok(Some(piece)) = response.chunk().await
        {
            let room = BODY_MAX - body.len();
            body.extend(piece.iter().take(room));
        }
    };
    // A connection whose answer is not read to its end is not used again.
    let _ = timeout_at(deadline, timeout(REST, read)).await;
    Said {
        answer: Answer::of(status, &headers, &body),
        shown: answer::shown(status, &headers, &body, recipients),
    }
}

fn failure(error: &reqwest::Error) -> Failure {
    let dns = sources(error).find_map(|source| source.downcast_ref::<DnsFailure>());
    if let Some(failure) = dns.filter(|failure| !failure.is_permanent()) {
        return Failure::Dns(*failure);
    }
    let shown = shown(error);
    if error.is_builder() {
        Failure::Unsayable
    } else if error.is_connect() {
        Failure::Connect(shown)
    } else {
        Failure::Broken(shown)
    }
}

/// Whether a connection ended before there was an answer, at once or in use.
fn is_closed(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let closed = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionReset,
        UnexpectedEof,
    ];
    !error.is_connect()
        && sources(error).any(|source| {
            if let Some(error) = source.downcast_ref::<hyper::Error>() {
                return error.is_incomplete_message() || error.is_canceled() || error.is_closed();
            }
            let error = source.downcast_ref::<std::io::Error>();
            error.is_some_and(|error| closed.contains(&error.kind()))
        })
}

/// The innermost reason is the one that says something.
fn shown(error: &reqwest::Error) -> String {
    if error.is_timeout() && error.is_connect() {
        return "no connection in time".into();
    }
    let innermost = sources(error).last();
    let text = innermost.map_or_else(|| "no answer".into(), |source| source.to_string());
    without_addresses(&text)
}

fn sources(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |error: &&'_ (dyn StdError + 'static)| {
        (*error).source()
    })
}
