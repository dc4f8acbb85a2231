//! A server of push notifications that is played: the real one is outside, and would wake up real phones.
//!
//! It speaks HTTPS as that does (`POST` with the token as the body), over HTTP/2 or, for servers that have
//! none, HTTP/1.1 only; it says what a test wants, and remembers what came.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Which versions of HTTP a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// HTTP/2, and HTTP/1.1 for those who want it.
    Both,
    /// HTTP/1.1.
    Http1,
}

/// What is said to a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status; one of a redirect names another path of the same server.
    Status(u16),
    /// Nothing, ever.
    Silence,
}

/// What a server says to a token.
pub type Judge = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// A post that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The body.
    pub token: String,
    /// The path.
    pub path: String,
    /// Which of the server's connections brought it, from 0.
    pub connection: usize,
}

/// The running server. It ends, with its connections, when this is dropped.
pub struct NotificationServer {
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    judge: Judge,
    posts: Mutex<Vec<Post>>,
    connections: AtomicUsize,
    http: Http,
}

impl NotificationServer {
    /// Serves on this listener, with a certificate chain and a key in PEM.
    ///
    /// # Errors
    /// They are of no use.
    pub fn start(
        listener: TcpListener,
        chain: &[u8],
        key: &[u8],
        http: Http,
        judge: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            judge: Arc::new(judge),
            posts: Mutex::default(),
            connections: AtomicUsize::new(0),
            http,
        });
        let tls = acceptor(chain, key, http).map_err(io::Error::other)?;
        let mut task = JoinSet::new();
        task.spawn(serve(listener, tls, Arc::clone(&shared)));
        Ok(Self {
            shared,
            _task: task,
        })
    }

    /// The posts so far, whatever was said to them.
    pub fn posts(&self) -> Vec<Post> {
        self.shared.posts().clone()
    }

    /// The tokens of the posts so far.
    pub fn tokens(&self) -> Vec<String> {
        let posts = self.shared.posts();
        posts.iter().map(|post| post.token.clone()).collect()
    }

    /// How many posts have come.
    pub fn count(&self) -> usize {
        self.shared.posts().len()
    }

    /// How many connections have been opened.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }
}

impl Shared {
    fn posts(&self) -> std::sync::MutexGuard<'_, Vec<Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn acceptor(
    chain: &[u8],
    key: &[u8],
    http: Http,
) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>()?;
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?;
    config.alpn_protocols = match http {
        Http::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Http::Http1 => vec![b"http/1.1".to_vec()],
    };
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    // They end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, tls.clone(), Arc::clone(&shared)));
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    // A client that does not like the certificate ends the handshake.
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let number = shared.connections.fetch_add(1, SeqCst);
    let is_http2 = shared.http == Http::Both && stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(respond(request, number, &shared).await) }
    });
    let stream = TokioIo::new(stream);
    // A client that goes away in the middle is no trouble of ours.
    if is_http2 {
        let server = http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(stream, service).await;
    } else {
        let server = http1::Builder::new();
        let _ = server.serve_connection(stream, service).await;
    }
}

async fn respond(
    request: Request<Incoming>,
    connection: usize,
    shared: &Shared,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let answer = match body.collect().await {
        Ok(body) if head.method == Method::POST => {
            let token = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            let answer = (shared.judge)(&token);
            let path = head.uri.path().to_owned();
            shared.posts().push(Post {
                token,
                path,
                connection,
            });
            answer
        }
        _ => Answer::Status(400),
    };
    let status = match answer {
        Answer::Status(status) => status,
        Answer::Silence => std::future::pending().await,
    };
    let mut response = Response::new(Full::default());
    if let Ok(status) = status.try_into() {
        *response.status_mut() = status;
    }
    if response.status().is_redirection() {
        let elsewhere = hyper::header::HeaderValue::from_static("/elsewhere");
        response
            .headers_mut()
            .insert(hyper::header::LOCATION, elsewhere);
    }
    response
}
