//! Programs that must not fail.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};

/// Runs a program without input, and gives what it said.
///
/// # Errors
/// It cannot be run, or fails; the message has the command and all that it said.
pub fn succeed(command: &mut Command) -> anyhow::Result<Output> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {shown}"))?;
    ensure!(
        output.status.success(),
        "{shown} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}
