//! Gets `deltachat-rpc-server` from PyPI, where it lies as a static binary inside a wheel.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::fs;
use tokio::process::Command;
use tokio::time::timeout;

/// The version that is installed.
pub const VERSION: &str = "2.65.0";

/// The Debian package that installing needs; it brings Python and `pip`.
const PACKAGE: &str = "python3-venv";

/// How long each step of installing may take; 11 MB have to come over the network.
const PATIENCE: Duration = Duration::from_secs(300);

/// The program, from the cache folder when it is there: `$XDG_CACHE_HOME/chatmail-suite/` (or
/// `~/.cache/chatmail-suite/`), one folder per version.
///
/// # Errors
/// Python's `venv` or `pip` is missing or fails; the error names the command and holds what it said.
pub async fn server_program() -> anyhow::Result<PathBuf> {
    let cache = cache_folder()?;
    let folder = cache.join(format!("deltachat-rpc-server-{VERSION}"));
    let program = folder.join("deltachat_rpc_server/deltachat-rpc-server");
    if fs::try_exists(&program).await? {
        return Ok(program);
    }
    fs::create_dir_all(&cache)
        .await
        .with_context(|| format!("making {}", cache.display()))?;
    let unfinished = tempfile::tempdir_in(&cache).context("making a folder in the cache")?;
    pip_install(unfinished.path()).await?;
    make_executable(
        &unfinished
            .path()
            .join("deltachat_rpc_server/deltachat-rpc-server"),
    )
    .await?;
    // In one step, so that nobody runs half of it; whoever came first wins.
    match fs::rename(unfinished.path(), &folder).await {
        Ok(()) => drop(unfinished.keep()),
        Err(_) if fs::try_exists(&program).await? => {}
        Err(error) => return Err(error).with_context(|| format!("making {}", folder.display())),
    }
    Ok(program)
}

/// Where what does not come from Debian or with the source is kept.
pub(crate) fn cache_folder() -> anyhow::Result<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("chatmail-suite"))
}

/// Installs with the `pip` of a virtual environment that is thrown away: Debian's Python has none of
/// its own.
async fn pip_install(folder: &Path) -> anyhow::Result<()> {
    let environment = tempfile::tempdir().context("making a folder for a virtual environment")?;
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(environment.path());
    run(make).await?;
    let mut install = Command::new(environment.path().join("bin/python"));
    install
        .args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-deps",
        ])
        .args(["--only-binary", ":all:", "--target"])
        .arg(folder)
        .arg(format!("deltachat-rpc-server=={VERSION}"));
    run(install).await
}

async fn run(mut command: Command) -> anyhow::Result<()> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let words = std::iter::once(command.as_std().get_program()).chain(command.as_std().get_args());
    let shown = words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let output = timeout(PATIENCE, command.output())
        .await
        .with_context(|| format!("`{shown}` took more than {PATIENCE:?}"))?
        .with_context(|| format!("running `{shown}` (Debian package: {PACKAGE})"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout);
        bail!("`{shown}` failed (Debian package: {PACKAGE}):\n{printed}{said}");
    }
    Ok(())
}

async fn make_executable(program: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let missing = || format!("the wheel holds no {}", program.display());
    let mut permissions = fs::metadata(program)
        .await
        .with_context(missing)?
        .permissions();
    permissions.set_mode(permissions.mode() | 0o755);
    Ok(fs::set_permissions(program, permissions).await?)
}
