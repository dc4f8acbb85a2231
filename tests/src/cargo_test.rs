//! `cargo testbed test`: every test of the workspace, with what they need in place.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::time::sleep;

use crate::host::{self, packages, state};
use crate::{binaries, iroh_relay, package, patched_dovecot};

/// How long a testbed may take to end after its test.
const END_PATIENCE: Duration = Duration::from_secs(15);

/// Arguments of `test`.
#[derive(Clone, Debug, clap::Args)]
pub struct TestArgs {
    /// Install missing Debian packages without asking
    #[arg(long)]
    pub yes: bool,

    /// Run those tests too that take minutes each, of whole machines
    #[arg(long)]
    pub full: bool,

    /// Only tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
}

/// Prepares the machine, builds, runs the tests, and sees that they left nothing running.
///
/// # Errors
/// Something is missing, a test failed, or a testbed outlived its test.
pub async fn run(args: &TestArgs) -> anyhow::Result<()> {
    host::prepare_with(args.yes, &packages::for_tests()).await?;
    package::ensure_cargo_deb(args.yes)?;
    // End-to-end tests run the release binaries, as users will.
    binaries::build()?;
    // Not beside tests, which have better uses for the processor. Some of them, alone, may not need it.
    if args.filters.is_empty() {
        iroh_relay::program().await?;
        patched_dovecot::provide()?;
        if args.full {
            patched_dovecot::packages(Some("trixie"), tempfile::tempdir()?.path())?;
        }
    }

    let root = state::default_root();
    let before = state::running(&root)?;
    let status = binaries::cargo()
        .args(["test", "--workspace", "--no-fail-fast", "--"])
        .args(args.full.then_some("--include-ignored"))
        .args(&args.filters)
        .status()?;
    let left = left_running(&root, &before).await?;
    ensure!(
        left.is_empty(),
        "tests left testbeds running: {}",
        left.join(", ")
    );
    ensure!(status.success(), "tests failed");
    Ok(())
}

/// The testbeds that run and did not before. One whose test was killed has noticed it by its standard
/// input, and gets a moment to end.
async fn left_running(root: &Path, before: &[String]) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + END_PATIENCE;
    loop {
        let mut left = state::running(root)?;
        left.retain(|name| !before.contains(name));
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(left);
        }
        sleep(Duration::from_millis(50)).await;
    }
}
