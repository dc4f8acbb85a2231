//! A mail server that answers as a test tells it to.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use mxdeliv_bridge::mail_client::Server;
use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

/// What the server does after a command.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends this, which may be nothing or half a reply.
    Say(String),
    /// Sends this and closes the connection.
    Last(String),
    /// Reads no more and says no more.
    Hang,
}

/// Says one line.
pub fn say(line: &str) -> Act {
    Act::Say(format!("{line}\r\n"))
}

/// What a command looks like to a script.
#[derive(Clone, Debug)]
pub struct Heard<'a> {
    /// The line; empty when somebody connects, `.` at the end of a message.
    pub line: &'a str,
    /// Which connection it is, from 0.
    pub connection: usize,
    /// Which command with this verb it is on this server, from 0.
    pub number: usize,
}

impl Heard<'_> {
    /// The first word.
    pub fn verb(&self) -> &str {
        verb(self.line)
    }
}

fn verb(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// Says what a server does.
pub trait Script: Fn(Heard<'_>) -> Act + Send + Sync + 'static {}

impl<T: Fn(Heard<'_>) -> Act + Send + Sync + 'static> Script for T {}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// A socket of either kind.
trait Listener: Send + 'static {
    fn next(&self) -> impl Future<Output = io::Result<impl Stream>> + Send;
}

impl Listener for UnixListener {
    async fn next(&self) -> io::Result<impl Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for TcpListener {
    async fn next(&self) -> io::Result<impl Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// What a server has seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub connections: usize,
    pub commands: Vec<String>,
    /// As they were sent, dots undone.
    pub messages: Vec<Vec<u8>>,
    /// Connections that the client has closed.
    pub closed: usize,
    /// Whether a client sent a command before it had the reply to the last.
    pub ahead: bool,
}

/// A server on a socket of its own.
pub struct MailServer {
    address: Server,
    _dir: TempDir,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl MailServer {
    /// Starts a server on a unix socket that does what `script` says.
    pub fn start(script: impl Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        Self::accept_from(listener, Server::Unix(path), dir, script)
    }

    /// The same on a TCP port of 127.0.0.1.
    pub fn start_tcp(script: impl Script) -> Self {
        let listener = chatmail::listen::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = Server::Tcp(listener.local_addr().unwrap());
        Self::accept_from(listener, address, tempfile::tempdir().unwrap(), script)
    }

    fn accept_from(
        listener: impl Listener,
        address: Server,
        dir: TempDir,
        script: impl Script,
    ) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let script = Arc::new(script);
        let shared = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok(stream) = listener.next().await {
                let (seen, script) = (Arc::clone(&shared), Arc::clone(&script));
                let connection = {
                    let mut seen = seen.lock().unwrap();
                    seen.connections += 1;
                    seen.connections - 1
                };
                tokio::spawn(async move {
                    serve(stream, connection, &seen, &*script).await;
                });
            }
        });
        Self {
            address,
            _dir: dir,
            seen,
            accepting,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> Server {
        self.address.clone()
    }

    /// Takes no more connections.
    pub async fn close(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }

    /// What it has seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// The commands that begin with this.
    pub fn commands(&self, verb: &str) -> Vec<String> {
        let seen = self.seen();
        let commands = seen.commands.iter();
        commands
            .filter(|line| line.starts_with(verb))
            .cloned()
            .collect()
    }
}

/// An LMTP server that accepts all and gives `recipients` replies to a message.
pub fn polite_lmtp(heard: &Heard<'_>, recipients: usize) -> Act {
    match heard.verb() {
        "." => Act::Say("250 2.0.0 saved\r\n".repeat(recipients)),
        _ => polite_smtp(heard),
    }
}

/// An SMTP server that accepts all.
pub fn polite_smtp(heard: &Heard<'_>) -> Act {
    match heard.verb() {
        "" => say("220 mx.example"),
        "EHLO" | "LHLO" => Act::Say(
            "250-mx.example\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n\
             250-SMTPUTF8\r\n250 DSN\r\n"
                .to_owned(),
        ),
        "DATA" => say("354 go ahead"),
        "." => say("250 2.0.0 Ok: queued as 123"),
        "QUIT" => Act::Last("221 2.0.0 bye\r\n".to_owned()),
        _ => say("250 2.0.0 ok"),
    }
}

async fn serve<S: Stream>(stream: S, connection: usize, seen: &Mutex<Seen>, script: &impl Script) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let number = {
            let seen = seen.lock().unwrap();
            let same = seen
                .commands
                .iter()
                .filter(|seen| verb(seen) == verb(&line));
            same.count().saturating_sub(1)
        };
        let heard = Heard {
            line: &line,
            connection,
            number,
        };
        let (text, goes_on) = match script(heard) {
            Act::Say(text) => (text, true),
            Act::Last(text) => (text, false),
            Act::Hang => std::future::pending().await,
        };
        if !stream.buffer().is_empty() && line != "." {
            seen.lock().unwrap().ahead = true;
        }
        let _ = stream.write_all(text.as_bytes()).await;
        if !goes_on {
            return;
        }
        if line == "DATA" && text.starts_with("354") {
            let Some(message) = read_message(&mut stream).await else {
                break;
            };
            seen.lock().unwrap().messages.push(message);
            ".".clone_into(&mut line);
        } else {
            line.clear();
            if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
                break;
            }
            assert!(line.ends_with("\r\n"), "{line:?}");
            line.truncate(line.len() - 2);
        }
        seen.lock().unwrap().commands.push(line.clone());
    }
    seen.lock().unwrap().closed += 1;
}

/// Up to CRLF, dot, CRLF.
async fn read_message(stream: &mut BufReader<impl Stream>) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let mut line = Vec::new();
        let limit = 64 * 1024 * 1024;
        let mut limited = (&mut *stream).take(limit);
        if !matches!(limited.read_until(b'\n', &mut line).await, Ok(1..)) {
            return None;
        }
        match line.as_slice() {
            b".\r\n" => return Some(message),
            [b'.', rest @ ..] => message.extend_from_slice(rest),
            line => message.extend_from_slice(line),
        }
    }
}
