//! Debian's Dovecot with our patch: `package/dovecot/build` makes packages of it, once for each version of Debian's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::binaries;

/// The folder of the patch, and of the programs that build and try it.
pub fn folder() -> PathBuf {
    binaries::workspace().join("package/dovecot")
}

/// Puts the packages into a folder: from the cache, or they are built first, which takes minutes.
///
/// Where a mirror has no source of the newest version yet, it is the one before, and `build` says so.
///
/// # Errors
/// They cannot be built; `build` has said why.
pub fn packages(into: &Path) -> anyhow::Result<()> {
    let status = Command::new(folder().join("build"))
        .arg("--or-older")
        .arg(into)
        .stdin(Stdio::null())
        // It prints the version.
        .stdout(Stdio::null())
        .status()
        .context("running package/dovecot/build")?;
    ensure!(status.success(), "package/dovecot/build failed: {status}");
    Ok(())
}
