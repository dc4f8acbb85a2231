//! The release binaries of the workspace: what the testbed runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The packages whose binaries a relay runs.
pub const PACKAGES: [&str; 5] = [
    "testbed",
    "filtermail",
    "doveauth",
    "mxdeliv-bridge",
    "expiry-cron",
];

/// The workspace's folder.
pub fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// A command that runs the cargo which built us.
pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace());
    command
}

/// Builds the release binaries.
///
/// # Errors
/// The build failed; cargo has said why.
pub fn build() -> anyhow::Result<()> {
    let packages = PACKAGES
        .into_iter()
        .flat_map(|package| ["--package", package]);
    let status = cargo()
        .args(["build", "--release", "--bins"])
        .args(packages)
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "building the release binaries failed");
    Ok(())
}

/// The release binary of this name, next to the program that runs now.
///
/// # Errors
/// It was not built; the message has the command that builds it.
pub fn release(name: &str) -> anyhow::Result<PathBuf> {
    let path = release_folder()?.join(name);
    ensure!(
        path.is_file(),
        "{} is not built; build it with: cargo build --release{}",
        path.display(),
        PACKAGES.map(|package| format!(" -p {package}")).concat()
    );
    Ok(path)
}

/// The folder of the release binaries: cargo puts binaries into `TARGET/PROFILE` and tests into
/// `TARGET/PROFILE/deps`.
///
/// # Errors
/// We do not run from a target folder.
pub fn release_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding our own binary")?;
    let mut folder = own.parent().context("a binary in a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("a target folder above deps")?;
    }
    let target = folder
        .parent()
        .context("a target folder above the profile")?;
    Ok(target.join("release"))
}
