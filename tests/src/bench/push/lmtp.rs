//! LMTP to Dovecot, without Postfix: how long a delivery takes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

/// How long Dovecot may take over anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, used for one message after the other as Postfix uses them.
pub(super) struct Lmtp {
    stream: BufReader<UnixStream>,
}

impl Lmtp {
    /// Connects.
    ///
    /// # Errors
    /// Dovecot does not answer.
    pub(super) fn open(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut lmtp = Self {
            stream: BufReader::new(stream),
        };
        lmtp.reply(220)?;
        lmtp.ask("LHLO bench.test\r\n", 250)?;
        Ok(lmtp)
    }

    /// Delivers a message, and gives how long the answer to its last line took.
    ///
    /// # Errors
    /// It is refused.
    pub(super) fn deliver(
        &mut self,
        sender: &str,
        recipient: &str,
        message: &[u8],
    ) -> anyhow::Result<Duration> {
        self.ask(&format!("MAIL FROM:<{sender}>\r\n"), 250)?;
        self.ask(&format!("RCPT TO:<{recipient}>\r\n"), 250)?;
        self.ask("DATA\r\n", 354)?;
        self.stream.get_mut().write_all(message)?;
        let begun = Instant::now();
        self.ask(".\r\n", 250)?;
        Ok(begun.elapsed())
    }

    fn ask(&mut self, command: &str, code: u16) -> anyhow::Result<()> {
        self.stream.get_mut().write_all(command.as_bytes())?;
        self.reply(code)
    }

    fn reply(&mut self, code: u16) -> anyhow::Result<()> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            ensure!(line.starts_with(&code.to_string()), "LMTP: {line}");
            if line.get(3..4) != Some("-") {
                return Ok(());
            }
        }
    }
}
