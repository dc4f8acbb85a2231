//! A peer's `/mxdeliv`.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{By, Inbox, Received};

/// The most that is read of a request that is cut off, in octets: less than any message has.
const SIP: usize = 100;

/// What a peer does with requests.
#[derive(Clone)]
pub enum Behaviour {
    /// It judges each post.
    Judge(Arc<dyn Fn(&Post) -> Answer + Send + Sync>),
    /// It takes so long for each, and then says this.
    Slow(Duration, Answer),
    /// It reads posts and never answers.
    Stall,
    /// It begins to read a request and ends the connection, without a word of TLS.
    Reset,
}

/// A post as it came.
pub struct Post {
    /// Where it comes from.
    pub client: IpAddr,
    /// The method; only some are posts.
    pub method: Method,
    /// `X-Mail-From`, empty when absent.
    pub sender: String,
    /// `X-Mail-To`, line by line.
    pub recipients: Vec<String>,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// What a peer says to a post.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub kind: &'static str,
    /// The body.
    pub text: String,
    /// The message that was taken, as the recipients get it.
    pub taken: Option<Bytes>,
}

impl Answer {
    /// Nothing is taken.
    pub fn refuse(status: u16, text: &str) -> Self {
        Self {
            status,
            kind: "text/plain",
            text: text.to_owned(),
            taken: None,
        }
    }

    /// Nothing is taken, as a web server says it.
    pub fn page(status: u16) -> Self {
        Self {
            kind: "text/html",
            ..Self::refuse(status, "<html><body>A page.</body></html>")
        }
    }

    /// The message is taken.
    pub fn take(text: &str, message: impl Into<Bytes>) -> Self {
        Self {
            taken: Some(message.into()),
            ..Self::refuse(200, text)
        }
    }
}

impl Behaviour {
    /// A peer that answers every post like this.
    pub fn always(answer: Answer) -> Self {
        Self::judge(move |_| answer.clone())
    }

    /// A peer that judges each post.
    pub fn judge(judge: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Self {
        Self::Judge(Arc::new(judge))
    }
}

/// Serves until it is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    behaviour: Behaviour,
    inbox: Inbox,
) {
    // They end with the peer.
    let mut connections = JoinSet::new();
    while let Ok((stream, client)) = listener.accept().await {
        let (tls, behaviour, inbox) = (tls.clone(), behaviour.clone(), inbox.clone());
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            // A client that does not like the certificate ends the handshake.
            if let Ok(stream) = tls.accept(stream).await {
                connection(stream, client.ip(), behaviour, inbox).await;
            }
        });
    }
}

async fn connection(
    mut stream: TlsStream<TcpStream>,
    client: IpAddr,
    behaviour: Behaviour,
    inbox: Inbox,
) {
    if matches!(behaviour, Behaviour::Reset) {
        // Closing what is not read to its end is a reset.
        let _ = stream.read_exact(&mut [0; SIP]).await;
        return;
    }
    let service = service_fn(move |request| {
        let (behaviour, inbox) = (behaviour.clone(), inbox.clone());
        async move { Ok::<_, Infallible>(respond(request, client, &behaviour, &inbox).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that goes away in the middle is what some tests are about.
    let _ = connection.await;
}

async fn respond(
    request: Request<Incoming>,
    client: IpAddr,
    behaviour: &Behaviour,
    inbox: &Inbox,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let values = |name: &str| values(&head.headers, name);
    let is_post = head.method == Method::POST;
    let Ok(body) = body.collect().await else {
        return response(&Answer::refuse(400, "half a message"));
    };
    let post = Post {
        client,
        sender: values("x-mail-from").pop().unwrap_or_default(),
        recipients: values("x-mail-to"),
        key: values("idempotency-key").pop(),
        method: head.method,
        body: body.to_bytes(),
    };
    if is_post {
        inbox.count_post();
    }
    let answer = match behaviour {
        Behaviour::Judge(judge) => judge(&post),
        Behaviour::Slow(time, answer) => {
            sleep(*time).await;
            answer.clone()
        }
        Behaviour::Stall | Behaviour::Reset => std::future::pending().await,
    };
    if let Some(message) = answer.taken.clone() {
        inbox.take(Received {
            by: By::Https,
            sender: post.sender,
            recipients: post.recipients,
            message,
        });
    }
    response(&answer)
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect()
}

fn response(answer: &Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(answer.text.clone()));
    if let Ok(status) = answer.status.try_into() {
        *response.status_mut() = status;
    }
    let kind = hyper::header::HeaderValue::from_static(answer.kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
