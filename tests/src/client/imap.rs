//! An IMAP client (RFC 3501) with what a chat client uses, and raw commands for the rest.
//!
//! One command at a time; every untagged response between the command and its completion is handed
//! over with it. `IDLE` (RFC 2177) borrows the client, so that no command can get in between.

use std::time::Duration;

use bytes::Bytes;

use super::connection::{ClientError, Connection};
use super::tls::Security;
use crate::target::Endpoint;

mod response;

pub use response::{Answer, Completion, Response, Status};

/// Why an IMAP command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ImapError {
    /// `NO [AUTHENTICATIONFAILED]`: the password is wrong, or the account may not exist.
    #[error("{command}: authentication failed: {completion}")]
    AuthenticationFailed {
        /// The command's name.
        command: String,
        /// The tagged response.
        completion: Completion,
    },
    /// `NO [UNAVAILABLE]`: the server has trouble of its own; try again later.
    #[error("{command}: unavailable: {completion}")]
    Unavailable {
        /// The command's name.
        command: String,
        /// The tagged response.
        completion: Completion,
    },
    /// Any other `NO` or `BAD`.
    #[error("{command}: {completion}")]
    Refused {
        /// The command's name.
        command: String,
        /// The tagged response.
        completion: Completion,
    },
    /// The connection, or the protocol on it, failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What `SELECT` told about a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// How many messages it holds.
    pub exists: u32,
    /// The UID the next message will have.
    pub uid_next: u32,
    /// Changes when UIDs start over.
    pub uid_validity: u32,
}

/// A fetched message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its sequence number.
    pub number: u32,
    /// Its UID.
    pub uid: u32,
    /// The whole message as delivered.
    pub message: Bytes,
}

/// One IMAP connection.
pub struct ImapClient {
    connection: Connection,
    greeting: String,
    commands: u32,
}

impl ImapClient {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// No connection, no TLS, or a greeting other than `* OK`.
    pub async fn connect(endpoint: &Endpoint, security: Security) -> Result<Self, ImapError> {
        let mut connection = Connection::open(endpoint, security).await?;
        let line = connection.read_line("the IMAP greeting").await?;
        let greeting = String::from_utf8_lossy(&line).into_owned();
        if !greeting.starts_with("* OK") {
            let awaited = "the greeting * OK".to_owned();
            return Err(ClientError::Unexpected {
                awaited,
                received: greeting,
            }
            .into());
        }
        let mut client = Self {
            connection,
            greeting,
            commands: 0,
        };
        if let Security::StartTls(version) = security {
            client.command("STARTTLS").await?;
            client.connection = client.connection.start_tls(version).await?;
        }
        Ok(client)
    }

    /// Connects over TLS and logs in.
    ///
    /// # Errors
    /// As [`ImapClient::connect`] and [`ImapClient::authenticate`].
    pub async fn login(
        endpoint: &Endpoint,
        address: &str,
        password: &str,
    ) -> Result<Self, ImapError> {
        let mut client = Self::connect(endpoint, Security::TLS).await?;
        client.authenticate(address, password).await?;
        Ok(client)
    }

    /// The greeting line.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Sets how long each later wait may take.
    pub fn set_patience(&mut self, patience: Duration) {
        self.connection.set_patience(patience);
    }

    /// `LOGIN` with quoted strings, as Delta Chat does; what cannot be quoted goes as a literal.
    ///
    /// # Errors
    /// [`ImapError::AuthenticationFailed`], [`ImapError::Unavailable`], or the connection failed.
    pub async fn authenticate(&mut self, address: &str, password: &str) -> Result<(), ImapError> {
        let argument = |text: &str| match response::quoted(text) {
            Some(quoted) => Argument::Text(quoted),
            None => Argument::Literal(Bytes::copy_from_slice(text.as_bytes())),
        };
        let arguments = [
            Argument::Text("LOGIN".into()),
            argument(address),
            argument(password),
        ];
        self.compose(&arguments).await.map(|_| ())
    }

    /// `LOGIN` with both arguments as literals.
    ///
    /// # Errors
    /// As [`ImapClient::authenticate`].
    pub async fn authenticate_with_literals(
        &mut self,
        address: &[u8],
        password: &[u8],
    ) -> Result<(), ImapError> {
        let arguments = [
            Argument::Text("LOGIN".into()),
            Argument::Literal(Bytes::copy_from_slice(address)),
            Argument::Literal(Bytes::copy_from_slice(password)),
        ];
        self.compose(&arguments).await.map(|_| ())
    }

    /// The capabilities, in the server's words.
    ///
    /// # Errors
    /// The server refuses, or the connection failed.
    pub async fn capabilities(&mut self) -> Result<Vec<String>, ImapError> {
        let answer = self.command("CAPABILITY").await?;
        let listed = answer.untagged.iter().filter_map(|response| {
            response
                .text()
                .strip_prefix("CAPABILITY ")
                .map(str::to_owned)
        });
        Ok(listed
            .flat_map(|list| list.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect())
    }

    /// Selects a mailbox.
    ///
    /// # Errors
    /// The server refuses, or the connection failed.
    pub async fn select(&mut self, mailbox: &str) -> Result<Mailbox, ImapError> {
        let answer = self.command(&format!("SELECT {mailbox}")).await?;
        let mut selected = Mailbox::default();
        for response in &answer.untagged {
            selected.exists = response.number_of("EXISTS").unwrap_or(selected.exists);
            selected.uid_next = response.code_number("UIDNEXT").unwrap_or(selected.uid_next);
            selected.uid_validity = response
                .code_number("UIDVALIDITY")
                .unwrap_or(selected.uid_validity);
        }
        Ok(selected)
    }

    /// Fetches whole messages without setting `\Seen`. `set` is a UID set such as `7` or `1:*`.
    ///
    /// # Errors
    /// The server refuses, sends a message without UID or body, or the connection failed.
    pub async fn fetch(&mut self, set: &str) -> Result<Vec<Fetched>, ImapError> {
        let answer = self
            .command(&format!("UID FETCH {set} (UID BODY.PEEK[])"))
            .await?;
        let mut messages = Vec::new();
        for response in answer.untagged {
            let Some(number) = response.number_of("FETCH") else {
                continue;
            };
            let fetched = response.item_number("UID").zip(response.literal().cloned());
            let Some((uid, message)) = fetched else {
                return Err(ClientError::Unexpected {
                    awaited: "UID and BODY[] in FETCH".to_owned(),
                    received: response.text().into_owned(),
                }
                .into());
            };
            messages.push(Fetched {
                number,
                uid,
                message,
            });
        }
        Ok(messages)
    }

    /// Marks messages as deleted and expunges them. `set` is a UID set.
    ///
    /// # Errors
    /// The server refuses, or the connection failed.
    pub async fn delete(&mut self, set: &str) -> Result<(), ImapError> {
        self.command(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"))
            .await?;
        self.command("EXPUNGE").await.map(|_| ())
    }

    /// Begins `IDLE`.
    ///
    /// # Errors
    /// The server refuses, or the connection failed.
    pub async fn idle(&mut self) -> Result<Idle<'_>, ImapError> {
        let tag = self.next_tag();
        self.connection
            .write(format!("{tag} IDLE\r\n").as_bytes())
            .await?;
        match self.continuation(&tag, "IDLE").await? {
            None => Ok(Idle { client: self, tag }),
            Some(completion) => Err(refusal("IDLE", completion)),
        }
    }

    /// Sends one command line and collects what comes until its completion.
    ///
    /// # Errors
    /// The server answered `NO` or `BAD`, or the connection failed.
    pub async fn command(&mut self, line: &str) -> Result<Answer, ImapError> {
        self.compose(&[Argument::Text(line.to_owned())]).await
    }

    /// Sends a command whose arguments may be literals (RFC 3501 section 4.3).
    ///
    /// # Errors
    /// The server answered `NO` or `BAD`, or the connection failed.
    pub async fn compose(&mut self, arguments: &[Argument]) -> Result<Answer, ImapError> {
        let tag = self.next_tag();
        let name = match arguments.first() {
            Some(Argument::Text(text)) => text.split(' ').next().unwrap_or_default().to_owned(),
            _ => "a command".to_owned(),
        };
        let mut line = tag.clone();
        for argument in arguments {
            match argument {
                Argument::Text(text) => line.push_str(&format!(" {text}")),
                Argument::Literal(bytes) => {
                    line.push_str(&format!(" {{{}}}\r\n", bytes.len()));
                    self.connection.write(line.as_bytes()).await?;
                    if let Some(completion) = self.continuation(&tag, &name).await? {
                        return Err(refusal(&name, completion));
                    }
                    self.connection.write(bytes).await?;
                    line.clear();
                }
            }
        }
        line.push_str("\r\n");
        self.connection.write(line.as_bytes()).await?;
        self.completion(&tag, &name).await
    }

    /// Sends bytes as they are; read the answer with [`Connection::read_line`].
    ///
    /// # Errors
    /// The connection failed.
    pub async fn raw(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.connection.write(bytes).await
    }

    /// `LOGOUT`, and waits for the server to close.
    ///
    /// # Errors
    /// The server refuses or stays.
    pub async fn logout(mut self) -> Result<(), ImapError> {
        self.command("LOGOUT").await?;
        self.connection.read_to_end().await?;
        Ok(())
    }

    /// The connection below, for what IMAP does not foresee.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn next_tag(&mut self) -> String {
        self.commands += 1;
        format!("c{}", self.commands)
    }

    /// Waits for `+`. A tagged response instead is the command's end: handed back.
    async fn continuation(
        &mut self,
        tag: &str,
        name: &str,
    ) -> Result<Option<Completion>, ImapError> {
        let awaited = format!("+ to {name}");
        loop {
            let patience = self.connection.patience();
            let response = Response::read(&mut self.connection, patience, &awaited).await?;
            if response.is_continuation() {
                return Ok(None);
            }
            if let Some(completion) = response.completion(tag) {
                return Ok(Some(completion));
            }
        }
    }

    async fn completion(&mut self, tag: &str, name: &str) -> Result<Answer, ImapError> {
        let awaited = format!("the completion of {name}");
        let mut untagged = Vec::new();
        loop {
            let patience = self.connection.patience();
            let response = Response::read(&mut self.connection, patience, &awaited).await?;
            match response.completion(tag) {
                Some(completion) if completion.status == Status::Ok => {
                    return Ok(Answer {
                        completion,
                        untagged,
                    });
                }
                Some(completion) => return Err(refusal(name, completion)),
                None => untagged.push(response.without_star()),
            }
        }
    }
}

/// A part of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Sent as it is, after a blank.
    Text(String),
    /// Sent as `{N}` and, when the server asks for it, N bytes.
    Literal(Bytes),
}

/// A client in `IDLE`. Dropping it without [`Idle::done`] leaves the connection idling: good for
/// nothing but closing.
pub struct Idle<'a> {
    client: &'a mut ImapClient,
    tag: String,
}

impl Idle<'_> {
    /// Waits for the next `EXISTS` and gives its number of messages. Other responses are passed over.
    ///
    /// # Errors
    /// Nothing came in time, the server ended the idling, or the connection failed.
    pub async fn exists(&mut self, limit: Duration) -> Result<u32, ImapError> {
        let deadline = tokio::time::Instant::now() + limit;
        let awaited = format!("EXISTS within {limit:?} of IDLE");
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let response = Response::read(&mut self.client.connection, left, &awaited).await?;
            if let Some(completion) = response.completion(&self.tag) {
                return Err(refusal("IDLE", completion));
            }
            if let Some(count) = response.without_star().number_of("EXISTS") {
                return Ok(count);
            }
        }
    }

    /// Ends the idling; the responses that came with the end are handed over.
    ///
    /// # Errors
    /// The server refuses, or the connection failed.
    pub async fn done(self) -> Result<Answer, ImapError> {
        self.client.connection.write(b"DONE\r\n").await?;
        self.client.completion(&self.tag, "IDLE").await
    }
}

fn refusal(command: &str, completion: Completion) -> ImapError {
    let command = command.to_owned();
    match completion.code.as_deref() {
        Some("AUTHENTICATIONFAILED") => ImapError::AuthenticationFailed {
            command,
            completion,
        },
        Some("UNAVAILABLE") => ImapError::Unavailable {
            command,
            completion,
        },
        _ => ImapError::Refused {
            command,
            completion,
        },
    }
}

#[cfg(test)]
mod tests;
