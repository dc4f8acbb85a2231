//! What came of each account, a line each.

use std::io::{self, Write};

use chatmail::Address;
use chatmail::accounts::Change;
use serde_json::json;

use super::sessions::Sessions;
use crate::command::Done;

/// What came of one account.
pub(super) struct Report<'a> {
    address: &'a Address,
    outcome: &'a str,
    /// For whoever gave none.
    pub(super) password: Option<&'a str>,
    /// What became of its sessions, if they were to end.
    pub(super) sessions: Option<Sessions>,
}

impl<'a> Report<'a> {
    /// Neither password nor sessions.
    pub(super) fn of(address: &'a Address, outcome: &'a str) -> Self {
        Self {
            address,
            outcome,
            password: None,
            sessions: None,
        }
    }

    /// Writes it; complains on standard error about sessions that may go on.
    pub(super) fn write(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        let Self {
            address, outcome, ..
        } = self;
        if json {
            let mut line = json!({ "address": address.to_string(), "outcome": outcome });
            if let Some(password) = self.password {
                line["password"] = password.into();
            }
            if let Some(sessions) = &self.sessions {
                line["sessions"] = sessions.as_str().into();
            }
            writeln!(out, "{line}")?;
        } else {
            write!(out, "{outcome} {address}")?;
            if let Some(password) = self.password {
                write!(out, " {password}")?;
            }
            writeln!(out)?;
        }
        if let Some(Sessions::Unknown(why)) = &self.sessions {
            eprintln!("warning: its sessions, if there are any, were not ended: {why}");
        }
        Ok(())
    }
}

/// What came of several.
pub(super) struct Reports<'a, W> {
    json: bool,
    out: &'a mut W,
    done: Done,
}

impl<'a, W: Write> Reports<'a, W> {
    pub(super) fn new(json: bool, out: &'a mut W) -> Self {
        let done = Done::All;
        Self { json, out, done }
    }

    /// Writes what came of the next one; `done` is the word for what was to be done.
    pub(super) fn write(
        &mut self,
        address: &Address,
        change: Change,
        done: &str,
        sessions: Option<Sessions>,
    ) -> io::Result<()> {
        let outcome = match change {
            Change::Done => done,
            Change::Unchanged => "unchanged",
            Change::Missing => {
                self.done = Done::NotAll;
                "missing"
            }
        };
        let mut report = Report::of(address, outcome);
        report.sessions = sessions;
        report.write(self.json, self.out)
    }

    /// How it went all in all.
    pub(super) fn done(&self) -> Done {
        self.done
    }
}
