//! `doveauth`: the command line of [`doveauth`].

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use chatmail::cli::{CheckConfigArgs, ConfigArgs};
use chatmail::lifecycle::{
    DRAIN_DEADLINE, Exit, StopSignals, notify_ready, notify_stopping, raise_descriptor_limit,
};
use chatmail::{Config, accounts::Store};
use clap::{Parser, Subcommand};
use doveauth::blocks::{BlocksCommand, Done};
use doveauth::{Daemon, Drained};

/// Answers Dovecot for a chatmail relay: who may log in, where mailboxes are, when users were
/// last there. The first login with an address creates its account.
///
/// Run it as the mail user (vmail) before Dovecot starts. Sockets, limits and the mailboxes
/// directory come from chatmail.ini; `doveauth check-config --describe` explains every key.
/// RUST_LOG=debug logs more. SIGTERM makes it answer what was asked and stop.
#[derive(Debug, Parser)]
#[command(name = "doveauth", version, after_help = EXIT_STATUS)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_STATUS: &str = "Exit status: 0 stopped as told, 70 failure while running, \
    71 a socket or port could not be had, 78 configuration error";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon (what happens without a command)
    Serve,
    /// Check the configuration file, or explain its keys
    CheckConfig(CheckConfigArgs),
    /// Look at the accounts
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Look at the block list, or change it: addresses, domains and networks that mail is refused from
    #[command(subcommand)]
    Blocks(BlocksCommand),
}

#[derive(Debug, Subcommand)]
enum AccountsCommand {
    /// Print the addresses of all accounts, one per line, in no order
    List {
        /// Print one JSON object per line: {"address": "…"}
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let exit = match arguments.command {
        Some(Command::Blocks(command)) => return run_blocks(&arguments.config, command),
        Some(Command::CheckConfig(check)) => check.run(&arguments.config),
        Some(Command::Accounts(AccountsCommand::List { json })) => arguments
            .config
            .run("doveauth", |config| list_accounts(config, json)),
        Some(Command::Serve) | None => arguments.config.run("doveauth", serve),
    };
    exit.into()
}

/// One thread serves all sockets: a lookup is a few microseconds of work, so nothing is gained by
/// handing connections from processor to processor. What may take longer, hashing and a cold disk,
/// goes to threads of its own.
fn serve(config: &Config) -> Exit {
    raise_descriptor_limit();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
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
    let started = StopSignals::new()
        .context("cannot take signals")
        .and_then(|signals| Ok((signals, Daemon::bind(config)?)));
    let (mut signals, daemon) = match started {
        Ok(started) => started,
        Err(error) => {
            tracing::error!("{error:#}");
            return Exit::System;
        }
    };
    notify_ready();
    let stop = async {
        signals.received().await;
        tracing::info!("stopping");
        notify_stopping();
    };
    match daemon.run(stop, DRAIN_DEADLINE).await {
        Drained::All => Exit::Stopped,
        Drained::Some => {
            tracing::error!("requests were still open after {DRAIN_DEADLINE:?}");
            Exit::Failure
        }
    }
}

fn list_accounts(config: &Config, json: bool) -> Exit {
    match write_accounts(config, json, &mut io::BufWriter::new(io::stdout().lock())) {
        Ok(()) => Exit::Stopped,
        // Whoever read the list has seen enough, as `head` has.
        Err(error) if is_broken_pipe(&error) => Exit::Stopped,
        Err(error) => {
            tracing::error!("{error:#}");
            Exit::Failure
        }
    }
}

/// Not all of its exit statuses are those of a daemon.
fn run_blocks(arguments: &ConfigArgs, mut command: BlocksCommand) -> ExitCode {
    if let Err(error) = command.read_input(io::stdin().lock()) {
        eprintln!("error: {error:#}; nothing was changed");
        return ExitCode::from(2);
    }
    let mut done = Done::All;
    let exit = arguments.run("doveauth", |config| {
        match command.run(config, &mut io::BufWriter::new(io::stdout().lock())) {
            Ok(how) => done = how,
            Err(error) if is_broken_pipe(&error) => {}
            Err(error) => {
                tracing::error!("{error}");
                return Exit::Failure;
            }
        }
        Exit::Stopped
    });
    match (exit, done) {
        (Exit::Stopped, Done::SomeMissing) => ExitCode::from(1),
        (exit, _) => exit.into(),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn write_accounts(config: &Config, json: bool, out: &mut impl io::Write) -> anyhow::Result<()> {
    for address in Store::new(&config.mailboxes_dir).accounts()? {
        let address = address?.to_string();
        if json {
            writeln!(out, "{}", serde_json::json!({ "address": address }))?;
        } else {
            writeln!(out, "{address}")?;
        }
    }
    Ok(out.flush()?)
}
