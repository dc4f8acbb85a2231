//! `doveauth blocks`: the relay's block list on the command line.
//!
//! It writes the file that the daemon reads, so it works whether that is running or not, and what it
//! has changed holds when it returns.

use std::io::{self, BufRead, Write};
use std::str::FromStr;

use anyhow::Context as _;
use chatmail::Config;
use chatmail::blocks::{Addition, BlockTable, Entry, EntryError, Note};
use clap::Subcommand;
use serde_json::json;

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

An address blocks that sender with all its +tags; one of the relay's own accounts gets no mail any
more, but can still log in and send. A domain blocks all its senders, and none of the domains below
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

/// Entries to add or to remove.
#[derive(Clone, Debug, clap::Args)]
pub struct Entries {
    /// Print one JSON object per entry: {"entry": "…", "kind": "…", "outcome": "…"}
    #[arg(long)]
    json: bool,
    /// Addresses, domains, networks (192.0.2.0/24) or IP addresses; - reads them from standard
    /// input, one per line, where lines that begin with # are skipped
    #[arg(required = true, value_name = "ENTRY")]
    entries: Vec<Given>,
}

#[derive(Clone, Debug)]
enum Given {
    Entry(Entry),
    StandardInput,
}

impl FromStr for Given {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        match text {
            "-" => Ok(Self::StandardInput),
            text => text.parse().map(Self::Entry),
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// As it was asked for.
    All,
    /// Some entries that were to be removed were not there.
    SomeMissing,
}

/// A line of standard input that is no entry.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of standard input, `{text}`: {why}")]
pub struct WrongLine {
    line: usize,
    text: String,
    why: EntryError,
}

impl BlocksCommand {
    /// Puts what standard input says into the place of `-`, so that nothing is left to be read.
    ///
    /// # Errors
    /// [`WrongLine`], or standard input cannot be read.
    pub fn read_input(&mut self, input: impl BufRead) -> anyhow::Result<()> {
        let (Self::Add { entries, .. } | Self::Remove { entries, .. }) = self else {
            return Ok(());
        };
        let is_input = |given: &Given| matches!(given, Given::StandardInput);
        if entries.entries.iter().any(is_input) {
            entries.entries.retain(|given| !is_input(given));
            entries.entries.extend(read_lines(input)?);
        }
        Ok(())
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

fn read_lines(input: impl BufRead) -> anyhow::Result<Vec<Given>> {
    let mut given = Vec::new();
    for (number, line) in input.lines().enumerate() {
        let line = line.context("cannot read standard input")?;
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let entry = text.parse().map_err(|why| WrongLine {
            line: number + 1,
            text: text.to_owned(),
            why,
        })?;
        given.push(Given::Entry(entry));
    }
    Ok(given)
}

impl Entries {
    fn all(&self) -> Vec<Entry> {
        let entry = |given: &Given| match given {
            Given::Entry(entry) => Some(entry.clone()),
            Given::StandardInput => None,
        };
        self.entries.iter().filter_map(entry).collect()
    }

    fn report(
        &self,
        entries: &[Entry],
        outcomes: impl IntoIterator<Item = &'static str>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for (entry, outcome) in entries.iter().zip(outcomes) {
            if self.json {
                let text = entry.to_string();
                let line = json!({ "entry": text, "kind": entry.kind(), "outcome": outcome });
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{outcome} {entry}")?;
            }
        }
        Ok(())
    }
}

fn list(config: &Config, json: bool, out: &mut impl Write) -> anyhow::Result<Done> {
    let Some(mut table) = BlockTable::open(&config.database_path)? else {
        return Ok(Done::All);
    };
    for listed in table.entries()? {
        let (entry, kind) = (listed.entry.to_string(), listed.entry.kind());
        let (added, note) = (listed.added, listed.note);
        if json {
            let line = json!({ "entry": entry, "kind": kind, "added": added, "note": note });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{entry}\t{added}\t{note}")?;
        }
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
    let mut table = BlockTable::open_or_create(&config.database_path, &config.mail_user)?;
    let additions = table.add(&entries, note)?;
    let outcomes = additions.iter().map(|addition| match addition {
        Addition::Added => "added",
        Addition::Noted => "noted",
        Addition::Unchanged => "unchanged",
    });
    given.report(&entries, outcomes, out)?;
    Ok(Done::All)
}

fn remove(config: &Config, given: &Entries, out: &mut impl Write) -> anyhow::Result<Done> {
    let entries = given.all();
    let removed = match BlockTable::open(&config.database_path)? {
        Some(mut table) => table.remove(&entries)?,
        None => vec![false; entries.len()],
    };
    let outcomes = removed.iter().map(|&removed| match removed {
        true => "removed",
        false => "missing",
    });
    given.report(&entries, outcomes, out)?;
    Ok(if removed.contains(&false) {
        Done::SomeMissing
    } else {
        Done::All
    })
}
