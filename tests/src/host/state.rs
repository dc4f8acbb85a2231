//! The folder that a testbed keeps everything in, and the lock that says who is alive.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

/// The longest name of a testbed: a unix socket's path has 107 bytes, and the rest needs its share.
const MAX_NAME: usize = 24;

/// The longest path of a testbed's folder, for the same reason.
const MAX_PATH: usize = 70;

/// Where testbeds live unless told otherwise.
pub fn default_root() -> PathBuf {
    std::env::temp_dir().join("chatmail-testbed")
}

/// A testbed's folder, ours alone; it is removed when this is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    keep: bool,
}

impl StateDir {
    /// Makes the folder `root/name`, after removing what dead testbeds left under `root`.
    ///
    /// # Errors
    /// The name is unsuitable, a testbed of that name runs, or `root` could be written to by others.
    pub fn create(root: &Path, name: &str) -> anyhow::Result<Self> {
        check_name(name)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(root)
            .with_context(|| format!("making {}", root.display()))?;
        // A folder that others may write to could be swapped under our feet.
        let metadata = fs::symlink_metadata(root)?;
        ensure!(
            metadata.is_dir() && metadata.uid() == 0 && metadata.mode() & 0o022 == 0,
            "{} must be a folder that only root can write to",
            root.display()
        );
        remove_dead(root)?;

        let path = root.join(name);
        ensure!(
            path.as_os_str().len() <= MAX_PATH,
            "{} is too long a path for the sockets below it: at most {MAX_PATH} bytes; set TMPDIR or \
             --state-root to a shorter folder",
            path.display()
        );
        let lock_path = lock_path(root, name);
        let Some(lock) = take_lock(&lock_path)? else {
            bail!(
                "a testbed named `{name}` runs already; stop it with `cargo testbed down --name {name}` \
                 or start another one with --name"
            );
        };
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .with_context(|| format!("making {}", path.display()))?;
        fs::write(
            supervisor_pidfile(root, name),
            std::process::id().to_string(),
        )?;
        Ok(Self {
            path,
            lock_path,
            _lock: lock,
            keep: false,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the folder behind for somebody to look at, until the next testbed starts.
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let removed =
            fs::remove_dir_all(&self.path).and_then(|()| fs::remove_file(&self.lock_path));
        if let Err(error) = removed {
            eprintln!("warning: {} is not removed: {error}", self.path.display());
        }
    }
}

/// Whether a testbed of this name runs, or is about to.
///
/// # Errors
/// Its lock cannot be tried.
pub fn is_running(root: &Path, name: &str) -> anyhow::Result<bool> {
    let lock_path = lock_path(root, name);
    Ok(lock_path.exists() && take_lock(&lock_path)?.is_none())
}

/// The process id of the supervisor of a running testbed; `None` when none of that name runs.
///
/// # Errors
/// The testbed runs but its pid file cannot be read.
pub fn supervisor(root: &Path, name: &str) -> anyhow::Result<Option<i32>> {
    if !is_running(root, name)? {
        return Ok(None);
    }
    let path = supervisor_pidfile(root, name);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let pid = text.trim().parse();
            pid.map(Some)
                .with_context(|| format!("{} holds no pid", path.display()))
        }
        // The folder comes after the lock and goes before it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// The names of the testbeds that run under `root`.
///
/// # Errors
/// `root` exists but cannot be read.
pub fn running(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for name in lock_names(root)? {
        if is_running(root, &name)? {
            names.push(name);
        }
    }
    Ok(names)
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    ensure!(
        (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed),
        "`{name}` is no name for a testbed: 1 to {MAX_NAME} of a-z, 0-9 and `-`"
    );
    Ok(())
}

fn lock_path(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.lock"))
}

fn supervisor_pidfile(root: &Path, name: &str) -> PathBuf {
    root.join(name).join("supervisor.pid")
}

/// Takes a lock, making its file if needed; `None` when somebody alive has it.
fn take_lock(path: &Path) -> anyhow::Result<Option<File>> {
    let context = || format!("locking {}", path.display());
    loop {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .with_context(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        // The one who had the lock may have removed the file between our two steps.
        match fs::metadata(path) {
            Ok(there) if there.ino() == file.metadata()?.ino() => return Ok(Some(file)),
            _ => {}
        }
    }
}

/// Removes the folders of testbeds whose supervisor is gone: their locks are free.
fn remove_dead(root: &Path) -> anyhow::Result<()> {
    for name in lock_names(root)? {
        let lock_path = lock_path(root, &name);
        let Some(_lock) = take_lock(&lock_path)? else {
            continue;
        };
        let folder = root.join(&name);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("removing {}", folder.display()))?;
        }
        fs::remove_file(&lock_path)?;
    }
    Ok(())
}

fn lock_names(root: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", root.display())),
    };
    let mut names = Vec::new();
    for entry in entries {
        let file_name = entry?.file_name();
        if let Some(name) = file_name
            .to_str()
            .and_then(|name| name.strip_suffix(".lock"))
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn a_lock_is_taken_once_and_outlives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let first = take_lock(&path).unwrap();
        assert!(first.is_some());
        assert!(take_lock(&path).unwrap().is_none());
        drop(first);
        assert!(take_lock(&path).unwrap().is_some());
    }

    #[test]
    fn the_dead_are_removed_and_the_living_stay() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["dead", "alive"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        drop(take_lock(&lock_path(folder.path(), "dead")).unwrap());
        let _alive = take_lock(&lock_path(folder.path(), "alive")).unwrap();
        fs::create_dir(folder.path().join("without-lock")).unwrap();
        remove_dead(folder.path()).unwrap();
        assert_eq!(running(folder.path()).unwrap(), ["alive"]);
        assert!(!folder.path().join("dead").exists());
        assert!(folder.path().join("alive").exists());
        assert!(
            folder.path().join("without-lock").exists(),
            "not known to be ours"
        );
    }

    #[rstest]
    #[case("")]
    #[case("../x")]
    #[case("UPPER")]
    #[case("a-name-of-more-than-24-letters")]
    fn names_that_are_no_folder_names(#[case] name: &str) {
        assert!(check_name(name).is_err());
    }
}
