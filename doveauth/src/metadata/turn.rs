//! What clients are told of the TURN server (RFC 8656) that their calls go through.
//!
//! Delta Chat reads `HOST:PORT:USERNAME:PASSWORD`, where the user name is the Unix time at which the
//! credentials end. Two ways to get them:
//!
//! - from a secret that we share with the TURN server (coturn's `use-auth-secret`, known as TURN REST): the
//!   password is `base64(HMAC-SHA1(secret, user name))`;
//! - from the credential service of a classic relay, a unix socket that says `USERNAME:PASSWORD` in a line to
//!   whoever connects.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64_simd::STANDARD as BASE64;
use chatmail::Config;
use chatmail::config::HostAndPort;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;

/// How long computed credentials are good, in seconds: five days, as on classic relays. Clients ask for
/// new ones twelve hours before the end.
const LIFETIME: u64 = 5 * 24 * 60 * 60;

/// How long the credential service may take. Dovecot complains of a dict after five seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longest line of the credential service, and longest secret, in bytes.
const LINE_MAX: u64 = 1024;

/// Why there are no credentials. The text holds none.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The secret cannot be read.
    #[error("cannot read turn_secret_file: {0}")]
    Secret(io::Error),
    /// There is no secret in the file, or more than a secret.
    #[error("turn_secret_file must hold one line of at most {LINE_MAX} bytes: the secret")]
    NoSecret,
    /// The credential service does not answer.
    #[error("the TURN credential service (turn_socket_path): {0}")]
    Service(io::Error),
    /// The credential service says something else.
    #[error("the TURN credential service (turn_socket_path) answers with no credentials")]
    NoCredentials,
}

/// Where credentials come from.
#[derive(Clone, Debug)]
pub struct Turn {
    server: HostAndPort,
    secret_file: Option<PathBuf>,
    socket: PathBuf,
}

impl Turn {
    /// What a configuration says of it.
    pub fn from_config(config: &Config) -> Self {
        Self {
            server: config.turn_server.clone(),
            secret_file: config.turn_secret_file.clone(),
            socket: config.turn_socket_path.clone(),
        }
    }

    /// What to tell a client; `None` when the relay has no TURN server.
    ///
    /// # Errors
    /// It has one, and there are no credentials for it.
    pub async fn answer(&self) -> Result<Option<String>, TurnError> {
        let credentials = match &self.secret_file {
            Some(file) => {
                let secret = tokio::fs::read(file).await.map_err(TurnError::Secret)?;
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                Some(computed(&secret, since.unwrap_or_default().as_secs())?)
            }
            None => asked(&self.socket).await?,
        };
        Ok(credentials.map(|credentials| format!("{}:{credentials}", self.server)))
    }
}

/// Credentials that are good from `now` on, in Unix seconds.
fn computed(file: &[u8], now: u64) -> Result<String, TurnError> {
    let secret = file.trim_ascii();
    let length = u64::try_from(secret.len()).unwrap_or(u64::MAX);
    if !(1..=LINE_MAX).contains(&length) || secret.contains(&b'\n') {
        return Err(TurnError::NoSecret);
    }
    let user = (now + LIFETIME).to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let password = BASE64.encode_to_string(hmac::sign(&key, user.as_bytes()));
    Ok(format!("{user}:{password}"))
}

/// What the credential service says; `None` when there is none.
async fn asked(socket: &Path) -> Result<Option<String>, TurnError> {
    let line = async {
        let stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut line = String::new();
        let mut stream = BufReader::new(stream).take(LINE_MAX);
        stream.read_line(&mut line).await?;
        Ok(Some(line))
    };
    let line = tokio::time::timeout(PATIENCE, line).await;
    let line = line.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
    let Some(line) = line.map_err(TurnError::Service)? else {
        return Ok(None);
    };
    let credentials = line.trim();
    let has_both = credentials
        .split_once(':')
        .is_some_and(|(user, password)| user.parse::<u64>().is_ok() && !password.is_empty());
    let is_plain = credentials.bytes().all(|byte| byte.is_ascii_graphic());
    match has_both && is_plain {
        true => Ok(Some(credentials.to_owned())),
        false => Err(TurnError::NoCredentials),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixListener;

    /// Calculated with another program: `printf 1700432000 | openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn credentials_are_those_of_turn_rest() {
        let expected = "1700432000:6i3MOC5CcUjtk51HuMCT6nsg1eU=";
        for secret in ["north", "north\n", " north\r\n"] {
            let credentials = computed(secret.as_bytes(), 1_700_000_000).unwrap();
            assert_eq!(credentials, expected);
        }
    }

    #[rstest]
    #[case("")]
    #[case("\n")]
    #[case("two\nlines\n")]
    #[case(&"x".repeat(1025))]
    fn what_is_no_secret(#[case] file: &str) {
        assert!(matches!(
            computed(file.as_bytes(), 0),
            Err(TurnError::NoSecret)
        ));
    }

    async fn ask(line: &'static [u8]) -> Result<Option<String>, TurnError> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("turn.socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let service = async {
            let (mut client, _) = listener.accept().await.unwrap();
            // Who asks may have heard enough.
            let _ = client.write_all(line).await;
        };
        tokio::join!(service, asked(&socket)).1
    }

    #[rstest]
    #[case(b"1758650868:8Dqkyyu11MVESBqjbIylmB06rv8=\n")]
    #[case(b"1758650868:8Dqkyyu11MVESBqjbIylmB06rv8=")]
    #[tokio::test]
    async fn the_service_says_them_in_a_line(#[case] line: &'static [u8]) {
        let credentials = ask(line).await.unwrap();
        assert_eq!(
            credentials.as_deref(),
            Some("1758650868:8Dqkyyu11MVESBqjbIylmB06rv8=")
        );
    }

    #[rstest]
    #[case(b"")]
    #[case(b"\n")]
    #[case(b"user:password\n")]
    #[case(b"1758650868\n")]
    #[case(b"1758650868:\n")]
    #[case(b"1758650868:a b\n")]
    #[case(&[b'1'; 5000])]
    #[case(b"1758650868:\xff\n")]
    #[tokio::test]
    async fn what_is_no_credentials(#[case] line: &'static [u8]) {
        assert!(ask(line).await.is_err());
    }

    #[tokio::test]
    async fn without_a_service_there_are_none() {
        let nowhere = Path::new("/nonexistent/turn.socket");
        assert!(asked(nowhere).await.unwrap().is_none());
    }
}
