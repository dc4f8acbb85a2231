//! nginx's side: requests as octets, one per connection.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::bridge::{CLIENT, SENDER, soon};
use crate::message;

/// A request that is to be sent.
#[derive(Clone)]
pub struct Post {
    pub method: &'static str,
    pub path: &'static str,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body goes in chunks of this size.
    pub chunked: Option<usize>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Post {
    /// An encrypted message from [`SENDER`].
    pub fn to(recipients: &[&str]) -> Self {
        Self::of(SENDER, recipients, message::encrypted(SENDER, 1000))
    }

    pub fn of(sender: &str, recipients: &[&str], body: impl Into<Vec<u8>>) -> Self {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut fields = vec![field("X-Real-IP", CLIENT), field("X-Mail-From", sender)];
        fields.extend(recipients.iter().map(|to| field("X-Mail-To", to)));
        Self {
            method: "POST",
            path: "/mxdeliv",
            fields,
            body: body.into(),
            chunked: None,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self
    }

    pub fn sent_by(self, client: &str) -> Self {
        self.without("X-Real-IP").with("X-Real-IP", client)
    }

    /// The head up to the empty line, without what says how long the body is.
    pub fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: x\r\n", self.method, self.path);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head
    }

    /// All octets.
    pub fn octets(&self) -> Vec<u8> {
        let mut octets = self.head().into_bytes();
        match self.chunked {
            None => {
                octets.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).bytes());
                octets.extend(&self.body);
            }
            Some(size) => {
                octets.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in self.body.chunks(size) {
                    octets.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    octets.extend(chunk);
                    octets.extend(b"\r\n");
                }
                octets.extend(b"0\r\n\r\n");
            }
        }
        octets
    }

    /// Sends it and waits for the answer.
    pub async fn send(&self, socket: &Path) -> Answer {
        send(socket, &self.octets()).await
    }
}

/// Sends octets and waits for the answer. The server may answer before it has read all.
pub async fn send(socket: &Path, octets: &[u8]) -> Answer {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let sending = async {
        // An answer that comes early ends it.
        let _ = write.write_all(octets).await;
    };
    let mut answer = Vec::new();
    let receiving = soon(read.read_to_end(&mut answer));
    let (_, received) = tokio::join!(sending, receiving);
    received.unwrap();
    Answer::parse(&answer)
}

/// Waits for the answer on a connection.
pub async fn answer(stream: &mut UnixStream) -> Answer {
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    Answer::parse(&answer)
}

impl Answer {
    fn parse(octets: &[u8]) -> Self {
        let text = String::from_utf8(octets.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("no answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    /// Status and body.
    pub fn told(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}
