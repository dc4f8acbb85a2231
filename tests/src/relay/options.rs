//! What kind of relay to start.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The password of every account of a relay without our daemons.
pub const PLAIN_PASSWORD: &str = "plain-relay-password";

/// Who answers Postfix's and Dovecot's questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// Our daemons: accounts come into being by logging in, mail passes the gate.
    #[default]
    Full,
    /// Nobody: every address under the domain exists, with [`PLAIN_PASSWORD`], and mail passes
    /// unseen. It is what our daemons are measured against.
    Plain,
    /// Like [`Variant::Plain`], but mail passes a milter that judges nothing: what of filtermail's
    /// cost is Postfix's own work for any milter.
    NullMilter,
}

/// What the relays' addresses end in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DomainKind {
    /// `chat.test`, `chat2.test` and so on.
    #[default]
    Name,
    /// The relay's loopback address, as in `name@[127.0.0.2]`.
    IpLiteral,
}

/// What kind of relay to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayOptions {
    /// Which daemons, if any.
    pub variant: Variant,
    /// What the addresses end in.
    pub domain: DomainKind,
    /// Keys of `chatmail.ini` that differ from the testbed's choice.
    pub config: Vec<Setting>,
    /// Relays that know each other, at least one; 0 counts as one.
    pub relays: u8,
    /// The folder that holds the state folder: on a tmpfs, say, to measure without a disk. By
    /// default `chatmail-testbed` in the system's folder for temporary files.
    pub state_root: Option<PathBuf>,
    /// For measuring how mail is accepted, and nothing else: what was accepted is thrown away, and
    /// clients log in on the submission port without TLS.
    pub acceptance_only: bool,
}

impl RelayOptions {
    /// One relay without our daemons.
    pub fn plain() -> Self {
        Self {
            variant: Variant::Plain,
            ..Self::default()
        }
    }

    /// One relay without our daemons, whose milter does nothing.
    pub fn null_milter() -> Self {
        Self {
            variant: Variant::NullMilter,
            ..Self::default()
        }
    }

    /// The same with a key of `chatmail.ini` set.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.config.push(Setting {
            key: key.into(),
            value: value.to_string(),
        });
        self
    }
}

/// A line of `chatmail.ini`, written `KEY=VALUE` on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value, as it would stand in the file.
    pub value: String,
}

impl FromStr for Setting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        if value.contains('\n') {
            return Err("a value is a single line");
        }
        Ok(Self {
            key: key.trim().into(),
            value: value.trim().into(),
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.key, self.value)
    }
}
