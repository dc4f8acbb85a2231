//! `cargo testbed test`: every test of the workspace, with what they need in place.

use anyhow::ensure;

use crate::binaries;
use crate::host::{self, state};

/// Arguments of `test`.
#[derive(Clone, Debug, clap::Args)]
pub struct TestArgs {
    /// Install missing Debian packages without asking
    #[arg(long)]
    pub yes: bool,

    /// Only tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
}

/// Prepares the machine, builds, runs the tests, and sees that they left nothing running.
///
/// # Errors
/// Something is missing, a test failed, or a testbed outlived its test.
pub async fn run(args: &TestArgs) -> anyhow::Result<()> {
    host::prepare(args.yes).await?;
    // End-to-end tests run the release binaries, as users will.
    binaries::build()?;

    let root = state::default_root();
    let before = state::running(&root)?;
    let status = binaries::cargo()
        .args(["test", "--workspace", "--"])
        .args(&args.filters)
        .status()?;
    let left: Vec<String> = state::running(&root)?
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    ensure!(
        left.is_empty(),
        "tests left testbeds running: {}",
        left.join(", ")
    );
    ensure!(status.success(), "tests failed");
    Ok(())
}
