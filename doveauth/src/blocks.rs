//! `doveauth blocks`: the relay's block list on the command line.
//!
//! It writes the file that the daemon reads, so it works whether that is running or not, and what it
//! has changed holds when it returns.

pub mod dict;

use std::io::{BufRead, Write};

use chatmail::Config;
use chatmail::blocks::arguments::{Entries, removal};
use chatmail::blocks::{Addition, Note};
use clap::Subcommand;

use crate::command::{Done, Wrong};
use crate::tables::Tables;

/// What to do with the list.
#[derive(Debug, Subcommand)]
pub enum BlocksCommand {
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
    doveauth blocks list
    doveauth blocks list --json | jq -r 'select(.kind == \"network\") | .entry'

The columns are separated by TAB; times are in UTC.
Exit status: 0 done, 70 the list cannot be read, 78 configuration error.";

const ADD_AFTER_HELP: &str = "\
Examples:
    doveauth blocks add mallory@spam.example
    doveauth blocks add --note 'sends offers' spam.example 192.0.2.0/24 2001:db8::/32
    curl -s https://example.org/blocked-domains.txt | doveauth blocks add -

An address blocks that sender with all its +tags; one of the relay's own accounts neither gets
nor sends mail any more, but can still log in. A domain blocks all its senders, and none of the domains below
it. A network blocks all clients in it.

All entries are added, or none if one of them is wrong. At most 100 000 can be on the list.
The daemon need not be restarted.
Exit status: 0 all are on the list, 2 an entry is wrong, 70 the list cannot be changed,
78 configuration error.";

const REMOVE_AFTER_HELP: &str = "\
Examples:
    doveauth blocks remove mallory@spam.example 192.0.2.0/24
    doveauth blocks list --json | jq -r .entry | doveauth blocks remove -

Entries are removed as they were added: removing an address leaves its domain blocked.
The daemon need not be restarted.
Exit status: 0 all were on the list and are removed, 1 some were not on the list, 2 an entry is
wrong and none was removed, 70 the list cannot be changed, 78 configuration error.";

impl BlocksCommand {
    /// Puts what standard input says into the place of `-`, so that nothing is left to be read.
    ///
    /// # Errors
    /// What it says is wrong, or it cannot be read.
    pub fn read_input(&mut self, input: impl BufRead) -> Result<(), Wrong> {
        let read = match self {
            Self::Add { entries, .. } | Self::Remove { entries, .. } => entries.read_input(input),
            Self::List { .. } => Ok(()),
        };
        read.map_err(|error| Wrong(error.to_string()))
    }

    /// Does it, and writes what came of it, a line for each entry.
    ///
    /// # Errors
    /// The list cannot be read or changed, or `out` cannot be written.
    pub fn run(&self, config: &Config, out: &mut impl Write) -> anyhow::Result<Done> {
        let done = match self {
            Self::List { json } => list(config, *json, out)?,
            Self::Add { note, entries } => add(config, note.as_ref(), entries, out)?,
            Self::Remove { entries } => remove(config, entries, out)?,
        };
        out.flush()?;
        Ok(done)
    }
}

fn list(config: &Config, json: bool, out: &mut impl Write) -> anyhow::Result<Done> {
    for listed in Tables::with(config, Tables::blocks)? {
        listed.write(json, out)?;
    }
    Ok(Done::All)
}

fn add(
    config: &Config,
    note: Option<&Note>,
    given: &Entries,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let entries = given.all();
    let additions = Tables::with(config, async |tables| {
        tables.add_blocks(&entries, note).await
    })?;
    let outcomes = additions.into_iter().map(Addition::as_str);
    given.report(&entries, outcomes, out)?;
    Ok(Done::All)
}

fn remove(config: &Config, given: &Entries, out: &mut impl Write) -> anyhow::Result<Done> {
    let entries = given.all();
    let removed = Tables::with(config, async |tables| tables.remove_blocks(&entries).await)?;
    let outcomes = removed.iter().map(|&removed| removal(removed));
    given.report(&entries, outcomes, out)?;
    Ok(if removed.contains(&false) {
        Done::NotAll
    } else {
        Done::All
    })
}
