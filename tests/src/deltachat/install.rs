//! Gets Delta Chat's core from PyPI, where it lies inside wheels: as a static program, and as the library that
//! apps for phones have in them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::fs;
use tokio::process::Command;
use tokio::time::timeout;

/// A file in a package on PyPI.
struct Wheel {
    package: &'static str,
    version: &'static str,
    file: &'static str,
}

const SERVER: Wheel = Wheel {
    package: "deltachat-rpc-server",
    version: "2.65.0",
    file: "deltachat_rpc_server/deltachat-rpc-server",
};

/// Older than the program: PyPI has no later one.
const LIBRARY: Wheel = Wheel {
    package: "deltachat",
    version: "2.23.0",
    file: "deltachat/capi.abi3.so",
};

/// The Debian package that installing needs; it brings Python and `pip`.
const PACKAGE: &str = "python3-venv";

/// How long each step of installing may take; 14 MB have to come over the network.
const PATIENCE: Duration = Duration::from_secs(300);

/// The program, from the cache folder when it is there: `$XDG_CACHE_HOME/chatmail-suite/` (or
/// `~/.cache/chatmail-suite/`), one folder per version.
///
/// # Errors
/// Python's `venv` or `pip` is missing or fails; the error names the command and holds what it said.
pub async fn server_program() -> anyhow::Result<PathBuf> {
    SERVER.file().await
}

/// The library (`libdeltachat`), from the same folder.
///
/// # Errors
/// As [`server_program`].
pub async fn library() -> anyhow::Result<PathBuf> {
    LIBRARY.file().await
}

impl Wheel {
    async fn file(&self) -> anyhow::Result<PathBuf> {
        let cache = cache_folder()?;
        let folder = cache.join(format!("{}-{}", self.package, self.version));
        let file = folder.join(self.file);
        if fs::try_exists(&file).await? {
            return Ok(file);
        }
        fs::create_dir_all(&cache)
            .await
            .with_context(|| format!("making {}", cache.display()))?;
        let unfinished = tempfile::tempdir_in(&cache).context("making a folder in the cache")?;
        self.install(unfinished.path()).await?;
        make_executable(&unfinished.path().join(self.file)).await?;
        // In one step, so that nobody runs half of it; whoever came first wins.
        match fs::rename(unfinished.path(), &folder).await {
            Ok(()) => drop(unfinished.keep()),
            Err(_) if fs::try_exists(&file).await? => {}
            Err(error) => {
                return Err(error).with_context(|| format!("making {}", folder.display()));
            }
        }
        Ok(file)
    }

    /// Installs with the `pip` of a virtual environment that is thrown away: Debian's Python has none of
    /// its own. What the package depends on stays away: nobody imports it.
    async fn install(&self, folder: &Path) -> anyhow::Result<()> {
        let environment =
            tempfile::tempdir().context("making a folder for a virtual environment")?;
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
            .arg(format!("{}=={}", self.package, self.version));
        run(install).await
    }
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
