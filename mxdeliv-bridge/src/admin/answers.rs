//! The lines of an answer on their way out.

use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::OwnedWriteHalf;
use tokio::time::timeout;

use super::protocol::{Answer, End, Failure, to_line};

/// How long a line may take to be taken.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Where answers go. After an error nothing more is sent.
#[derive(Debug)]
pub(super) struct Answers {
    output: OwnedWriteHalf,
    gone: bool,
}

impl Answers {
    /// For one request.
    pub(super) fn new(output: OwnedWriteHalf) -> Self {
        Self {
            output,
            gone: false,
        }
    }

    /// Sends something to show.
    ///
    /// # Errors
    /// Nobody takes it.
    pub(super) async fn row(&mut self, row: &impl Serialize) -> Result<(), Failure> {
        let row = serde_json::to_value(row).map_err(Failure::failed)?;
        self.send(&Answer::Row { row }).await
    }

    /// Sends how it ended, if anybody takes it.
    pub(super) async fn end(&mut self, end: End) {
        // Whoever has gone does not need it.
        let _ = self.send(&Answer::End(end)).await;
    }

    async fn send(&mut self, answer: &Answer) -> Result<(), Failure> {
        let gone = || Failure::failed("nobody reads the answer");
        let line = to_line(answer).map_err(Failure::failed)?;
        if self.gone {
            return Err(gone());
        }
        let written = timeout(WRITE_DEADLINE, self.output.write_all(&line)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            _ => {
                self.gone = true;
                Err(gone())
            }
        }
    }
}
