//! A stand-in for a peer: TLS, and HTTP that says and does what a test tells it to. Real servers
//! neither stall nor break off on demand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// What the peer does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// Answers: status, content type, body.
    Answer(u16, &'static str, &'static str),
    /// Sends the client elsewhere.
    Redirect(String),
    /// Reads the request and never answers.
    Silence,
    /// Reads the request and closes the connection.
    Close,
    /// Reads the request, sends these octets and closes the connection.
    Octets(&'static str),
    /// Takes a connection's first message, and closes it at the next request without a word.
    AnswerOnce,
    /// Answers once the head of the request is there, and throws the body away, as nginx does with what
    /// is too large for it.
    RefuseEarly,
}

/// A request as the peer got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Which of the peer's connections brought it, from 0.
    pub(crate) connection: usize,
    pub(crate) is_http2: bool,
    /// The name that TLS was asked for.
    pub(crate) sni: Option<String>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(header, _)| header == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }
}

/// The running peer; ends when dropped.
pub(crate) struct Peer {
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    say: Mutex<Say>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

impl Peer {
    /// Serves on this listener.
    pub(crate) fn start(listener: TcpListener, tls: ServerConfig) -> Self {
        let shared = Arc::new(Shared {
            say: Mutex::new(Say::Answer(200, "text/plain", "250 OK")),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let mut task = JoinSet::new();
        task.spawn(serve(
            listener,
            TlsAcceptor::from(Arc::new(tls)),
            shared.clone(),
        ));
        Self {
            shared,
            _task: task,
        }
    }

    /// What to do from now on.
    pub(crate) fn say(&self, say: Say) {
        *self.shared.say.lock().unwrap() = say;
    }

    /// The posts so far.
    pub(crate) fn posts(&self) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter()
            .filter(|seen| seen.method == "POST")
            .cloned()
            .collect()
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The connections so far, whether TLS came to be or not.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Waits for so many requests of any kind.
    pub(crate) async fn wait_for(&self, requests: usize) {
        super::eventually("requests of the bridge", || self.seen().len() >= requests).await;
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        let number = shared.connections.fetch_add(1, SeqCst);
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => http2(stream, number, shared).await,
                _ => http1(stream, number, shared).await,
            }
        });
    }
}

async fn http2(stream: TlsStream<TcpStream>, number: usize, shared: Arc<Shared>) {
    let sni = stream.get_ref().1.server_name().map(str::to_owned);
    let answered = Arc::new(AtomicUsize::new(0));
    let broken = Arc::new(Notify::new());
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (shared, sni) = (shared.clone(), sni.clone());
        let (answered, broken) = (answered.clone(), broken.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes().to_vec());
            let headers = head.headers.iter();
            let headers =
                headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
            shared.seen.lock().unwrap().push(Seen {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                headers: headers.collect(),
                body: body.unwrap_or_default(),
                connection: number,
                is_http2: true,
                sni,
            });
            let say = shared.say.lock().unwrap().clone();
            let (status, kind, body) = match say {
                Say::Answer(status, kind, body) => (status, kind, body),
                Say::AnswerOnce if answered.fetch_add(1, SeqCst) == 0 => {
                    (200, "text/plain", "250 OK")
                }
                _ => {
                    broken.notify_one();
                    std::future::pending().await
                }
            };
            let response = hyper::Response::builder().status(status);
            let response = response.header("content-type", kind);
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
        }
    });
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    tokio::select! {
        _ = server.serve_connection(TokioIo::new(stream), service) => {}
        () = broken.notified() => {}
    }
}

async fn http1(mut stream: TlsStream<TcpStream>, number: usize, shared: Arc<Shared>) {
    let sni = stream.get_ref().1.server_name().map(str::to_owned);
    let mut before = 0;
    while let Some((mut seen, begun)) = read_head(&mut stream).await {
        (seen.connection, seen.sni) = (number, sni.clone());
        let is_head = seen.method == "HEAD";
        let say = shared.say.lock().unwrap().clone();
        if matches!(say, Say::RefuseEarly) && !is_head {
            shared.seen.lock().unwrap().push(seen);
            let _ = stream
                .write_all(answer(413, "text/html", "<html>").as_bytes())
                .await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            return;
        }
        let Some(seen) = read_body(&mut stream, seen, begun).await else {
            return;
        };
        shared.seen.lock().unwrap().push(seen);
        let answer = match say {
            _ if is_head => "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".into(),
            Say::Answer(status, kind, body) => answer(status, kind, body),
            Say::Redirect(to) => format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
            ),
            Say::Silence => std::future::pending().await,
            Say::Close => return,
            Say::Octets(octets) => {
                let _ = stream.write_all(octets.as_bytes()).await;
                let _ = stream.shutdown().await;
                return;
            }
            Say::AnswerOnce if before == 0 => answer(200, "text/plain", "250 OK"),
            Say::AnswerOnce | Say::RefuseEarly => return,
        };
        before += 1;
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(status: u16, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// A request without its body, and what came of that.
async fn read_head(stream: &mut TlsStream<TcpStream>) -> Option<(Seen, Vec<u8>)> {
    let mut input = Vec::new();
    let end = loop {
        if let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut input).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(input[..end].to_vec()).unwrap();
    let begun = input.split_off(end + 4);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap().split(' ').map(str::to_owned);
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let seen = Seen {
        method: words.next().unwrap(),
        path: words.next().unwrap(),
        headers,
        body: Vec::new(),
        connection: 0,
        is_http2: false,
        sni: None,
    };
    Some((seen, begun))
}

async fn read_body(
    stream: &mut TlsStream<TcpStream>,
    mut seen: Seen,
    mut body: Vec<u8>,
) -> Option<Seen> {
    let length = seen
        .header("content-length")
        .first()
        .map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = body;
    Some(seen)
}

/// A listener that takes connections and says nothing, not even TLS; how many it has taken.
pub(crate) async fn mute(address: SocketAddr) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let mut task = JoinSet::new();
    let counted = count.clone();
    task.spawn(async move {
        let mut held = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            held.push(accepted);
            counted.fetch_add(1, SeqCst);
        }
    });
    (task, count)
}
