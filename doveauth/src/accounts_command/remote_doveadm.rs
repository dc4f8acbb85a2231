//! `doveadm kick` on another host: Dovecot's doveadm protocol, over TLS (`src/doveadm/client-connection-tcp.c` in Dovecot).
//!
//! The server lets in whoever has a password, and then takes commands, a line each. Backends let fronts in with a password of
//! their own, which is good for `kick` and for nothing else: a front that somebody has taken over opens no mailbox by it.
//!
//! A session that hibernates shares its process with others. There is no other way to end it than to end that process: who
//! else was in it connects again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chatmail::tls::{self, TlsError};
use chatmail::{Address, Config};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
    AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::sessions::pattern;

/// Where backends listen.
pub(super) const PORT: u16 = 24245;

/// How long a backend may take for all of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a backend may say to a command, in octets: the addresses of whom it has ended.
const ANSWER_MAX: u64 = 1 << 20;

/// With version 0 the server sends its log to nobody.
const GREETING: &str = "VERSION\tdoveadm-server\t1\t0\n";

/// Why nobody knows what became of sessions on a backend. Temporary, or to be mended by an operator.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("cannot read the password in {path}: {source}; set doveadm_password_file", path = path.display())]
    Password { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("its host is neither a name nor an address (doveauth backends add)")]
    Host,
    #[error("{0}")]
    Connection(#[from] io::Error),
    #[error("no answer within {} seconds", PATIENCE.as_secs())]
    Silent,
    #[error(
        "its Dovecot refuses the password in doveadm_password_file; it is one for this host only if the backend knows its address"
    )]
    Refused,
    #[error("its Dovecot does not end sessions for us: {0}")]
    Failed(String),
}

/// How to reach backends.
pub(super) struct RemoteDoveadm {
    password: String,
    tls: TlsConnector,
}

impl RemoteDoveadm {
    /// With the password and the authorities of a configuration.
    pub(super) fn new(config: &Config) -> Result<Self, RemoteError> {
        let path = &config.doveadm_password_file;
        let password = std::fs::read_to_string(path).map_err(|source| RemoteError::Password {
            path: path.clone(),
            source,
        })?;
        let tls = tls::client(&config.backend_authorities, "backend_authorities")?;
        Ok(Self {
            // As Dovecot reads it, which takes the end of the line for no part of it.
            password: password.trim_end_matches(['\r', '\n']).to_owned(),
            tls: TlsConnector::from(Arc::new(tls)),
        })
    }

    /// Ends the sessions of an account on a host; `false` when there were none.
    pub(super) async fn kick(&self, host: &str, address: &Address) -> Result<bool, RemoteError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| RemoteError::Host)?;
        let kick = async {
            let stream = TcpStream::connect((host, PORT)).await?;
            let stream = self.tls.connect(name, stream).await?;
            converse(stream, &self.password, address).await
        };
        timeout(PATIENCE, kick)
            .await
            .unwrap_or(Err(RemoteError::Silent))
    }
}

/// Says all that there is to say, and hears what came of it.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    password: &str,
    address: &Address,
) -> Result<bool, RemoteError> {
    let mut stream = BufReader::new(stream);
    stream.write_all(GREETING.as_bytes()).await?;
    stream.flush().await?;
    // `-`: it wants a password.
    if line(&mut stream).await? != "+" {
        let secret = base64_simd::STANDARD.encode_to_string(format!("\0doveadm\0{password}"));
        stream
            .write_all(format!("PLAIN\t{secret}\n").as_bytes())
            .await?;
        stream.flush().await?;
        // It may say nothing more and hang up.
        if !line(&mut stream).await.is_ok_and(|answer| answer == "+") {
            return Err(RemoteError::Refused);
        }
    }
    // Neither flags nor a user whose settings would hold.
    let command = format!("\t\tkick\t{}\n", pattern(address));
    stream.write_all(command.as_bytes()).await?;
    stream.flush().await?;
    outcome(&mut stream).await
}

/// Reads up to the end of an answer: whom it was about (2.3) or how many sessions (2.4), a tab behind each, then `+`, or `-`
/// and a word.
async fn outcome(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<bool, RemoteError> {
    let mut stream = stream.take(ANSWER_MAX);
    let mut any = true;
    loop {
        let said = line(&mut stream).await?;
        any &= said != "0\t";
        match said.strip_prefix('-') {
            _ if said == "+" => return Ok(any),
            Some("NOTFOUND") => return Ok(false),
            Some(word) if !word.contains('\t') => return Err(RemoteError::Failed(word.to_owned())),
            _ => {}
        }
    }
}

/// A line without its end.
async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut octets = Vec::new();
    stream
        .take(ANSWER_MAX)
        .read_until(b'\n', &mut octets)
        .await?;
    match octets.pop() {
        Some(b'\n') => Ok(String::from_utf8_lossy(&octets).into_owned()),
        _ => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "its Dovecot hangs up before it has answered",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// What we make of a server that says this, whatever we say, and hangs up.
    async fn heard(said: &str) -> Result<bool, RemoteError> {
        let address = "a@x.org".parse().unwrap();
        let stream = tokio::io::join(said.as_bytes(), tokio::io::sink());
        converse(stream, "secret", &address).await
    }

    #[rstest]
    #[case("-\n+\na@x.org\t\n+\n", true)]
    #[case("-\n+\n-b@x.org\ta@x.org\t\n+\n", true)]
    #[case("+\na@x.org\t\n+\n", true)]
    #[case("-\n+\n\n-NOTFOUND\n", false)]
    #[case("-\n+\n1\t\n+\n", true)]
    #[case("-\n+\n0\t\n+\n", false)]
    #[tokio::test]
    async fn answers(#[case] said: &str, #[case] ended: bool) {
        assert_eq!(heard(said).await.unwrap(), ended);
    }

    #[rstest]
    #[case("-\n-\n", "refuses the password")]
    #[case("-\n", "refuses the password")]
    #[case("", "hangs up")]
    #[case("-\n+\n", "hangs up")]
    #[case("-\n+\na@x.org\t\n", "hangs up")]
    #[case("-\n+\n\n-USAGE\n", "does not end sessions for us: USAGE")]
    #[case("-\n+\n\n-\n", "does not end sessions for us")]
    #[tokio::test]
    async fn what_is_no_answer_is_an_error(#[case] said: &str, #[case] expected: &str) {
        let error = heard(said).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
