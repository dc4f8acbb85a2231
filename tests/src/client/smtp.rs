//! An SMTP client (RFC 5321) that takes each step on its own, or a whole message at once.
//!
//! [`SmtpClient::send`] speaks as Delta Chat does: `MAIL`, `RCPT` and `DATA` in one write
//! (RFC 2920), then the content. For everything else there are [`SmtpClient::command`],
//! [`SmtpClient::raw`] and [`SmtpClient::reply`].

use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::connection::{ClientError, Connection};
use super::tls::Security;
use crate::target::Endpoint;

mod content;

pub use content::Content;

/// What a server answered: one code, one or more lines (RFC 5321 section 4.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The text of each line, without the code.
    pub lines: Vec<String>,
}

impl Reply {
    /// 2yz or 3yz: the server agrees.
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// 4yz: the same may work later.
    pub fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// The reply itself when it has this code.
    ///
    /// # Errors
    /// It has another code: [`ClientError::Unexpected`] with the reply and what it was to.
    pub fn expect(self, code: u16, to: &str) -> Result<Self, ClientError> {
        if self.code == code {
            return Ok(self);
        }
        Err(ClientError::Unexpected {
            awaited: format!("{code} to {to}"),
            received: self.to_string(),
        })
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.code, self.lines.join(" / "))
    }
}

/// Who a message is from and for, as it stands in `MAIL FROM` and `RCPT TO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The envelope sender; empty for `<>`.
    pub sender: String,
    /// The recipients.
    pub recipients: Vec<String>,
}

impl Envelope {
    /// One sender, one recipient.
    pub fn new(sender: impl ToString, recipient: impl ToString) -> Self {
        Self {
            sender: sender.to_string(),
            recipients: vec![recipient.to_string()],
        }
    }
}

/// How one mail transaction went.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The reply to `MAIL`.
    pub sender: Reply,
    /// The reply to each `RCPT`, in order.
    pub recipients: Vec<Reply>,
    /// The reply to `DATA`.
    pub data: Reply,
    /// The reply to the final dot, when the server had asked for the content.
    pub content: Option<Reply>,
    /// From the final dot's last byte handed to the system until the reply was there; zero when no
    /// content was sent.
    pub final_wait: Duration,
}

impl Transaction {
    /// What decided: the first refusal in the order of the commands, else the last reply.
    pub fn verdict(&self) -> &Reply {
        let refused = |reply: &&Reply| !reply.is_positive();
        let commands = std::iter::once(&self.sender).chain(&self.recipients);
        let last = self.content.as_ref().unwrap_or(&self.data);
        commands
            .chain([&self.data])
            .chain(&self.content)
            .find(refused)
            .unwrap_or(last)
    }

    /// Whether the server has taken over the message for every recipient.
    pub fn is_accepted(&self) -> bool {
        self.content.is_some() && self.verdict().is_positive()
    }
}

/// One SMTP connection.
pub struct SmtpClient {
    connection: Connection,
    greeting: Reply,
}

impl SmtpClient {
    /// Connects and reads the greeting. With `STARTTLS` it also says `EHLO` and starts TLS; what
    /// follows is up to the caller.
    ///
    /// # Errors
    /// No connection, no TLS, or a greeting other than 220.
    pub async fn connect(endpoint: &Endpoint, security: Security) -> Result<Self, ClientError> {
        let connection = Connection::open(endpoint, security).await?;
        Self::greeted(connection, security).await
    }

    /// As [`SmtpClient::connect`], from an address of this machine.
    ///
    /// # Errors
    /// As [`SmtpClient::connect`], or the address is not ours.
    pub async fn connect_from(
        source: Ipv4Addr,
        endpoint: &Endpoint,
        security: Security,
    ) -> Result<Self, ClientError> {
        let connection = Connection::open_from(source, endpoint, security).await?;
        Self::greeted(connection, security).await
    }

    async fn greeted(connection: Connection, security: Security) -> Result<Self, ClientError> {
        let greeting = Reply {
            code: 0,
            lines: Vec::new(),
        };
        let mut client = Self {
            connection,
            greeting,
        };
        client.greeting = client
            .reply("the greeting")
            .await?
            .expect(220, "connecting")?;
        if let Security::StartTls(version) = security {
            client.hello().await?;
            client.command("STARTTLS").await?.expect(220, "STARTTLS")?;
            client.connection = client.connection.start_tls(version).await?;
        }
        Ok(client)
    }

    /// Connects with TLS, says `EHLO` and logs in: ready to send.
    ///
    /// # Errors
    /// Any step that does not go as it must, with the server's reply.
    pub async fn login(
        endpoint: &Endpoint,
        security: Security,
        address: &str,
        password: &str,
    ) -> Result<Self, ClientError> {
        let mut client = Self::connect(endpoint, security).await?;
        client.hello().await?;
        client
            .auth_plain(address, password)
            .await?
            .expect(235, "AUTH PLAIN")?;
        Ok(client)
    }

    /// The greeting.
    pub fn greeting(&self) -> &Reply {
        &self.greeting
    }

    /// Sets how long each later wait may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.connection.set_patience(patience);
    }

    /// Says `EHLO` and gives the server's extensions, one per line.
    ///
    /// # Errors
    /// The reply is not 250.
    pub async fn hello(&mut self) -> Result<Vec<String>, ClientError> {
        let reply = self
            .command("EHLO client.testbed.invalid")
            .await?
            .expect(250, "EHLO")?;
        Ok(reply.lines.into_iter().skip(1).collect())
    }

    /// Tries `AUTH PLAIN` (RFC 4616) with the initial response in the command.
    ///
    /// # Errors
    /// The connection failed; a refusal is a reply.
    pub async fn auth_plain(&mut self, login: &str, password: &str) -> Result<Reply, ClientError> {
        let response = base64_simd::STANDARD.encode_to_string(format!("\0{login}\0{password}"));
        self.connection
            .write(format!("AUTH PLAIN {response}\r\n").as_bytes())
            .await?;
        self.reply("the reply to AUTH PLAIN").await
    }

    /// Sends one command line and reads its reply.
    ///
    /// # Errors
    /// The connection failed; a refusal is a reply.
    pub async fn command(&mut self, line: &str) -> Result<Reply, ClientError> {
        self.connection
            .write(format!("{line}\r\n").as_bytes())
            .await?;
        self.reply(&format!("the reply to {line:.60}")).await
    }

    /// Sends bytes as they are: bare line feeds, commands after the final dot, garbage.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn raw(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.connection.write(bytes).await
    }

    /// Reads the next reply. `awaited` is for the error.
    ///
    /// # Errors
    /// The connection failed, or what came is no reply.
    pub async fn reply(&mut self, awaited: &str) -> Result<Reply, ClientError> {
        let mut lines = Vec::new();
        let mut first_code = None;
        loop {
            let line = self.connection.read_line(awaited).await?;
            let parsed = parse_reply_line(&line)
                .filter(|(code, ..)| *first_code.get_or_insert(*code) == *code);
            let Some((code, last, text)) = parsed else {
                return Err(ClientError::Unexpected {
                    awaited: awaited.to_owned(),
                    received: format!("{:?}", String::from_utf8_lossy(&line)),
                });
            };
            lines.push(text);
            if last {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// Sends `MAIL`, every `RCPT` and `DATA` in one write, then the content when the server wants
    /// it for at least one recipient.
    ///
    /// # Errors
    /// The connection failed; a refusal is in the [`Transaction`].
    pub async fn send(
        &mut self,
        envelope: &Envelope,
        content: &Content,
    ) -> Result<Transaction, ClientError> {
        let mut commands = format!("MAIL FROM:<{}> BODY=8BITMIME\r\n", envelope.sender);
        for recipient in &envelope.recipients {
            commands.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
        }
        commands.push_str("DATA\r\n");
        self.connection.write(commands.as_bytes()).await?;

        let sender = self.reply("the reply to MAIL").await?;
        let mut recipients = Vec::with_capacity(envelope.recipients.len());
        for _ in &envelope.recipients {
            recipients.push(self.reply("the reply to RCPT").await?);
        }
        let data = self.reply("the reply to DATA").await?;
        let mut transaction = Transaction {
            sender,
            recipients,
            data,
            content: None,
            final_wait: Duration::ZERO,
        };
        if transaction.data.code == 354 {
            // RFC 2920 section 3.1: a server may say 354 although it refused every recipient; then
            // an empty message ends the transaction.
            let wanted = transaction.recipients.iter().any(Reply::is_positive);
            let empty = Content::EMPTY;
            let (reply, wait) = self.content(if wanted { content } else { &empty }).await?;
            transaction.content = Some(reply);
            transaction.final_wait = wait;
        }
        Ok(transaction)
    }

    /// After a 354: sends the content and the final dot. Gives the reply and the time from the dot
    /// to the reply.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn content(&mut self, content: &Content) -> Result<(Reply, Duration), ClientError> {
        for part in content.parts() {
            self.connection.write(part).await?;
        }
        self.connection.write(b".\r\n").await?;
        let dot = Instant::now();
        let reply = self.reply("the reply to the final dot").await?;
        Ok((reply, dot.elapsed()))
    }

    /// Says `QUIT` and waits for the server to close.
    ///
    /// # Errors
    /// The reply is not 221 or the server stays.
    pub async fn quit(mut self) -> Result<(), ClientError> {
        self.command("QUIT").await?.expect(221, "QUIT")?;
        self.connection.read_to_end().await.map(|_| ())
    }

    /// The connection below, for what SMTP does not foresee.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// The code, whether it is the last line, and the text.
fn parse_reply_line(line: &[u8]) -> Option<(u16, bool, String)> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return None,
    };
    Some((code, last, String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    fn reply(code: u16) -> Reply {
        Reply {
            code,
            lines: vec!["text".into()],
        }
    }

    #[rstest]
    #[case(b"250 ok", Some((250, true, "ok")))]
    #[case(b"250-SIZE 5", Some((250, false, "SIZE 5")))]
    #[case(b"354", Some((354, true, "")))]
    #[case(b"25", None)]
    #[case(b"2x0 ok", None)]
    #[case(b"250ok", None)]
    fn reply_lines(#[case] line: &[u8], #[case] parsed: Option<(u16, bool, &str)>) {
        let expected = parsed.map(|(code, last, text)| (code, last, text.to_owned()));
        assert_eq!(parse_reply_line(line), expected);
    }

    #[test]
    fn the_first_refusal_decides() {
        let mut transaction = Transaction {
            sender: reply(250),
            recipients: vec![reply(250), reply(550)],
            data: reply(354),
            content: Some(reply(250)),
            final_wait: Duration::ZERO,
        };
        assert_eq!(transaction.verdict().code, 550);
        assert!(!transaction.is_accepted());
        transaction.recipients.pop();
        assert_eq!(transaction.verdict().code, 250);
        assert!(transaction.is_accepted());
        transaction.content = None;
        assert!(!transaction.is_accepted(), "a 354 is not an acceptance");
    }

    /// Plays a server that expects `script`'s lines and answers each.
    async fn scripted(script: &'static [(&'static str, &'static str)]) -> SmtpClient {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().into();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream
                .write_all(b"220-hello\r\n220 there\r\n")
                .await
                .unwrap();
            for (expected, answer) in script {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                assert_eq!(line.trim_end(), *expected);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        SmtpClient::connect(&endpoint, Security::Plain)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_message_is_stuffed_and_ended() {
        let mut client = scripted(&[
            ("MAIL FROM:<a@x> BODY=8BITMIME", "250 ok\r\n"),
            ("RCPT TO:<b@x>", "250 ok\r\n"),
            ("DATA", "354 go\r\n"),
            ("S: t", ""),
            ("", ""),
            ("..dot", ""),
            (".", "523-5.7.1 no\r\n523 5.7.1 never\r\n"),
        ])
        .await;
        assert_eq!(client.greeting().lines, ["hello", "there"]);
        let content = Content::new("S: t\r\n\r\n", ".dot\r\n");
        let transaction = client
            .send(&Envelope::new("a@x", "b@x"), &content)
            .await
            .unwrap();
        assert_eq!(
            transaction.verdict().to_string(),
            "523 5.7.1 no / 5.7.1 never"
        );
    }

    #[tokio::test]
    async fn nothing_is_sent_to_recipients_that_were_refused() {
        let mut client = scripted(&[
            ("MAIL FROM:<> BODY=8BITMIME", "250 ok\r\n"),
            ("RCPT TO:<b@x>", "450 4.7.1 later\r\n"),
            ("DATA", "354 go\r\n"),
            (".", "554 no valid recipients\r\n"),
        ])
        .await;
        let content = Content::new("S: t\r\n\r\n", "x\r\n");
        let transaction = client
            .send(&Envelope::new("", "b@x"), &content)
            .await
            .unwrap();
        assert_eq!(transaction.verdict().code, 450);
        assert!(transaction.verdict().is_temporary());
    }

    #[tokio::test]
    async fn codes_that_differ_within_a_reply_are_an_error() {
        let mut client = scripted(&[("NOOP", "250-a\r\n251 b\r\n")]).await;
        let error = client.command("NOOP").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected the reply to NOOP, got \"251 b\""
        );
    }
}
