//! Debian's Dovecot with our patch: `package/dovecot/build` makes packages of it, once for each version of Debian's.
//!
//! The testbed's relays run it without installing it: its packages are unpacked below the target folder, and laid over
//! the machine's Dovecot in a mount namespace of the one process. Where that was not done they run the machine's.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::binaries;
use crate::host::dovecot::installed_version;

/// What a relay on Debian's own Dovecot costs its users.
pub const COST: &str = "Debian's own Dovecot waits half a second before it tells an app of a new message, and must not \
    let sessions hibernate. `cargo testbed dovecot` makes the patched one, which the testbed's relays run from then on: \
    once for each version of Debian's, for some minutes.";

/// The packages that are laid over the machine's.
const PACKAGES: &[&str] = &["core", "imapd", "lmtpd", "auth-lua"];

/// Runs `dovecot` with what follows `$1`, the folder of the unpacked packages.
const LAID_OVER: &str = r#"set -eu
root=$1
shift
for part in usr/lib/dovecot usr/sbin/dovecot usr/bin/doveconf; do
    mount --bind "$root/$part" "/$part"
done
exec /usr/sbin/dovecot "$@"
"#;

/// The folder of the patch, and of the programs that build and try it.
pub fn folder() -> PathBuf {
    binaries::workspace().join("package/dovecot")
}

/// Puts the packages for a release of Debian (this machine's, unless it is told) into a folder, and gives their version:
/// from the cache, or they are built first, which takes minutes.
///
/// Where a mirror has no source of the newest version yet, it is the one before, and `build` says so.
///
/// # Errors
/// They cannot be built; `build` has said why.
pub fn packages(suite: Option<&str>, into: &Path) -> anyhow::Result<String> {
    let mut build = Command::new(folder().join("build"));
    if let Some(suite) = suite {
        build.args(["--suite", suite]);
    }
    let output = build
        .arg("--or-older")
        .arg(into)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("running package/dovecot/build")?;
    let status = output.status;
    ensure!(status.success(), "package/dovecot/build failed: {status}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Has the testbed's relays run the newest one from now on.
///
/// # Errors
/// It cannot be built or unpacked.
pub fn provide() -> anyhow::Result<()> {
    let place = place()?;
    fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
    let unfinished = tempfile::tempdir_in(&place).context("making a folder to unpack in")?;
    let made = unfinished.path().join("packages");
    let version = packages(None, &made)?;
    let mut hasher = DefaultHasher::new();
    for file in ["announce-at-once.patch", "build"] {
        hasher.write(&fs::read(folder().join(file))?);
    }
    let root = format!("{version}-{:016x}", hasher.finish());
    let root = place.join(root.replace(['/', ':', '~'], "_"));
    if !root.is_dir() {
        let unpacked = unfinished.path().join("root");
        unpack(&made, &unpacked)?;
        // In one step, so that nobody runs half of it.
        fs::rename(&unpacked, &root).with_context(|| format!("making {}", root.display()))?;
    }
    let link = unfinished.path().join("current");
    symlink(&root, &link)?;
    fs::rename(&link, place.join("current")).context("naming the current Dovecot")
}

/// The folder of the unpacked packages, if relays are to run them: there are some, of the version of the machine's
/// Dovecot.
///
/// # Errors
/// There is no Dovecot on the machine.
pub fn provided() -> anyhow::Result<Option<PathBuf>> {
    let current = place()?.join("current");
    let root = match fs::canonicalize(&current) {
        Ok(root) => root,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| current.display().to_string()),
    };
    let version = installed_version()?;
    let upstream = version.split_whitespace().next().unwrap_or_default();
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    Ok(name.contains(upstream).then_some(root))
}

/// The beginning of a command that runs this Dovecot; Dovecot's arguments follow.
pub fn command(root: &Path) -> Vec<std::ffi::OsString> {
    let unshare = ["unshare", "--mount", "--propagation=private"];
    let shell = ["sh", "-c", LAID_OVER, "sh"];
    let words = unshare.into_iter().chain(shell).map(Into::into);
    words.chain([root.into()]).collect()
}

fn place() -> anyhow::Result<PathBuf> {
    let release = binaries::release_folder()?;
    let target = release.parent().context("a target folder")?;
    Ok(target.join("patched-dovecot"))
}

fn unpack(packages: &Path, into: &Path) -> anyhow::Result<()> {
    for name in PACKAGES {
        let prefix = format!("dovecot-{name}_");
        let mut found = None;
        for entry in fs::read_dir(packages)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                found = Some(entry.path());
            }
        }
        let package = found.with_context(|| format!("build made no package dovecot-{name}"))?;
        let status = Command::new("dpkg-deb")
            .arg("--extract")
            .args([package.as_path(), into])
            .status()
            .context("running dpkg-deb")?;
        ensure!(status.success(), "dpkg-deb failed: {status}");
    }
    Ok(())
}
