//! `filtermail check`: the verdict on stored messages, as the milter would give it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use chatmail::Address;
use serde_json::json;

use crate::gate::{Class, Direction, MessageReader, Progress, Rule};

/// Octets read at a time.
const CHUNK: usize = 64 << 10;

/// What to check, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// Judge as mail that an account submits [default]
    #[arg(long, conflicts_with = "incoming")]
    pub outgoing: bool,
    /// Judge the content as of mail that comes from another server
    #[arg(long)]
    pub incoming: bool,
    /// The account that submits the message: From must be this address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "incoming")]
    pub login: Option<Address>,
    /// Print one JSON object per file
    #[arg(long)]
    pub json: bool,
    /// Stored messages; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// The result of all files; its number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Summary {
    /// All pass.
    Pass = 0,
    /// Some would be refused.
    Refused = 1,
    /// Some could not be read.
    Unreadable = 2,
}

impl CheckArgs {
    /// Judges the files in their order and writes one line for each.
    ///
    /// # Errors
    /// `out` cannot be written. A file that cannot be read is a line and
    /// [`Summary::Unreadable`].
    pub fn run(&self, out: &mut impl Write) -> io::Result<Summary> {
        let mut summary = Summary::Pass;
        for file in &self.files {
            let finding = self.judge(file);
            if self.json {
                writeln!(out, "{}", finding.to_json(file))?;
            } else {
                writeln!(out, "{}: {}", file.display(), finding.to_text())?;
            }
            summary = summary.max(finding.summary());
        }
        out.flush()?;
        Ok(summary)
    }

    fn judge(&self, file: &Path) -> Finding {
        let read = if file == Path::new("-") {
            self.judge_stream(io::stdin().lock())
        } else {
            File::open(file).and_then(|file| self.judge_stream(file))
        };
        read.unwrap_or_else(Finding::Unreadable)
    }

    fn judge_stream(&self, mut stream: impl Read) -> io::Result<Finding> {
        let direction = if self.incoming {
            Direction::Incoming
        } else {
            Direction::Outgoing
        };
        let mut reader = MessageReader::new_stored(direction);
        let mut chunk = vec![0; CHUNK];
        loop {
            let filled = match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece = chunk.get(..filled).unwrap_or(&chunk);
            if reader.push(piece) == Progress::Decided {
                break;
            }
        }
        let verdict = reader.finish();
        if let Some(login) = &self.login {
            match verdict.from {
                Err(rule) => return Ok(Finding::Refused(rule)),
                Ok(from) if from != *login => return Ok(Finding::NotLogin(from)),
                Ok(_) => {}
            }
        }
        Ok(match verdict.class {
            Class::Encrypted => Finding::Encrypted,
            Class::SecurejoinRequest => Finding::Securejoin,
            Class::Cleartext(rule) => Finding::Refused(rule),
        })
    }
}

enum Finding {
    Encrypted,
    Securejoin,
    Refused(Rule),
    /// `From` is this address instead of the login.
    NotLogin(Address),
    Unreadable(io::Error),
}

impl Finding {
    fn summary(&self) -> Summary {
        match self {
            Self::Encrypted | Self::Securejoin => Summary::Pass,
            Self::Refused(_) | Self::NotLogin(_) => Summary::Refused,
            Self::Unreadable(_) => Summary::Unreadable,
        }
    }

    fn verdict(&self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Securejoin => "securejoin",
            Self::Refused(_) | Self::NotLogin(_) => "refused",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// The rule's name and what it says, for those that do not pass.
    fn reason(&self) -> Option<(String, String)> {
        match self {
            Self::Encrypted | Self::Securejoin => None,
            Self::Refused(rule) => Some((rule.to_string(), rule.explanation().to_string())),
            Self::NotLogin(from) => Some((
                "from-is-not-login".to_owned(),
                format!("From is {from}, not the login"),
            )),
            Self::Unreadable(error) => Some(("unreadable".to_owned(), error.to_string())),
        }
    }

    fn to_text(&self) -> String {
        match (self, self.reason()) {
            (Self::Unreadable(error), _) => format!("could not be judged: {error}"),
            (_, Some((rule, explanation))) => format!("refused ({rule}): {explanation}"),
            (_, None) => self.verdict().to_owned(),
        }
    }

    fn to_json(&self, file: &Path) -> serde_json::Value {
        let (rule, explanation) = self.reason().unzip();
        json!({
            "file": file.to_string_lossy(),
            "verdict": self.verdict(),
            "rule": rule,
            "explanation": explanation,
        })
    }
}
