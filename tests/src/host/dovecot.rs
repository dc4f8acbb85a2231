//! Which Dovecot this machine has.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, bail};

/// The language of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Dovecot 2.3, as in Debian 12.
    V2_3,
    /// Dovecot 2.4, as in Debian 13.
    V2_4,
}

impl Language {
    /// Asks the Dovecot that is installed.
    ///
    /// # Errors
    /// There is none, or its language is a third one.
    pub fn installed() -> anyhow::Result<Self> {
        let version = installed_version()?;
        match version.get(..4) {
            Some("2.3.") => Ok(Self::V2_3),
            Some("2.4.") => Ok(Self::V2_4),
            _ => bail!(
                "the testbed writes configuration for Dovecot 2.3 (Debian 12) and 2.4 (Debian 13); this machine has {}",
                version.trim()
            ),
        }
    }
}

/// What the Dovecot that is installed says of its version. It is asked once: a process that has found one keeps to it.
///
/// # Errors
/// There is none.
pub fn installed_version() -> anyhow::Result<&'static str> {
    static SAID: OnceLock<String> = OnceLock::new();
    if let Some(said) = SAID.get() {
        return Ok(said);
    }
    let output = Command::new("dovecot").arg("--version").output();
    let output = output.context("running dovecot")?;
    Ok(SAID.get_or_init(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// What else a relay needs with the Dovecot of this Debian, which need not be installed yet: 2.4 asks doveauth by a
/// script.
pub fn packages() -> &'static [&'static str] {
    /// The first Debian with Dovecot 2.4.
    const DEBIAN: u32 = 13;

    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let number = release.lines().find_map(|line| {
        let number = line.strip_prefix("VERSION_ID=")?;
        number.trim_matches('"').parse::<u32>().ok()
    });
    match number {
        Some(number) if number >= DEBIAN => &["dovecot-auth-lua", "lua-socket"],
        _ => &[],
    }
}
