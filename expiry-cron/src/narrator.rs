//! What is told while a job works: trouble, and on demand every step.

use std::fmt;
use std::io::{self, Write as _};

use chatmail::log_limit::LogLimit;

/// Tells what is going on. Names, which are addresses, stand only in what was asked for with
/// `--verbose`.
#[derive(Debug)]
pub struct Narrator {
    verbose: bool,
    limit: LogLimit,
}

impl Narrator {
    /// With every step or only with trouble.
    pub fn new(verbose: bool) -> Self {
        Self {
            verbose,
            limit: LogLimit::new(),
        }
    }

    /// Tells of a step, if somebody wants to hear of it.
    pub fn step(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            // Nobody is there to be told that nobody is there.
            let _ = writeln!(io::stderr().lock(), "{}", text());
        }
    }

    /// Tells that something cannot be done, and on demand with what.
    pub fn trouble(&self, what: &str, at: &dyn fmt::Display, error: &dyn std::error::Error) {
        if self.verbose {
            let _ = writeln!(io::stderr().lock(), "cannot {what} {at}: {error}");
        } else if let Some(suppressed) = self.limit.allow() {
            tracing::warn!(suppressed, "cannot {what}: {error} (--verbose tells where)");
        }
    }
}
