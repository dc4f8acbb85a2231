//! The MTA's side of the milter protocol, version 6, as Postfix 3 speaks it.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::soon;

/// What Postfix offers: all actions and all protocol steps.
const ACTIONS: u32 = 0x1FF;
const PROTOCOL: u32 = 0x1F_FFFF;

/// The stages that filtermail does not answer.
const UNANSWERED: u32 = 0x1000 | 0x4000 | 0x80 | 0x4_0000 | 0x8_0000;

/// The size of the body chunks that Postfix sends before the last.
const CHUNK: usize = 65_535;

/// One connection of Postfix's.
pub struct Mta {
    pub stream: UnixStream,
}

/// How a stage or a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It goes on, or passes.
    Pass,
    /// This reply goes to the client.
    Reply(String),
    /// filtermail closed the connection.
    Closed,
}

impl Mta {
    /// Connects without a word.
    pub async fn connect(socket: &Path) -> Self {
        Self {
            stream: UnixStream::connect(socket).await.unwrap(),
        }
    }

    /// Connects and negotiates.
    pub async fn ready(socket: &Path) -> Self {
        let mut mta = Self::connect(socket).await;
        mta.negotiate().await;
        mta
    }

    /// Negotiates; filtermail must ask for what it relies on.
    pub async fn negotiate(&mut self) {
        let mut offer = Vec::new();
        for word in [6, ACTIONS, PROTOCOL] {
            offer.extend(u32::to_be_bytes(word));
        }
        self.send(b'O', &offer).await;
        let (kind, answer) = self.receive().await.unwrap();
        assert_eq!(kind, b'O');
        let word = |at: usize| u32::from_be_bytes(answer[at..at + 4].try_into().unwrap());
        assert_eq!(word(0), 6);
        assert_eq!(word(8) & UNANSWERED, UNANSWERED);
        let asked = String::from_utf8_lossy(&answer[12..]).into_owned();
        assert!(asked.contains("{auth_authen}"), "{asked:?}");
    }

    /// Connects for a client with this IP address and negotiates.
    pub async fn of(socket: &Path, client: &str) -> Self {
        let mut mta = Self::ready(socket).await;
        mta.client(client).await;
        mta
    }

    /// `CONNECT`, not answered.
    pub async fn client(&mut self, address: &str) {
        let (family, prefix) = match address.contains(':') {
            true => ('6', "IPv6:"),
            false => ('4', ""),
        };
        let payload = format!("relay.example\0{family}\0\x19{prefix}{address}\0");
        self.send(b'C', payload.as_bytes()).await;
    }

    /// One packet.
    pub async fn send(&mut self, kind: u8, payload: &[u8]) {
        let mut packet = u32::try_from(payload.len() + 1)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        packet.push(kind);
        packet.extend(payload);
        // A connection that filtermail closed shows when the answer is read.
        let _ = self.stream.write_all(&packet).await;
    }

    /// One packet, or `None` at the end of the connection.
    pub async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let length = soon(self.stream.read_u32()).await.ok()?;
        let kind = soon(self.stream.read_u8()).await.ok()?;
        let mut payload = vec![0; usize::try_from(length).unwrap() - 1];
        soon(self.stream.read_exact(&mut payload)).await.ok()?;
        Some((kind, payload))
    }

    /// `MAIL FROM`, not answered.
    pub async fn mail(&mut self, sender: &str, login: Option<&str>) {
        if let Some(login) = login {
            self.send(b'D', format!("M{{auth_authen}}\0{login}\0").as_bytes())
                .await;
        }
        self.send(b'M', format!("<{sender}>\0BODY=8BITMIME\0").as_bytes())
            .await;
    }

    /// `RCPT TO`.
    pub async fn recipient(&mut self, recipient: &str) -> Ending {
        self.send(b'R', format!("<{recipient}>\0").as_bytes()).await;
        self.ending().await.1
    }

    /// The header section, not answered.
    pub async fn headers<V: AsRef<str>>(&mut self, headers: &[(&'static str, V)]) {
        for (name, value) in headers {
            self.send(b'L', format!("{name}\0 {}\0", value.as_ref()).as_bytes())
                .await;
        }
        self.send(b'N', b"").await;
    }

    /// The body and the end of the message; what filtermail asks to be changed, and the ending.
    pub async fn body(&mut self, body: &[u8]) -> (Vec<String>, Ending) {
        let chunks = body.chunks_exact(CHUNK);
        let last = chunks.remainder();
        for chunk in chunks {
            self.send(b'B', chunk).await;
        }
        self.send(b'D', b"Ei\x004QUEUE\0").await;
        self.send(b'E', last).await;
        self.ending().await
    }

    /// A whole message from and to one address each.
    pub async fn submit<V: AsRef<str>>(
        &mut self,
        login: &str,
        recipient: &str,
        headers: &[(&'static str, V)],
        body: &[u8],
    ) -> (Vec<String>, Ending) {
        self.mail(login, Some(login)).await;
        match self.recipient(recipient).await {
            Ending::Pass => {}
            refused => return (Vec::new(), refused),
        }
        self.headers(headers).await;
        self.body(body).await
    }

    /// Changes until an answer that ends a stage.
    async fn ending(&mut self) -> (Vec<String>, Ending) {
        let mut changes = Vec::new();
        loop {
            let Some((kind, payload)) = self.receive().await else {
                return (changes, Ending::Closed);
            };
            let text = || String::from_utf8(payload.clone()).unwrap();
            let change = || {
                let index = u32::from_be_bytes(payload[..4].try_into().unwrap());
                let text = String::from_utf8(payload[4..].to_vec()).unwrap();
                let mut fields = text.split('\0');
                let (name, value) = (fields.next().unwrap(), fields.next().unwrap());
                format!("{index} {name}:{value}")
            };
            match kind {
                b'c' => return (changes, Ending::Pass),
                b'y' => {
                    return (
                        changes,
                        Ending::Reply(text().trim_end_matches('\0').to_owned()),
                    );
                }
                b'e' => changes.push(format!("sender {}", text().trim_end_matches('\0'))),
                b'i' => changes.push(format!("insert {}", change())),
                b'm' => changes.push(format!("change {}", change())),
                other => panic!("unexpected answer {:?}", char::from(other)),
            }
        }
    }
}
