//! The `filtermail` binary: arguments, configuration, log, then the library.

use std::process::ExitCode;

use anyhow::Context as _;
use chatmail::Config;
use chatmail::cli::{CheckConfigArgs, ConfigArgs};
use chatmail::documents::DocumentsArgs;
use chatmail::lifecycle::{self, Exit, StopSignals};
use clap::{Parser, Subcommand};
use filtermail::check::CheckArgs;
use filtermail::daemon::Daemon;
use filtermail::dkim::command::DkimArgs;

/// The milter of a chatmail relay: only end-to-end encrypted mail passes
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
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
    /// Say for stored messages whether they would pass, and which rule they break
    #[command(after_help = CHECK_AFTER_HELP)]
    Check(CheckArgs),
    /// Make DKIM keys, print their DNS records, ask DNS for them
    Dkim(DkimArgs),
    /// Write manual pages and shell completions, for a package
    #[command(hide = true)]
    Documents(DocumentsArgs),
}

const AFTER_HELP: &str = "\
Postfix asks this daemon about each message: on its submission ports, on port 25, and about what it
sends itself. In master.cf:

    submissions inet n - y - - smtpd
      -o smtpd_milters=unix:filtermail/outgoing.sock
    smtp inet n - y - - smtpd
      -o smtpd_milters=unix:filtermail/incoming.sock

In main.cf:

    non_smtpd_milters = unix:filtermail/bounce.sock
    internal_mail_filter_classes = bounce
    milter_default_action = tempfail

The paths are relative to Postfix's queue directory, in whose chroot smtpd runs; filtermail_listen,
filtermail_incoming_listen and filtermail_bounce_listen in chatmail.ini name the same sockets from
the root. Mail from outside needs doveauth (policy_socket) and DNS (dns_servers); while one of them
is away, it is told to come back later.

Examples:
    filtermail --config /etc/chatmail/chatmail.ini
    filtermail check-config --describe
    filtermail check --login alice@chat.example message.eml

RUST_LOG sets what is logged: a level, or target=level pairs, e.g. RUST_LOG=debug.
Exit status: 0 told to stop, 71 a socket cannot be had, 78 bad configuration or DKIM keys.";

const CHECK_AFTER_HELP: &str = "\
Examples:
    filtermail check message.eml
    filtermail check --login alice@chat.example - < message.eml
    filtermail check --incoming --json ~/Maildir/cur/*

With --incoming too it is the content that is judged, and nothing else: no DKIM signature, no
recipient's wish for cleartext, no block list; delivery reports count as cleartext.
Lines may end in LF, as in a Maildir, or in CRLF.
Exit status: 0 all pass, 1 some would be refused, 2 some could not be judged.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::CheckConfig(check)) => check.run(&arguments.config).into(),
        Some(Command::Documents(documents)) => documents.run::<Arguments>().into(),
        Some(Command::Check(check)) => run_check(&check),
        Some(Command::Dkim(dkim)) => run_dkim(&arguments.config, &dkim),
        Some(Command::Serve) | None => arguments.config.run("filtermail", run_daemon).into(),
    }
}

fn run_check(check: &CheckArgs) -> ExitCode {
    match check.run(&mut std::io::stdout().lock()) {
        Ok(summary) => ExitCode::from(summary as u8),
        Err(error) => {
            eprintln!("error: cannot write the result: {error}");
            ExitCode::from(2)
        }
    }
}

fn run_dkim(config: &ConfigArgs, dkim: &DkimArgs) -> ExitCode {
    let (config, warnings) = match Config::load(&config.config) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::Configuration.into();
        }
    };
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    match dkim.run(&config, &mut std::io::stdout().lock()) {
        Ok(status) => ExitCode::from(status as u8),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_daemon(config: &Config) -> Exit {
    serve(config).unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        Exit::System
    })
}

/// One thread serves all connections: Postfix spends several times the processor time on a message
/// (a 5 MB one takes us 7 ms, a signature 0.3 ms), so one is enough, and nothing travels between
/// processors.
fn serve(config: &Config) -> anyhow::Result<Exit> {
    lifecycle::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let mut signals = StopSignals::new().context("cannot wait for signals")?;
        let daemon = match Daemon::bind(config) {
            Ok(daemon) => daemon,
            Err(error) => {
                tracing::error!("{error}");
                return Ok(error.exit());
            }
        };
        lifecycle::notify_ready();
        let stop = async {
            signals.received().await;
            lifecycle::notify_stopping();
            tracing::info!("stopping");
        };
        daemon.run(stop).await;
        Ok(Exit::Stopped)
    })
}
