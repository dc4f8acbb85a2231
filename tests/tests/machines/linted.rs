//! The playbook and the shell scripts say what their languages' linters have no word against.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use testbed::ansible::Ansible;
use testbed::binaries::workspace;
use testbed::host::command::succeed;
use testbed::host::packages::SHELLCHECK;

/// Folders of what others wrote, or a build.
const NOT_OURS: [&str; 3] = ["target", ".git", "node_modules"];

#[test]
fn the_playbook_is_right_for_production() -> anyhow::Result<()> {
    let mut command = Ansible::installed()?.program("ansible-lint");
    // What it needs is there; it would look for more on Ansible's own servers.
    command.args([
        "--nocolor",
        "--offline",
        "--strict",
        "--profile",
        "production",
    ]);
    succeed(&mut command)?;
    Ok(())
}

#[test]
fn shell_scripts_are_clean() -> anyhow::Result<()> {
    let mut scripts = Vec::new();
    find(workspace(), &mut scripts)?;
    ensure!(scripts.len() > 8, "only {scripts:?}");
    let mut command = Command::new(SHELLCHECK);
    succeed(command.arg("--").args(&scripts)).with_context(|| {
        format!("if it is missing: apt-get install --no-install-recommends {SHELLCHECK}")
    })?;
    Ok(())
}

/// Adds the shell scripts in a folder and those within.
fn find(folder: &Path, scripts: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        let ours = !NOT_OURS.iter().any(|name| entry.file_name() == *name);
        if kind.is_dir() && ours {
            find(&path, scripts)?;
        } else if kind.is_file() && is_shell(&path)? {
            scripts.push(path);
        }
    }
    Ok(())
}

fn is_shell(path: &Path) -> anyhow::Result<bool> {
    if path.extension() == Some(OsStr::new("sh")) {
        return Ok(true);
    }
    let content = fs::read(path)?;
    let first = content.split(|&octet| octet == b'\n').next();
    let first = String::from_utf8_lossy(first.unwrap_or_default());
    Ok(first.starts_with("#!") && first.trim_end().ends_with("sh"))
}
