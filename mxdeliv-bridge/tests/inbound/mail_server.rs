//! Stand-ins for Dovecot's LMTP server and for a smtpd of Postfix's. What becomes of a recipient stands in
//! its name.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chatmail::Reply;
use chatmail::smtp::{
    Command, DataDecoder, DataProgress, Lines, Protocol, write_lines, write_reply,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::bridge::soon;

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub sender: String,
    pub recipients: Vec<String>,
    pub message: String,
}

#[derive(Clone)]
pub struct MailServer {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
}

struct Shared {
    protocol: Protocol,
    delivered: Mutex<Vec<Delivered>>,
    /// Messages that came to their end.
    come: watch::Sender<usize>,
    /// Whether replies to messages have to wait.
    held: watch::Sender<bool>,
    /// Whether it closes connections.
    down: watch::Sender<bool>,
}

impl MailServer {
    pub fn lmtp(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let server = Self::new(Protocol::Lmtp, None);
        let shared = server.shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        server
    }

    pub async fn smtp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self::new(Protocol::Smtp, listener.local_addr().ok());
        let shared = server.shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        server
    }

    fn new(protocol: Protocol, address: Option<SocketAddr>) -> Self {
        let shared = Shared {
            protocol,
            delivered: Mutex::default(),
            come: watch::Sender::new(0),
            held: watch::Sender::new(false),
            down: watch::Sender::new(false),
        };
        let shared = Arc::new(shared);
        Self { shared, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// What it has taken so far.
    pub fn delivered(&self) -> Vec<Delivered> {
        self.shared.delivered.lock().unwrap().clone()
    }

    /// The one message that it has taken.
    pub fn only(&self) -> Delivered {
        let mut delivered = self.delivered();
        assert_eq!(delivered.len(), 1, "{delivered:?}");
        delivered.remove(0)
    }

    /// From now on replies to messages wait, or no longer.
    pub fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// From now on it says 421, or no longer.
    pub fn down(&self, down: bool) {
        self.shared.down.send_replace(down);
    }

    /// Waits until so many messages have come to their end.
    pub async fn come(&self, messages: usize) {
        let mut come = self.shared.come.subscribe();
        soon(come.wait_for(|&come| come >= messages)).await.unwrap();
    }
}

/// What Dovecot says of a recipient at `RCPT`.
fn at_once(recipient: &str) -> Reply {
    match recipient {
        name if name.starts_with("unknown") => {
            Reply::new(550, (5, 1, 1), format!("<{recipient}> User doesn't exist"))
        }
        _ => ok(),
    }
}

/// What Dovecot says of a recipient after the message.
fn at_last(recipient: &str) -> Reply {
    match recipient {
        name if name.starts_with("late-full") => Reply::new(452, (4, 2, 2), "Mailbox is full"),
        name if name.starts_with("late-failure") => Reply::new(554, (5, 6, 0), "Failed"),
        _ => ok(),
    }
}

fn ok() -> Reply {
    Reply::new(250, (2, 0, 0), "OK")
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let mut out = Vec::new();
    if *shared.down.borrow() {
        write_lines(421, ["out of order"], &mut out);
        let _ = stream.write_all(&out).await;
        return;
    }
    write_lines(220, ["stand-in"], &mut out);
    let mut lines = Lines::new(Lines::COMMAND_MAX);
    let mut input = Vec::new();
    let (mut sender, mut recipients) = (String::new(), Vec::new());
    loop {
        if stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
        let mut left = input.as_slice();
        let line = lines.take(&mut left);
        input = left.to_vec();
        let Some(line) = line else {
            if !matches!(stream.read_buf(&mut input).await, Ok(1..)) {
                return;
            }
            continue;
        };
        let text =
            |path: &chatmail::smtp::Path| String::from_utf8(path.as_bytes().to_vec()).unwrap();
        match Command::parse(shared.protocol, &line.unwrap()).unwrap() {
            Command::Hello(..) => {
                write_lines(250, ["stand-in", "PIPELINING", "8BITMIME"], &mut out);
            }
            Command::Mail(path, _) => {
                sender = text(&path);
                recipients.clear();
                write_reply(&ok(), &mut out);
            }
            Command::Recipient(path, _) => {
                let reply = match shared.protocol {
                    Protocol::Lmtp => at_once(&text(&path)),
                    Protocol::Smtp => ok(),
                };
                if reply.code == 250 {
                    recipients.push(text(&path));
                }
                write_reply(&reply, &mut out);
            }
            Command::Data if recipients.is_empty() => {
                write_reply(&Reply::new(503, (5, 5, 1), "Nobody"), &mut out);
            }
            Command::Data => {
                write_lines(354, ["go on"], &mut out);
                stream.write_all(&out).await.unwrap();
                out.clear();
                let Some(message) = message(&mut stream, &mut input).await else {
                    return;
                };
                take(&shared, &sender, &recipients, message, &mut out).await;
            }
            Command::Reset | Command::Noop => write_reply(&ok(), &mut out),
            Command::Quit => return,
        }
    }
}

/// Reads a message to its end; `None` when the connection ends first.
async fn message(stream: &mut (impl AsyncRead + Unpin), input: &mut Vec<u8>) -> Option<String> {
    let mut decoder = DataDecoder::new(u64::MAX);
    let mut message = Vec::new();
    loop {
        let mut left = input.as_slice();
        let progress = decoder.take(&mut left, &mut message);
        *input = left.to_vec();
        match progress {
            DataProgress::End(end) => {
                end.unwrap();
                return Some(String::from_utf8(message).unwrap());
            }
            DataProgress::More => {}
        }
        if !matches!(stream.read_buf(input).await, Ok(1..)) {
            return None;
        }
    }
}

async fn take(
    shared: &Shared,
    sender: &str,
    recipients: &[String],
    message: String,
    out: &mut Vec<u8>,
) {
    shared.come.send_modify(|come| *come += 1);
    let mut held = shared.held.subscribe();
    held.wait_for(|held| !held).await.unwrap();
    let replies: Vec<Reply> = recipients.iter().map(|name| at_last(name)).collect();
    match shared.protocol {
        Protocol::Smtp => write_reply(&ok(), out),
        Protocol::Lmtp => replies.iter().for_each(|reply| write_reply(reply, out)),
    }
    let pairs = recipients.iter().zip(&replies);
    let taken = pairs.filter(|(_, reply)| shared.protocol == Protocol::Smtp || reply.code == 250);
    let recipients: Vec<String> = taken.map(|(name, _)| name.clone()).collect();
    if !recipients.is_empty() {
        shared.delivered.lock().unwrap().push(Delivered {
            sender: sender.to_owned(),
            recipients,
            message,
        });
    }
}
