//! `doveauth`: the command line of [`doveauth`].

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use chatmail::Config;
use chatmail::cli::{CheckConfigArgs, ConfigArgs};
use chatmail::documents::DocumentsArgs;
use chatmail::lifecycle::{
    DRAIN_DEADLINE, Exit, StopSignals, notify_ready, notify_stopping, raise_descriptor_limit,
};
use clap::{Parser, Subcommand};
use doveauth::accounts_command::AccountsCommand;
use doveauth::backends_command::BackendsCommand;
use doveauth::blocks::BlocksCommand;
use doveauth::invites_command::InvitesCommand;
use doveauth::{Daemon, Drained, command};

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
    /// Look at the accounts, or change them: make, block, unblock, delete, give another password
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Look at the invites, make some, or end them
    #[command(subcommand)]
    Invites(InvitesCommand),
    /// Look at the block list, or change it: addresses, domains and networks that mail is refused from
    #[command(subcommand)]
    Blocks(BlocksCommand),
    /// Look at the hosts that keep mailboxes, or change them, on a relay of several hosts
    #[command(subcommand)]
    Backends(BackendsCommand),
    /// Write manual pages and shell completions, for a package
    #[command(hide = true)]
    Documents(DocumentsArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = &arguments.config;
    let exit = match arguments.command {
        Some(Command::Accounts(command)) => {
            return command::run(config, |config, out| {
                command.run(config, io::stdin().lock(), out)
            });
        }
        Some(Command::Invites(command)) => {
            return command::run(config, |config, out| command.run(config, out));
        }
        Some(Command::Backends(command)) => {
            return command::run(config, |config, out| command.run(config, out));
        }
        Some(Command::Blocks(mut command)) => {
            return command::run(config, |config, out| {
                command.read_input(io::stdin().lock())?;
                command.run(config, out)
            });
        }
        Some(Command::CheckConfig(check)) => check.run(config),
        Some(Command::Documents(documents)) => documents.run::<Arguments>(),
        Some(Command::Serve) | None => config.run("doveauth", serve),
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
