//! One connection of nginx's: one request, within its time.
//!
//! There is no keep-alive. A connection to a unix socket costs next to nothing, nginx would send a request
//! on one that we just close, and whatever stands behind a request's end is nobody's second request.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout};

/// The most header fields: 1000 recipients and what else there is.
const FIELDS_MAX: usize = 1100;

/// The most octets of a request's head, for as many fields.
const HEAD_MAX: usize = 160 << 10;

/// How long the head may take to come. nginx sends it in one go.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The longest that a connection lives: head and request have times of their own, so this is for an
/// answer that nobody reads.
const LIFE_TIME: Duration = Duration::from_secs(60);

/// How long is read on after an answer that came before the end of a message. A socket that is closed
/// with something unread takes the answer with it.
const LINGER_TIME: Duration = Duration::from_secs(3);

/// A stream of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What is seen of a request's head before anything interprets it.
#[derive(Debug, Default)]
pub(super) struct Head {
    first_octet: OnceLock<Instant>,
    framings: AtomicU8,
}

impl Head {
    /// When the request began.
    pub(super) fn began(&self) -> Instant {
        *self.first_octet.get_or_init(Instant::now)
    }

    /// Whether more than one field says where the message ends (RFC 9112 section 6.1). Programs differ in
    /// which of them they believe, and hyper does not tell.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.framings.load(Relaxed) > 1
    }
}

/// Serves one request; `stop` becomes ready when no new one is to be begun.
pub(super) async fn serve(stream: Box<dyn Stream>, router: Router, stop: impl Future<Output = ()>) {
    let head = Arc::<Head>::default();
    let watched = Watched {
        stream,
        scan: Some(Scan::default()),
        head: head.clone(),
    };
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(head.clone());
        Box::pin(service.call(request.map(Body::new)))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .keep_alive(false)
        .max_headers(FIELDS_MAX)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(watched), service);
    let serving = async {
        let mut stop = std::pin::pin!(stop);
        let mut stopping = false;
        loop {
            tokio::select! {
                // How it ended matters to nobody: the client has its answer or is gone.
                _ = poll_fn(|context| connection.poll_without_shutdown(context)) => return,
                () = &mut stop, if !stopping => {
                    stopping = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    };
    if timeout(LIFE_TIME, serving).await.is_ok() {
        let stream = connection.into_parts().io.into_inner().stream;
        // Past this time the client has had its chance.
        let _ = timeout(LINGER_TIME, linger(stream)).await;
    }
}

/// Ends our side and reads until the client ends its own.
async fn linger(mut stream: Box<dyn Stream>) -> io::Result<()> {
    stream.shutdown().await?;
    let mut unread = [0; 8 << 10];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

/// Looks at the head on its way to hyper.
struct Watched {
    stream: Box<dyn Stream>,
    /// Gone when the head has ended.
    scan: Option<Scan>,
    head: Arc<Head>,
}

/// Finds the fields that say where a message ends.
#[derive(Debug, Default)]
struct Scan {
    /// The beginning of a line, in lower case.
    line: Vec<u8>,
    /// Whether anything but empty lines came.
    begun: bool,
}

/// What a line of the head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Framing,
    Other,
    /// The empty one at the end.
    End,
}

impl Scan {
    const FRAMINGS: [&[u8]; 2] = [b"content-length:", b"transfer-encoding:"];
    /// As much of a line as must be seen.
    const LINE_MAX: usize = 32;

    /// Takes an octet; what the line is that it ends.
    fn push(&mut self, octet: u8) -> Option<Line> {
        if octet != b'\n' {
            if self.line.len() < Self::LINE_MAX && octet != b'\r' {
                self.line.push(octet.to_ascii_lowercase());
            }
            return None;
        }
        let line = if !self.line.is_empty() {
            self.begun = true;
            let is_framing = |name: &&[u8]| self.line.starts_with(name);
            match Self::FRAMINGS.iter().any(is_framing) {
                true => Line::Framing,
                false => Line::Other,
            }
        } else if self.begun {
            Line::End
        } else {
            Line::Other
        };
        self.line.clear();
        Some(line)
    }
}

impl Watched {
    fn look(&mut self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        self.head.began();
        for &octet in octets {
            match self.scan.as_mut().and_then(|scan| scan.push(octet)) {
                Some(Line::Framing) => {
                    self.head.framings.fetch_add(1, Relaxed);
                }
                Some(Line::End) => {
                    self.scan = None;
                    return;
                }
                Some(Line::Other) | None => {}
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if self.scan.is_some() {
            let octets = buffer.filled().get(before..).unwrap_or_default();
            self.look(octets);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", 1)]
    #[case(
        "\r\nPOST / HTTP/1.1\r\nCONTENT-length:1\r\nTransfer-Encoding: chunked\r\n\r\n",
        2
    )]
    #[case("POST / HTTP/1.1\nContent-Length: 1\nContent-Length: 1\n\n", 2)]
    #[case(
        "POST / HTTP/1.1\r\nX: Content-Length: 1\r\n\r\nContent-Length: 1\r\n",
        0
    )]
    #[case(
        "POST / HTTP/1.1\r\nContent-Length-X: 1\r\nContent-Lengt: 1\r\n\r\n",
        0
    )]
    fn fields_that_say_where_a_message_ends(#[case] head: &str, #[case] framings: u8) {
        let mut watched = Watched {
            stream: Box::new(tokio::io::empty()),
            scan: Some(Scan::default()),
            head: Arc::default(),
        };
        watched.look(head.as_bytes());
        assert_eq!(watched.head.framings.load(Relaxed), framings);
        assert!(watched.scan.is_none());
    }
}
