//! The `mxdeliv-bridge` binary: arguments, configuration, log, then the library.

use std::process::ExitCode;

use anyhow::Context as _;
use chatmail::Config;
use chatmail::cli::{CheckConfigArgs, ConfigArgs};
use chatmail::documents::DocumentsArgs;
use chatmail::lifecycle::{self, Exit, StopSignals};
use clap::{Parser, Subcommand};
use mxdeliv_bridge::Daemon;
use mxdeliv_bridge::commands::{EXIT_STATUS, OperatorCommand, USAGE};
use mxdeliv_bridge::daemon::Drained;

/// Mail between chatmail relays over HTTPS, both ways
#[derive(Parser)]
#[command(version, after_help = EXIT_STATUS)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon; this is also what happens without a command
    Serve,
    /// Check the configuration file, or describe its keys
    CheckConfig(CheckConfigArgs),
    #[command(flatten)]
    Operator(OperatorCommand),
    /// Write manual pages and shell completions, for a package
    #[command(hide = true)]
    Documents(DocumentsArgs),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // What cannot be printed cannot be complained of either.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let exit = match arguments.command {
        Some(Command::Operator(command)) => return command.run(&arguments.config),
        Some(Command::CheckConfig(check)) => check.run(&arguments.config),
        Some(Command::Documents(documents)) => documents.run::<Arguments>(),
        Some(Command::Serve) | None => arguments.config.run("mxdeliv-bridge", serve),
    };
    exit.into()
}

fn serve(config: &Config) -> Exit {
    lifecycle::raise_descriptor_limit();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start threads: {error}");
            return Exit::System;
        }
    };
    let exit = runtime.block_on(serve_until_stopped(config));
    // Not waiting for threads that hang in a file system.
    runtime.shutdown_background();
    exit
}

async fn serve_until_stopped(config: &Config) -> Exit {
    let mut signals = match StopSignals::new().context("cannot take signals") {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("{error:#}");
            return Exit::System;
        }
    };
    let daemon = match Daemon::bind(config) {
        Ok(daemon) => daemon,
        Err(error) => {
            tracing::error!("{error}");
            return error.exit();
        }
    };
    lifecycle::notify_ready();
    let stop = async {
        signals.received().await;
        tracing::info!("stopping");
        lifecycle::notify_stopping();
    };
    match daemon.run(stop, lifecycle::DRAIN_DEADLINE).await {
        Drained::All => Exit::Stopped,
        Drained::Some => {
            tracing::error!(
                "mail was still under way after {:?}",
                lifecycle::DRAIN_DEADLINE
            );
            Exit::Failure
        }
    }
}
