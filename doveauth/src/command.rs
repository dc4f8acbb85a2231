//! What the operator's commands have in common: how they end.

use std::io::{self, BufWriter, StdoutLock};
use std::process::ExitCode;

use chatmail::Config;
use chatmail::cli::ConfigArgs;
use chatmail::lifecycle::Exit;

/// How a command went that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// As it was asked for.
    All,
    /// Some of what was to be changed or shown is not there, or what was to be made is.
    NotAll,
}

/// What was asked for cannot be; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}; nothing was changed")]
pub struct Wrong(pub String);

impl Wrong {
    /// The exit status (as clap has it for arguments).
    pub const STATUS: u8 = 2;
}

/// Runs a command with the configuration and standard output: 0 done, 1 [`Done::NotAll`], 2 [`Wrong`], 70 it
/// failed, 78 configuration error.
pub fn run(
    arguments: &ConfigArgs,
    command: impl FnOnce(&Config, &mut BufWriter<StdoutLock<'static>>) -> anyhow::Result<Done>,
) -> ExitCode {
    let mut status = None;
    let exit = arguments.run("doveauth", |config| {
        match command(config, &mut BufWriter::new(io::stdout().lock())) {
            Ok(Done::All) => {}
            Ok(Done::NotAll) => status = Some(1),
            // Whoever read the list has seen enough, as `head` has.
            Err(error) if is_broken_pipe(&error) => {}
            Err(error) if error.is::<Wrong>() => {
                eprintln!("error: {error}");
                status = Some(Wrong::STATUS);
            }
            Err(error) => {
                tracing::error!("{error}");
                return Exit::Failure;
            }
        }
        Exit::Stopped
    });
    status.map_or_else(|| exit.into(), ExitCode::from)
}

/// Waits for something, on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    let done = runtime.block_on(work);
    // Connections are closed by then, or may be lost.
    runtime.shutdown_background();
    Ok(done)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
