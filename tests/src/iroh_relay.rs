//! Gets iroh-relay, which Debian does not have, from crates.io, and builds it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::fs;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::binaries;
use crate::deltachat::install::cache_folder;

/// The version that is built: that of the iroh inside the Delta Chat core of [`crate::deltachat::install::VERSION`],
/// and the one that classic relays run. Later ones speak another protocol.
pub const VERSION: &str = "0.35.0";

/// How long building it may take; two cores need some minutes.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Between two looks at whether somebody else has built it.
const PAUSE: Duration = Duration::from_millis(200);

/// The program, from the cache folder when it is there (as [`crate::deltachat::install::server_program`]).
///
/// # Errors
/// cargo fails; it has said why.
pub async fn program() -> anyhow::Result<PathBuf> {
    let program = place()?;
    if fs::try_exists(&program).await? {
        return Ok(program);
    }
    let cache = cache_folder()?;
    fs::create_dir_all(&cache)
        .await
        .with_context(|| format!("making {}", cache.display()))?;
    // One builds; whoever else wants it waits. The lock lives as long as the open file.
    let _lock = lock(&cache.join(format!("iroh-relay-{VERSION}.lock"))).await?;
    if fs::try_exists(&program).await? {
        return Ok(program);
    }
    let unfinished = tempfile::tempdir_in(&cache).context("making a folder in the cache")?;
    build(unfinished.path()).await?;
    // In one step, so that nobody runs half of it.
    fs::rename(unfinished.path().join("bin/iroh-relay"), &program)
        .await
        .with_context(|| format!("making {}", program.display()))?;
    Ok(program)
}

/// The program, which must be in the cache folder.
///
/// # Errors
/// It is not; the message has the command that builds it.
pub fn built() -> anyhow::Result<PathBuf> {
    let program = place()?;
    ensure!(
        program.is_file(),
        "{} is not built; `cargo testbed up --with-calls` builds it",
        program.display()
    );
    Ok(program)
}

fn place() -> anyhow::Result<PathBuf> {
    Ok(cache_folder()?.join(format!("iroh-relay-{VERSION}")))
}

async fn lock(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("opening {}", path.display()))?;
    let deadline = Instant::now() + PATIENCE;
    while file.try_lock().is_err() {
        ensure!(
            Instant::now() < deadline,
            "somebody else builds iroh-relay, for more than {PATIENCE:?}"
        );
        sleep(PAUSE).await;
    }
    Ok(file)
}

/// Builds it with the dependencies that its authors have tested (`--locked`), of which nothing but the program
/// is kept.
async fn build(folder: &Path) -> anyhow::Result<()> {
    eprintln!("Building iroh-relay {VERSION} from crates.io: once, for some minutes.");
    let started = Instant::now();
    let target = tempfile::tempdir().context("making a folder to build in")?;
    let mut install = Command::from(binaries::cargo());
    install
        .args(["install", "iroh-relay", "--locked", "--quiet"])
        .args(["--version", &format!("={VERSION}")])
        .args(["--features", "server", "--bin", "iroh-relay"])
        .arg("--root")
        .arg(folder)
        .arg("--target-dir")
        .arg(target.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let status = timeout(PATIENCE, install.status())
        .await
        .with_context(|| format!("building iroh-relay took more than {PATIENCE:?}"))?
        .context("running cargo")?;
    if !status.success() {
        bail!("building iroh-relay failed: {status}");
    }
    eprintln!(
        "Built iroh-relay in {} seconds.",
        started.elapsed().as_secs()
    );
    Ok(())
}
