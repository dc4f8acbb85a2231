//! What waits in Postfix's queue, by destination.
//!
//! `postqueue -j` prints a line of JSON for each message; it is read as it comes, and of each
//! destination only sums and a few reasons are kept. `postqueue` asks Postfix's showq(8) service over
//! `public/showq` in the queue directory, which only the group `postdrop` may enter: **the bridge's user
//! must be in that group** (`SupplementaryGroups=postdrop`). The program is set-group-id for those who are
//! not, but it then refuses every `postfix_config_dir` that the system's own main.cf does not name in
//! `alternate_config_directories`. So it runs without the right to gain rights, as everything does below
//! a unit with `NoNewPrivileges=yes`: what it needs is the same everywhere. `authorized_mailq_users`
//! must let the bridge's user in, which it does by default.

mod summary;

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::redaction::without_addresses;
pub use summary::{DESTINATIONS_MAX, OTHERS, Summary};

/// How long Postfix may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How much of what `postqueue` complains of is read, in octets.
const COMPLAINT_MAX: u64 = 4096;

/// What waits for one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The recipients' domain.
    pub domain: String,
    /// How many messages wait; one for two domains counts for each.
    pub messages: u64,
    /// How many recipients they have there.
    pub recipients: u64,
    /// When the oldest one came, in seconds since 1970.
    pub oldest: i64,
    /// The size of all of them, in octets.
    pub octets: u64,
    /// What most of them wait for, without addresses; none while they were not tried.
    pub reason: Option<String>,
}

/// Why the queue cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// There is no `postqueue`, or it cannot be run.
    #[error("cannot run postqueue: {0}; is Postfix installed?")]
    Run(io::Error),
    /// It says why not.
    #[error("postqueue says: {0}")]
    Postqueue(String),
    /// What it prints cannot be read.
    #[error("cannot read what postqueue prints: {0}")]
    Read(io::Error),
    /// It takes too long.
    #[error("postqueue has not ended after {DEADLINE:?}")]
    Timeout,
}

/// Asks the Postfix with this configuration folder.
///
/// # Errors
/// See [`QueueError`].
pub async fn ask(config_dir: &Path) -> Result<Summary, QueueError> {
    let mut command = Command::new("postqueue");
    command
        .arg("-c")
        .arg(config_dir)
        .arg("-j")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut postqueue = spawn_without_privileges(command)
        .await
        .map_err(QueueError::Run)?;
    let (output, complaint) = (postqueue.stdout.take(), postqueue.stderr.take());
    let ended = async {
        let (summary, complaint) = tokio::join!(read(output), complaint_of(complaint));
        let status = postqueue.wait().await.map_err(QueueError::Run)?;
        match status.success() {
            true => summary.map_err(QueueError::Read),
            false if complaint.is_empty() => Err(QueueError::Postqueue(status.to_string())),
            false => Err(QueueError::Postqueue(complaint)),
        }
    };
    timeout(DEADLINE, ended)
        .await
        .unwrap_or(Err(QueueError::Timeout))
}

/// Rights cannot be gained from then on by the thread that starts the program. No other program is
/// ever started, so it does not matter which thread that is.
async fn spawn_without_privileges(mut command: Command) -> io::Result<Child> {
    let runtime = Handle::current();
    let spawned = tokio::task::spawn_blocking(move || {
        let _within = runtime.enter();
        nix::sys::prctl::set_no_new_privs()?;
        command.spawn()
    });
    spawned.await.map_err(io::Error::other)?
}

async fn read(output: Option<impl AsyncRead + Unpin>) -> io::Result<Summary> {
    match output {
        Some(output) => Summary::read(BufReader::new(output)).await,
        None => Ok(Summary::default()),
    }
}

/// All of it is read, so that the program can end, and the beginning is kept.
async fn complaint_of(output: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut output) = output {
        // What cannot be read is not shown.
        let _ = (&mut output)
            .take(COMPLAINT_MAX)
            .read_to_end(&mut kept)
            .await;
        let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    }
    without_addresses(&String::from_utf8_lossy(&kept))
}
