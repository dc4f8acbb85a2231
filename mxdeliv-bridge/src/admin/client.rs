//! Asks the daemon, for the command line. Nothing else runs there, so it may wait.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::protocol::{Answer, End, Failure, Request, Versioned, to_line};

/// How long the daemon may say nothing: longer than it takes for any answer.
const PATIENCE: Duration = Duration::from_secs(200);

/// The longest line of an answer, in octets.
const LINE_MAX: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "the daemon does not answer at {path}: {source}; start it with `systemctl start mxdeliv-bridge`, \
         and ask as root or as its user",
        path = path.display()
    )]
    Away {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The daemon has gone, or says nothing.
    #[error("the daemon has gone before its answer was complete: {0}; see its log")]
    Lost(io::Error),
    /// What it says is no answer.
    #[error("the daemon's answer is not understood: {0}; it may be of another version: restart it")]
    Malformed(#[from] serde_json::Error),
    /// The daemon says why not.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// What came cannot be shown.
    #[error("cannot write: {0}")]
    Write(io::Error),
}

/// Asks, and shows each row as it comes.
///
/// # Errors
/// See [`AskError`].
pub fn ask(
    socket: &Path,
    request: &Request,
    mut show: impl FnMut(Value) -> io::Result<()>,
) -> Result<(), AskError> {
    let away = |source| AskError::Away {
        path: socket.into(),
        source,
    };
    let mut stream = UnixStream::connect(socket).map_err(away)?;
    let limited = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    limited.map_err(AskError::Lost)?;
    let line = to_line(request)?;
    // A daemon that does not want to read it all says so.
    let written = stream.write_all(&line);
    let mut input = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let read = (&mut input).take(LINE_MAX).read_until(b'\n', &mut line);
        match (read.map_err(AskError::Lost)?, &written) {
            (0, Err(error)) => return Err(AskError::Lost(error.kind().into())),
            (0, Ok(())) => return Err(AskError::Lost(io::ErrorKind::UnexpectedEof.into())),
            _ => {}
        }
        let answer: Versioned<Answer> = serde_json::from_slice(&line)?;
        match answer.content {
            Answer::Row { row } => show(row).map_err(AskError::Write)?,
            Answer::End(End::Done) => return Ok(()),
            Answer::End(End::Failed(failure)) => return Err(failure.into()),
        }
    }
}
