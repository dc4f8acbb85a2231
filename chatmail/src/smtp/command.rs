//! Commands, read by a server and written by a client.

use std::borrow::Cow;

use super::Protocol;
use super::parameters::{MailParameters, ParameterError, RecipientParameters};
use super::path::{Path, PathError};
use crate::Reply;
use crate::address::Domain;

/// One command (RFC 5321 section 4.1.1, RFC 2033 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `EHLO`, `HELO` or `LHLO`: the client says who it is.
    Hello(Greeting, ClientName),
    /// `MAIL FROM`: begins a message.
    Mail(Path, MailParameters),
    /// `RCPT TO`: adds a recipient.
    Recipient(Path, RecipientParameters),
    /// `DATA`: the message follows after the reply.
    Data,
    /// `RSET`: forgets the message.
    Reset,
    /// `NOOP`
    Noop,
    /// `QUIT`
    Quit,
}

/// How a client says hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// `HELO`: SMTP without extensions.
    Helo,
    /// `EHLO`: SMTP.
    Ehlo,
    /// `LHLO`: LMTP.
    Lhlo,
}

/// Who a client says that it is: 1 to 255 visible ASCII characters. Nothing may rest on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(Box<str>);

impl ClientName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ClientName {
    type Error = CommandError;

    fn try_from(text: &str) -> Result<Self, CommandError> {
        let visible = text.bytes().all(|octet| octet.is_ascii_graphic());
        if visible && (1..=255).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(CommandError::Name)
        }
    }
}

impl From<&Domain> for ClientName {
    fn from(domain: &Domain) -> Self {
        Self(domain.as_str().into())
    }
}

/// Why a line is not a command. [`CommandError::reply`] is what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such command here.
    #[error("command not recognized")]
    Unknown,
    /// A command of the protocol that is not offered.
    #[error("command not implemented")]
    NotImplemented,
    /// Something follows a command that stands alone, or what it needs is missing.
    #[error("syntax error in arguments")]
    Arguments,
    /// The name behind `EHLO`.
    #[error("malformed client name")]
    Name,
    /// The path behind `MAIL FROM`.
    #[error("malformed sender: {0}")]
    Sender(PathError),
    /// The path behind `RCPT TO`.
    #[error("malformed recipient: {0}")]
    Recipient(PathError),
    /// A parameter of `MAIL` or `RCPT`.
    #[error("{0}")]
    Parameter(#[from] ParameterError),
    /// A sender outside ASCII, without SMTPUTF8.
    #[error("SMTPUTF8 is needed for this address")]
    Utf8Needed,
}

impl CommandError {
    /// The reply; the connection stays usable.
    pub fn reply(self) -> Reply {
        let (code, enhanced) = match self {
            Self::Unknown => (500, (5, 5, 1)),
            Self::NotImplemented => (502, (5, 5, 1)),
            Self::Arguments | Self::Name => (501, (5, 5, 4)),
            Self::Sender(_) => (501, (5, 1, 7)),
            Self::Recipient(_) => (501, (5, 1, 3)),
            Self::Parameter(ParameterError::Unknown) => (555, (5, 5, 4)),
            Self::Parameter(_) => (501, (5, 5, 4)),
            Self::Utf8Needed => (553, (5, 6, 7)),
        };
        Reply::new(code, enhanced, Cow::Owned(self.to_string()))
    }
}

impl Command {
    /// Reads a line, given without its CRLF.
    ///
    /// White space at the end is dropped (RFC 5321 section 4.1.1); between `FROM:` or `TO:` and
    /// the bracket there is none.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn parse(protocol: Protocol, line: &[u8]) -> Result<Self, CommandError> {
        let line = std::str::from_utf8(line).map_err(|_| CommandError::Arguments)?;
        let line = line.trim_end_matches([' ', '\t']);
        let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let greeting = |greeting| Ok(Self::Hello(greeting, arguments.try_into()?));
        let alone = |command| {
            if arguments.is_empty() {
                Ok(command)
            } else {
                Err(CommandError::Arguments)
            }
        };
        match (verb.to_ascii_uppercase().as_str(), protocol) {
            ("EHLO", Protocol::Smtp) => greeting(Greeting::Ehlo),
            ("HELO", Protocol::Smtp) => greeting(Greeting::Helo),
            ("LHLO", Protocol::Lmtp) => greeting(Greeting::Lhlo),
            ("MAIL", _) => parse_mail(arguments),
            ("RCPT", _) => parse_recipient(arguments),
            ("DATA", _) => alone(Self::Data),
            ("RSET", _) => alone(Self::Reset),
            ("QUIT", _) => alone(Self::Quit),
            ("NOOP", _) => Ok(Self::Noop),
            ("VRFY" | "EXPN" | "HELP" | "AUTH" | "STARTTLS" | "BDAT" | "ETRN" | "XCLIENT", _) => {
                Err(CommandError::NotImplemented)
            }
            _ => Err(CommandError::Unknown),
        }
    }

    /// Appends the line with its CRLF. There is no other CR or LF in it, and no NUL.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(greeting, name) => {
                out.extend_from_slice(match greeting {
                    Greeting::Helo => b"HELO ",
                    Greeting::Ehlo => b"EHLO ",
                    Greeting::Lhlo => b"LHLO ",
                });
                out.extend_from_slice(name.0.as_bytes());
            }
            Self::Mail(path, parameters) => {
                write_path(b"MAIL FROM:<", path, out);
                parameters.write_to(out);
            }
            Self::Recipient(path, parameters) => {
                write_path(b"RCPT TO:<", path, out);
                parameters.write_to(out);
            }
            Self::Data => out.extend_from_slice(b"DATA"),
            Self::Reset => out.extend_from_slice(b"RSET"),
            Self::Noop => out.extend_from_slice(b"NOOP"),
            Self::Quit => out.extend_from_slice(b"QUIT"),
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn parse_mail(arguments: &str) -> Result<Command, CommandError> {
    let (path, rest) = split_path(arguments, "FROM:<")?;
    let path = Path::try_from(path.as_bytes()).map_err(CommandError::Sender)?;
    let parameters = MailParameters::parse(rest)?;
    if parameters.allow(&path) {
        Ok(Command::Mail(path, parameters))
    } else {
        Err(CommandError::Utf8Needed)
    }
}

fn parse_recipient(arguments: &str) -> Result<Command, CommandError> {
    let (path, rest) = split_path(arguments, "TO:<")?;
    let path = Path::try_from(path.as_bytes()).map_err(CommandError::Recipient)?;
    if path.is_null() {
        return Err(CommandError::Recipient(PathError::Syntax));
    }
    Ok(Command::Recipient(path, RecipientParameters::parse(rest)?))
}

/// What stands in the brackets and what follows them.
fn split_path<'a>(arguments: &'a str, before: &str) -> Result<(&'a str, &'a str), CommandError> {
    let (_, rest) = arguments
        .split_at_checked(before.len())
        .filter(|(head, _)| head.eq_ignore_ascii_case(before))
        .ok_or(CommandError::Arguments)?;
    let end = end_of_path(rest).ok_or(CommandError::Arguments)?;
    let (path, rest) = rest.split_at(end);
    match rest.strip_prefix('>') {
        Some(rest) if rest.is_empty() || rest.starts_with(' ') => Ok((path, rest)),
        _ => Err(CommandError::Arguments),
    }
}

/// Where the closing bracket is: the first one outside quotes.
fn end_of_path(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|octet| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })
}

fn write_path(before: &[u8], path: &Path, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    out.extend_from_slice(path.as_bytes());
    out.push(b'>');
}

#[cfg(test)]
mod tests;
