//! The operator's command line: asks the daemon, and shows what it says as a table or as JSON; renders web
//! pages, which takes no daemon.

mod block;
mod endpoint;
mod pages;
mod show;

use std::io::{self, Write as _};
use std::process::ExitCode;

use chatmail::Config;
use chatmail::cli::ConfigArgs;
use clap::Subcommand;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::client::{AskError, ask};
use crate::admin::protocol::{FailureKind, Request};
use crate::admin::{Destination, PeerRow};
use crate::probe::Step;
use block::BlockCommand;
use endpoint::EndpointCommand;
use pages::PagesArgs;

/// What an operator can ask for, most of it of the running daemon.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Show which way mail for each peer goes and how it fares
    #[command(after_help = PEERS_AFTER_HELP)]
    Peers {
        /// Show only this one
        domain: Option<String>,
        /// Print one JSON object per peer and line
        #[arg(long)]
        json: bool,
    },
    /// Show what waits in Postfix's queue, by destination, and for what
    #[command(after_help = QUEUE_AFTER_HELP)]
    Queue {
        /// Print one JSON object per destination and line
        #[arg(long)]
        json: bool,
    },
    /// Try how a domain can be reached: DNS, HTTPS, SMTP, each step with its time
    #[command(after_help = PROBE_AFTER_HELP)]
    Probe {
        /// A domain, or an address for a relay that is known by its address only
        domain: String,
        /// Print one JSON object per step and line
        #[arg(long)]
        json: bool,
    },
    /// Show or change what you have decided about peers
    #[command(subcommand)]
    Endpoint(EndpointCommand),
    /// Show or change the block list: whom mail is refused from
    #[command(subcommand)]
    Block(BlockCommand),
    /// Write the relay's web pages, as chatmail.ini has it, for nginx to serve
    #[command(after_help = pages::AFTER_HELP)]
    Pages(PagesArgs),
}

/// How all of these commands end.
pub const EXIT_STATUS: &str = "Exit status: 0 done, 1 what was to be removed was not there, 64 wrong usage, \
69 the daemon, Postfix or doveauth is away, 70 failure, 78 configuration error.";

const PEERS_AFTER_HELP: &str = "\
Examples:
    mxdeliv-bridge peers
    mxdeliv-bridge peers example.org --json | jq .ways

PATH is where mail for the peer goes now; (decided) marks your own decision. A line stands for a direction
and a transport. 1H and 24H are the parts of attempts that succeeded, with the number of attempts;
AVERAGE and P95 are the times of those that succeeded in 24 hours, P95 within 10 %. A - is \"no data\".
Peers are those that mail was sent to, and those that have proved their domain by sending.
Exit status: 0 done, 64 wrong usage, 69 the daemon is away, 70 failure, 78 configuration error.";

const QUEUE_AFTER_HELP: &str = "\
Examples:
    mxdeliv-bridge queue
    mxdeliv-bridge queue --json | jq 'select(.messages > 100)'

REASON is what most of a destination's recipients wait for; a - is \"not tried yet\".
The daemon runs `postqueue`, so its user must be in the group postdrop.
Exit status: 0 done, 64 wrong usage, 69 the daemon or Postfix is away, 70 failure, 78 configuration error.";

const PROBE_AFTER_HELP: &str = "\
Examples:
    mxdeliv-bridge probe example.org
    mxdeliv-bridge probe 192.0.2.1 --json

No message is sent. Lines come as steps are done; one that failed begins with !. The last says which way
mail goes.
Exit status: 0 done, whatever came of the steps, 64 wrong usage, 69 the daemon is away, 70 failure,
78 configuration error.";

/// How a command ended, unless it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// As it was asked for.
    All,
    /// What was to be removed was not there.
    Missing,
}

/// Why a command failed, with its exit status (sysexits(3)).
#[derive(Debug)]
struct CommandError {
    text: String,
    status: u8,
}

/// The status of wrong usage.
pub const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const FAILURE: u8 = 70;
const CONFIGURATION: u8 = 78;

impl OperatorCommand {
    /// Runs it. What goes wrong is told on stderr.
    pub fn run(self, arguments: &ConfigArgs) -> ExitCode {
        let config = match Config::load(&arguments.config) {
            Ok((config, _)) => config,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(CONFIGURATION);
            }
        };
        match self.ask(&config) {
            Ok(Done::All) => ExitCode::SUCCESS,
            Ok(Done::Missing) => ExitCode::from(1),
            Err(error) => {
                eprintln!("error: {}", error.text);
                ExitCode::from(error.status)
            }
        }
    }

    fn ask(self, config: &Config) -> Result<Done, CommandError> {
        let daemon = Daemon(config);
        match self {
            Self::Peers { domain, json } => {
                let request = Request::Peers { domain };
                let heading = show::PEERS;
                daemon.table(&request, json, heading, |row: PeerRow| show::peer(&row))
            }
            Self::Queue { json } => {
                let heading = show::QUEUE;
                let line = |row: Destination| vec![show::destination(&row)];
                daemon.table(&Request::Queue, json, heading, line)
            }
            Self::Probe { domain, json } => {
                let request = Request::Probe { domain };
                daemon.lines(&request, json, |step: Step| show::step(&step))
            }
            Self::Endpoint(command) => command.ask(&daemon),
            Self::Block(command) => command.ask(&daemon),
            Self::Pages(arguments) => arguments.render(config),
        }
    }
}

/// The daemon of a configuration.
struct Daemon<'a>(&'a Config);

impl Daemon<'_> {
    /// Asks, and lets `show` have each row.
    fn ask(
        &self,
        request: &Request,
        show: impl FnMut(Value) -> io::Result<()>,
    ) -> Result<(), CommandError> {
        match ask(&self.0.mxdeliv_admin_socket, request, show) {
            Ok(()) => Ok(()),
            // Whoever read the output has seen enough, as `head` has.
            Err(AskError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks, and prints a line for each row, as it comes.
    fn lines<T: DeserializeOwned>(
        &self,
        request: &Request,
        json: bool,
        line: impl Fn(T) -> String,
    ) -> Result<Done, CommandError> {
        let mut out = io::stdout().lock();
        self.ask(request, |row| {
            match json {
                true => writeln!(out, "{row}")?,
                false => writeln!(out, "{}", line(serde_json::from_value(row)?))?,
            }
            out.flush()
        })?;
        Ok(Done::All)
    }

    /// Asks, and prints a table once all rows are there, or each row at once as JSON. `lines` makes the cells
    /// of a row's lines.
    fn table<T: DeserializeOwned>(
        &self,
        request: &Request,
        json: bool,
        heading: &[&str],
        lines: impl Fn(T) -> Vec<Vec<String>>,
    ) -> Result<Done, CommandError> {
        if json {
            return self.lines(request, json, |_: Value| String::new());
        }
        let mut table = show::Table::new(heading);
        let asked = self.ask(request, |row| {
            lines(serde_json::from_value(row)?)
                .into_iter()
                .for_each(|line| table.add(line));
            Ok(())
        });
        // What came before a failure is shown all the same.
        match write!(io::stdout().lock(), "{table}") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(AskError::Write(error).into());
            }
            _ => asked?,
        }
        Ok(Done::All)
    }
}

impl From<AskError> for CommandError {
    fn from(error: AskError) -> Self {
        let status = match &error {
            AskError::Away { .. } => UNAVAILABLE,
            AskError::Failed(failure) => match failure.kind {
                FailureKind::Usage => USAGE,
                FailureKind::Unavailable => UNAVAILABLE,
                FailureKind::Failed => FAILURE,
            },
            _ => FAILURE,
        };
        let text = error.to_string();
        Self { text, status }
    }
}
