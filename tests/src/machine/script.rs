//! Calls of `tests/machines/machine`. None lasts longer than it was told to.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// How long after SIGTERM the script, and what it runs, is killed.
const GRACE: &str = "--kill-after=10";

/// What `timeout` ends with when it was its patience that ended, and when it had to kill.
const TIMED_OUT: [i32; 2] = [124, 128 + 9];

/// How much an error repeats of what a command wrote.
const LAST_LINES: usize = 20;

/// The script, for one run.
#[derive(Debug)]
pub(super) struct Script {
    run: String,
}

impl Script {
    /// The run of this name, which belongs to this process.
    pub(super) fn new(run: String) -> Self {
        Self { run }
    }

    /// A call without any limit.
    pub(super) fn command(&self) -> Command {
        self.described(Command::new(path()))
    }

    /// A call that ends in time.
    ///
    /// # Errors
    /// It did not, and was killed.
    pub(super) fn run(
        &self,
        patience: Duration,
        arguments: &[&str],
        input: &[u8],
    ) -> anyhow::Result<Output> {
        let shown = || arguments.join(" ");
        let mut command = self.described(Command::new("timeout"));
        // Files, and no pipes: whoever is started in the background by what we run may keep its output open.
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command
            .args([GRACE, &patience.as_secs().to_string()])
            .arg(path())
            .args(arguments)
            .stdin(file_with(input)?)
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?);
        let started = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("running `machine {}`", shown()))?;
        let output = Output {
            status,
            stdout: content(&mut stdout)?,
            stderr: content(&mut stderr)?,
        };
        // A command may end so by itself, or be killed with its machine.
        let in_time = started.elapsed() < patience;
        ensure!(
            in_time || !status.code().is_some_and(|code| TIMED_OUT.contains(&code)),
            "`machine {}` did not end within {} seconds: {}",
            shown(),
            patience.as_secs(),
            last_words(&output)
        );
        Ok(output)
    }

    /// A call that ends well, and in time; returns what it wrote to its standard output.
    ///
    /// # Errors
    /// It failed; the message has its last words.
    pub(super) fn run_ok(&self, patience: Duration, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(patience, arguments, b"")?;
        ensure!(
            output.status.success(),
            "`machine {}` failed ({}): {}",
            arguments.join(" "),
            output.status,
            last_words(&output)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn described(&self, mut command: Command) -> Command {
        command
            .env("MACHINES_RUN", &self.run)
            .env("MACHINES_OWNER", std::process::id().to_string());
        command
    }
}

/// The last lines of what a command wrote: of its errors, or else of the rest.
pub(super) fn last_words(output: &Output) -> String {
    let said = match output.stderr.is_empty() {
        true => &output.stdout,
        false => &output.stderr,
    };
    let said = String::from_utf8_lossy(said);
    let lines: Vec<_> = said.trim_end().lines().collect();
    let last = lines.get(lines.len().saturating_sub(LAST_LINES)..);
    last.unwrap_or_default().join("\n")
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("machines/machine")
}

fn file_with(content: &[u8]) -> anyhow::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

fn content(file: &mut File) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    Ok(content)
}
