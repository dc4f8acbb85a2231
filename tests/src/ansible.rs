//! Ansible, from PyPI, as an operator would have it: the playbook in `ansible/` is run and judged with it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::binaries;
use crate::deltachat::install::cache_folder;
use crate::host::command::succeed;

/// What is installed: the versions that the playbook is tested with.
const REQUIREMENTS: [&str; 2] = ["ansible-core==2.19.14", "ansible-lint==26.10.1"];

/// The folder of the playbook.
pub fn folder() -> PathBuf {
    binaries::workspace().join("ansible")
}

/// Ansible's programs, in a virtual environment in the cache folder.
#[derive(Clone, Debug)]
pub struct Ansible {
    programs: PathBuf,
}

impl Ansible {
    /// Takes it from the cache, or installs it there: that takes the network, once.
    ///
    /// # Errors
    /// Debian's `python3-venv` is missing, or `pip` fails.
    pub fn installed() -> anyhow::Result<Self> {
        let name = REQUIREMENTS.join("-").replace("==", "-");
        let cache = cache_folder()?;
        let environment = cache.join(&name);
        let programs = environment.join("bin");
        // Written last.
        let complete = environment.join("complete");
        if complete.exists() {
            return Ok(Self { programs });
        }
        fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
        let lock = fs::File::create(cache.join(format!("{name}.lock")))?;
        // Tests in other processes want it too; it is given up with the file.
        lock.lock()?;
        if !complete.exists() {
            // Not the Python of whoever runs this: that may be gone when the cache is used.
            succeed(
                Command::new("/usr/bin/python3")
                    .args(["-m", "venv", "--clear"])
                    .arg(&environment),
            )
            .context("Debian packages: python3-venv")?;
            succeed(
                Command::new(programs.join("python"))
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--disable-pip-version-check",
                    ])
                    .args(["--only-binary", ":all:"])
                    .args(REQUIREMENTS),
            )?;
            fs::write(&complete, "")?;
        }
        Ok(Self { programs })
    }

    /// One of its programs, in the folder of the playbook, with its own configuration and nobody else's.
    pub fn program(&self, name: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.programs.join(name));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = vec![self.programs.clone()];
        paths.extend(std::env::split_paths(&path));
        command
            .current_dir(folder())
            .env("PATH", std::env::join_paths(paths).unwrap_or(path))
            .env("LC_ALL", "C.UTF-8")
            .env("ANSIBLE_NOCOLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs a playbook for these machines, with further arguments, and gives what it printed.
    ///
    /// # Errors
    /// It failed; the message has what it said.
    pub fn play(
        &self,
        playbook: &str,
        inventory: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> anyhow::Result<String> {
        let mut command = self.program("ansible-playbook");
        command.arg(playbook).arg("--inventory").arg(inventory);
        // Connections are known by the machine's name, which machines of other tests have too.
        if let Some(folder) = inventory.parent() {
            command.env("ANSIBLE_SSH_CONTROL_PATH_DIR", folder.join("ssh"));
        }
        let output = succeed(command.args(arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
