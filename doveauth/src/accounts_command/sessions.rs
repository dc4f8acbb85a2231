//! Ending a user's sessions.

use std::process::{Command, Stdio};

use chatmail::{Address, Config};

/// What became of the sessions of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sessions {
    /// They are told to end.
    Ended,
    /// There were none.
    None,
    /// Nobody knows: Dovecot does not run, or does not answer. Why.
    Unknown(String),
}

/// What doveadm ends with when it has found nobody to kick (DOVEADM_EX_NOTFOUND).
const NOBODY: i32 = 68;

impl Sessions {
    /// In a word, for reports.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::None => "none",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Asks Dovecot to end the sessions of an account.
    pub(super) fn end(config: &Config, address: &Address) -> Self {
        let [program, options @ ..] = config.doveadm_command.0.as_slice() else {
            return Self::Unknown("doveadm_command is empty".into());
        };
        let output = Command::new(program)
            .args(options)
            .args(["kick", &pattern(address)])
            .stdin(Stdio::null())
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) => return Self::Unknown(format!("{program}: {error}")),
        };
        match output.status.code() {
            Some(0) => Self::Ended,
            Some(NOBODY) => Self::None,
            _ => {
                let said = String::from_utf8_lossy(&output.stderr);
                // It may quote the address.
                let said = said.replace(&address.to_string(), "(address)");
                let last = said.lines().last().unwrap_or_default();
                Self::Unknown(format!("{program} kick: {}: {last}", output.status))
            }
        }
    }
}

/// doveadm takes `*` and `?` for wildcards; a backslash makes them ordinary.
fn pattern(address: &Address) -> String {
    let escape = |character| match character {
        '*' | '?' => vec!['\\', character],
        other => vec![other],
    };
    address.to_string().chars().flat_map(escape).collect()
}
