//! axe-core, which knows what keeps people from using a web page, from the npm registry.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64_simd::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha512};
use tokio::fs;
use tokio::process::Command;
use tokio::time::timeout;

use super::Browser;
use crate::deltachat::install::cache_folder;

/// The version that is installed, and the SHA-512 of its package.
const VERSION: &str = "4.14.1";
const SHA512: &str =
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==";

/// The program that fetches it, and Debian's package of it.
pub const NPM: &str = "npm";

/// How long each step of installing may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The script, from the cache folder when it is there.
///
/// # Errors
/// npm is missing or fails, or what it brings is not what it was when this was written.
pub async fn script() -> anyhow::Result<String> {
    let cache = cache_folder()?;
    let kept = cache.join(format!("axe-core-{VERSION}.min.js"));
    if !fs::try_exists(&kept).await? {
        fs::create_dir_all(&cache)
            .await
            .with_context(|| format!("making {}", cache.display()))?;
        let folder = tempfile::tempdir_in(&cache).context("making a folder in the cache")?;
        let script = fetch(folder.path()).await?;
        // In one step, so that nobody runs half of it.
        fs::rename(script, &kept)
            .await
            .with_context(|| format!("making {}", kept.display()))?;
    }
    let read = fs::read_to_string(&kept).await;
    read.with_context(|| format!("reading {}", kept.display()))
}

async fn fetch(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let mut pack = Command::new(NPM);
    pack.args(["pack", "--silent", "--ignore-scripts"])
        .arg(format!("axe-core@{VERSION}"))
        .current_dir(folder);
    run(pack).await?;
    let package = folder.join(format!("axe-core-{VERSION}.tgz"));
    let octets = fs::read(&package)
        .await
        .with_context(|| format!("reading {}", package.display()))?;
    let hash = STANDARD.encode_to_string(Sha512::digest(&octets));
    ensure!(
        hash == SHA512,
        "{} has the SHA-512 {hash}, not {SHA512}",
        package.display()
    );
    let mut unpack = Command::new("tar");
    unpack
        .arg("--extract")
        .arg("--file")
        .arg(&package)
        .arg("package/axe.min.js")
        .current_dir(folder);
    run(unpack).await?;
    Ok(folder.join("package/axe.min.js"))
}

async fn run(mut command: Command) -> anyhow::Result<()> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let name = command.as_std().get_program().to_string_lossy();
    let name = name.into_owned();
    let output = timeout(PATIENCE, command.output())
        .await
        .with_context(|| format!("`{name}` took more than {PATIENCE:?}"))?
        .with_context(|| format!("running {name} (Debian package: {name})"))?;
    if !output.status.success() {
        bail!(
            "`{name}` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// What is wrong with the open page, a line each: the rule, and the elements that break it.
///
/// # Errors
/// The page cannot be judged, or no rule was applied.
pub async fn violations(browser: &mut Browser, script: &str) -> anyhow::Result<Vec<String>> {
    browser.evaluate(&format!("{script};0")).await?;
    let report = browser
        .evaluate(
            "axe.run().then(report => ({ passes: report.passes.map(rule => rule.id), \
             violations: report.violations.map(rule => rule.id + ': ' + \
             rule.nodes.map(node => node.html + ' ' + node.failureSummary).join('; ')) }))",
        )
        .await?;
    let strings = |list: &Value| -> Option<Vec<String>> {
        let texts = list.as_array()?.iter();
        texts
            .map(|text| text.as_str().map(ToOwned::to_owned))
            .collect()
    };
    let passes = strings(&report["passes"]).context("no report")?;
    for rule in ["color-contrast", "landmark-one-main", "html-has-lang"] {
        ensure!(
            passes.iter().any(|passed| passed == rule)
                || report["violations"].to_string().contains(rule),
            "{rule} was not applied: {passes:?}"
        );
    }
    strings(&report["violations"]).context("no report")
}
