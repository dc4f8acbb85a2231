//! `mxdeliv-bridge block`: the block list, as `doveauth blocks` shows and changes it.

use std::io;

use chatmail::blocks::arguments::Entries;
use chatmail::blocks::{Entry, Listed, Note};
use clap::Subcommand;
use serde::Deserialize;

use super::{CommandError, Daemon, Done, FAILURE, USAGE};
use crate::admin::client::AskError;
use crate::admin::protocol::Request;

/// What to do with the list.
#[derive(Debug, Subcommand)]
pub enum BlockCommand {
    /// Print all entries, each with the time it was added and its note
    #[command(after_help = LIST_AFTER_HELP)]
    List {
        /// Print one JSON object per line: {"entry": "…", "kind": "…", "added": "…", "note": "…"}
        #[arg(long)]
        json: bool,
    },
    /// Refuse mail from addresses, domains or networks
    #[command(after_help = ADD_AFTER_HELP)]
    Add {
        /// Why: a line for whoever reads the list. Entries that are there get it too
        #[arg(long, value_name = "TEXT")]
        note: Option<Note>,
        /// What to change, and how to report it
        #[command(flatten)]
        entries: Entries,
    },
    /// Take mail from addresses, domains or networks again
    #[command(after_help = REMOVE_AFTER_HELP)]
    Remove {
        /// What to change, and how to report it
        #[command(flatten)]
        entries: Entries,
    },
}

const LIST_AFTER_HELP: &str = "\
Examples:
    mxdeliv-bridge block list
    mxdeliv-bridge block list --json | jq -r 'select(.kind == \"network\") | .entry'

It is the list of `doveauth blocks`. The columns are separated by TAB; times are in UTC.
Exit status: 0 done, 64 wrong usage, 69 the daemon or doveauth is away, 70 failure,
78 configuration error.";

const ADD_AFTER_HELP: &str = "\
Examples:
    mxdeliv-bridge block add mallory@spam.example
    mxdeliv-bridge block add --note 'sends offers' spam.example 192.0.2.0/24

All entries are added, or none if one of them is wrong; at most 256 at once, with `doveauth blocks` any number.
Exit status: 0 all are on the list, 64 wrong usage, 69 the daemon or doveauth is away, 70 failure,
78 configuration error.";

const REMOVE_AFTER_HELP: &str = "\
Examples:
    mxdeliv-bridge block remove mallory@spam.example 192.0.2.0/24

Entries are removed as they were added: removing an address leaves its domain blocked.
Exit status: 0 all were on the list and are removed, 1 some were not on the list, 64 wrong usage and none
was removed, 69 the daemon or doveauth is away, 70 failure, 78 configuration error.";

/// An entry as the daemon shows it.
#[derive(Deserialize)]
struct Row {
    entry: String,
    added: String,
    note: String,
}

impl BlockCommand {
    /// Does it, and prints what came of it.
    pub(super) fn ask(mut self, daemon: &Daemon<'_>) -> Result<Done, CommandError> {
        if let Self::Add { entries, .. } | Self::Remove { entries } = &mut self {
            let read = entries.read_input(io::stdin().lock());
            read.map_err(|error| CommandError {
                text: format!("{error}; nothing was changed"),
                status: USAGE,
            })?;
        }
        match self {
            Self::List { json } => list(daemon, json),
            Self::Add { note, entries } => {
                let all = entries.all();
                let request = Request::BlockAdd {
                    entries: texts(&all),
                    note: note.map(|note| note.as_str().to_owned()),
                };
                change(daemon, &request, &entries, &all)
            }
            Self::Remove { entries } => {
                let all = entries.all();
                let request = Request::BlockRemove {
                    entries: texts(&all),
                };
                change(daemon, &request, &entries, &all)
            }
        }
    }
}

fn list(daemon: &Daemon<'_>, json: bool) -> Result<Done, CommandError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    daemon.ask(&Request::BlockList, |row| {
        let Row { entry, added, note } = serde_json::from_value(row)?;
        let entry = entry.parse().map_err(io::Error::other)?;
        Listed { entry, note, added }.write(json, &mut out)
    })?;
    Ok(Done::All)
}

fn change(
    daemon: &Daemon<'_>,
    request: &Request,
    given: &Entries,
    all: &[Entry],
) -> Result<Done, CommandError> {
    let mut outcomes: Vec<String> = Vec::new();
    daemon.ask(request, |row| {
        outcomes.push(serde_json::from_value(row)?);
        Ok(())
    })?;
    let reported = given.report(all, &outcomes, &mut io::stdout().lock());
    match reported {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(CommandError {
                text: AskError::Write(error).to_string(),
                status: FAILURE,
            });
        }
        _ => {}
    }
    let missing = outcomes.iter().any(|outcome| outcome == "missing");
    Ok(if missing { Done::Missing } else { Done::All })
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(Entry::to_string).collect()
}
