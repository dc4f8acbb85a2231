//! A bar for whoever waits at a terminal.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};

use crate::directory::Directory;
use crate::mailboxes;

/// Shows how many mailboxes have been looked at, or nothing.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar on standard error, if that is a terminal.
    pub fn at_terminal() -> Self {
        Self(io::stderr().is_terminal().then(ProgressBar::no_length))
    }

    /// None.
    pub fn hidden() -> Self {
        Self(None)
    }

    /// Begins with no more than `max` mailboxes of a directory. They are counted only if that is
    /// shown.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn begin(&self, root: &Directory, max: Option<u64>) -> io::Result<()> {
        let Some(bar) = &self.0 else {
            return Ok(());
        };
        let count = mailboxes::count(root)?;
        bar.set_length(max.map_or(count, |max| max.min(count)));
        let template = "{bar:40} {pos} of {len} mailboxes, {eta} left";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Ok(())
    }

    /// Another mailbox is done.
    pub fn step(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
