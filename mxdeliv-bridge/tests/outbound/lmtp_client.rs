//! An LMTP client that says what a test wants said.

use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// A connection to a server.
pub struct LmtpClient {
    stream: BufReader<UnixStream>,
}

impl LmtpClient {
    /// Connects and reads the greeting.
    pub async fn connect(path: &Path) -> Self {
        let stream = BufReader::new(UnixStream::connect(path).await.unwrap());
        let mut client = Self { stream };
        assert_eq!(client.code().await, 220);
        client
    }

    /// Connects and says hello.
    pub async fn ready(path: &Path) -> Self {
        let mut client = Self::connect(path).await;
        assert_eq!(client.command("LHLO postfix").await, 250);
        client
    }

    /// Sends octets as they are.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let stream = self.stream.get_mut();
        stream.write_all(octets.as_ref()).await.unwrap();
    }

    /// Sends a line; the code of the reply.
    pub async fn command(&mut self, line: &str) -> u16 {
        self.send(format!("{line}\r\n")).await;
        self.code().await
    }

    /// Begins a message: all commands at once, up to the 354 or the refusal of `DATA`.
    pub async fn begin(&mut self, mail: &str, recipients: &[&str]) -> u16 {
        let mut commands = format!("MAIL FROM:{mail}\r\n");
        for recipient in recipients {
            commands.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
        }
        commands.push_str("DATA\r\n");
        self.send(commands).await;
        for _ in 0..=recipients.len() {
            assert_eq!(self.code().await, 250);
        }
        self.code().await
    }

    /// Sends a whole message; the last replies.
    pub async fn deliver(&mut self, mail: &str, recipients: &[&str], message: &str) -> Vec<u16> {
        assert_eq!(self.begin(mail, recipients).await, 354);
        self.send(format!("{message}.\r\n")).await;
        self.codes(recipients.len()).await
    }

    /// The codes of so many replies.
    pub async fn codes(&mut self, count: usize) -> Vec<u16> {
        let mut codes = Vec::new();
        for _ in 0..count {
            codes.push(self.code().await);
        }
        codes
    }

    /// The code of the next reply.
    pub async fn code(&mut self) -> u16 {
        let reply = self.reply().await;
        reply[..3].parse().unwrap()
    }

    /// The last line of the next reply.
    pub async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stream.read_line(&mut line).await.unwrap(), 0);
            if line.as_bytes()[3] == b' ' {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Waits until the server has closed the connection; it says nothing more before that.
    pub async fn closed(mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    }
}
