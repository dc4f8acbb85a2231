//! What the command lines that show and change the list have in common.

use std::io::{self, BufRead, Write};
use std::str::FromStr;

use serde_json::json;

use super::{Addition, Entry, EntryError, Listed};

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

/// Why standard input does not hold entries.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read standard input: {0}")]
    Unreadable(#[from] io::Error),
    /// A line of it is no entry.
    #[error("line {line} of standard input, `{text}`: {why}")]
    WrongLine {
        /// Which line, counted from 1.
        line: usize,
        /// What it says.
        text: String,
        /// What is wrong with it.
        why: EntryError,
    },
}

impl Entries {
    /// Puts what standard input says into the place of `-`, so that nothing is left to be read.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn read_input(&mut self, input: impl BufRead) -> Result<(), InputError> {
        let is_input = |given: &Given| matches!(given, Given::StandardInput);
        if self.entries.iter().any(is_input) {
            self.entries.retain(|given| !is_input(given));
            self.entries.extend(read_lines(input)?);
        }
        Ok(())
    }

    /// What was given, once standard input was read.
    pub fn all(&self) -> Vec<Entry> {
        let entry = |given: &Given| match given {
            Given::Entry(entry) => Some(entry.clone()),
            Given::StandardInput => None,
        };
        self.entries.iter().filter_map(entry).collect()
    }

    /// Writes what came of each entry.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn report(
        &self,
        entries: &[Entry],
        outcomes: impl IntoIterator<Item = impl AsRef<str>>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for (entry, outcome) in entries.iter().zip(outcomes) {
            let outcome = outcome.as_ref();
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

impl Listed {
    /// Writes it as a line of the list.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        let (entry, kind) = (self.entry.to_string(), self.entry.kind());
        let (added, note) = (&self.added, &self.note);
        if json {
            let line = json!({ "entry": entry, "kind": kind, "added": added, "note": note });
            writeln!(out, "{line}")
        } else {
            writeln!(out, "{entry}\t{added}\t{note}")
        }
    }
}

impl Addition {
    /// In a word, for [`Entries::report`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Noted => "noted",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What came of removing an entry, for [`Entries::report`].
pub fn removal(was_there: bool) -> &'static str {
    match was_there {
        true => "removed",
        false => "missing",
    }
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

fn read_lines(input: impl BufRead) -> Result<Vec<Given>, InputError> {
    let mut given = Vec::new();
    for (number, line) in input.lines().enumerate() {
        let line = line?;
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let entry = text.parse().map_err(|why| InputError::WrongLine {
            line: number + 1,
            text: text.to_owned(),
            why,
        })?;
        given.push(Given::Entry(entry));
    }
    Ok(given)
}
