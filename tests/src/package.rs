//! `cargo testbed package`: the Debian package of the suite.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::binaries;
use crate::host::command::succeed;

/// What makes packages of cargo's.
const CARGO_DEB: &str = "cargo-deb";

/// The programs in the package, which write their own manuals.
const PROGRAMS: [&str; 4] = ["filtermail", "doveauth", "mxdeliv-bridge", "expiry-cron"];

/// The package that has no code of its own.
const PACKAGE: &str = "chatmail-suite";

/// Arguments of `package`.
#[derive(Clone, Debug, clap::Args)]
pub struct PackageArgs {
    /// Install cargo-deb without asking if it is missing
    #[arg(long)]
    pub yes: bool,

    /// What is added to the version, to tell builds apart: `+1`, say
    #[arg(long, value_name = "SUFFIX")]
    suffix: Option<String>,
}

/// Builds the package and prints where it is.
///
/// # Errors
/// cargo-deb is missing and not to be installed, or a step fails.
pub fn run(args: &PackageArgs) -> anyhow::Result<()> {
    ensure_cargo_deb(args.yes)?;
    binaries::build()?;
    let suffix = args.suffix.as_deref().unwrap_or_default();
    let folder = binaries::workspace().join("target/debian");
    println!("{}", build(suffix, Compression::Small, &folder)?.display());
    Ok(())
}

/// How much time it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// For a package that travels.
    Small,
    /// For one that is installed here, by a test.
    Fast,
}

/// Sees that there is cargo-deb; installs it when `yes`.
///
/// # Errors
/// There is none, or it cannot be installed.
pub fn ensure_cargo_deb(yes: bool) -> anyhow::Result<()> {
    let there = binaries::cargo()
        .args(["deb", "--version"])
        .stderr(Stdio::null())
        .output();
    if there.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    ensure!(
        yes,
        "{CARGO_DEB} is missing; run again with --yes to install it, or run: cargo install --locked {CARGO_DEB}"
    );
    let mut install = binaries::cargo();
    install.args(["install", "--quiet", "--locked", CARGO_DEB]);
    succeed(&mut install).map(drop)
}

/// Makes the package of the release binaries that are there, with this suffix to its version, in a folder. There,
/// cargo-deb removes those of other versions.
///
/// # Errors
/// A binary is not built, does not write its documents, or cargo-deb fails.
pub fn build(suffix: &str, compression: Compression, to: &Path) -> anyhow::Result<PathBuf> {
    let release = binaries::release_folder()?;
    // Tests run beside each other, and all put it together in one folder. The lock lives as long as the open file.
    let place = release.join("package.lock");
    let lock = File::create(&place).with_context(|| format!("opening {}", place.display()))?;
    lock.lock().context("waiting for another package")?;
    let folder = release.join("package");
    remove(&folder)?;
    write_documents(&folder)?;
    strip_binaries(&folder)?;
    let version = format!("{}{suffix}", env!("CARGO_PKG_VERSION"));
    let path = to.join(format!("{PACKAGE}_{version}_{}.deb", architecture()?));
    let mut deb = binaries::cargo();
    deb.args(["deb", "--no-build", "--quiet", "--package", PACKAGE])
        .args(["--deb-version", &version, "--output"])
        .arg(&path);
    if compression == Compression::Fast {
        deb.arg("--fast");
    }
    succeed(&mut deb)?;
    Ok(path)
}

/// What Debian calls this machine's kind.
fn architecture() -> anyhow::Result<String> {
    let output = succeed(Command::new("dpkg").arg("--print-architecture"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("emptying {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Copies the programs without what a debugger reads, which is most of them. Names of functions stay, for
/// whoever reports a crash.
fn strip_binaries(folder: &Path) -> anyhow::Result<()> {
    for program in PROGRAMS {
        let mut strip = Command::new("strip");
        let strip = strip.args(["--strip-debug", "-o"]);
        succeed(
            strip
                .arg(folder.join(program))
                .arg(binaries::release(program)?),
        )?;
    }
    Ok(())
}

/// Has the programs write their manual pages and completions, and an example of the configuration.
fn write_documents(folder: &Path) -> anyhow::Result<()> {
    for program in PROGRAMS {
        let mut documents = Command::new(binaries::release(program)?);
        succeed(documents.arg("documents").arg(folder))?;
    }
    let mut described = Command::new(binaries::release("filtermail")?);
    let described = succeed(described.args(["check-config", "--describe"]))?;
    fs::write(folder.join("chatmail.ini"), described.stdout)?;
    Ok(())
}
