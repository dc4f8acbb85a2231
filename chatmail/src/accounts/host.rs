//! Whether the machine has room for another account.

use std::io;
use std::path::{Path, PathBuf};

use super::Refusal;
use crate::Config;

/// What the machine must have to spare before an account is created; zero sets a limit aside.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostLimits {
    /// Highest load average of the last minute.
    pub max_load_1m: f64,
    /// Least available memory in bytes.
    pub min_available_memory: u64,
    /// Least free space, for users other than root, in bytes on the mailboxes' file system.
    pub min_free_disk_space: u64,
}

/// The machine cannot tell how it is. Temporary.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file or file system cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of the kernel does not have its usual form.
    #[error("{0} has an unknown form")]
    Form(&'static str),
}

/// The limits, and where to look.
#[derive(Clone, Debug)]
pub struct Host {
    limits: HostLimits,
    mailboxes: PathBuf,
}

const LOAD: &str = "/proc/loadavg";
const MEMORY: &str = "/proc/meminfo";

impl Host {
    /// These limits, and the directory whose file system must have room.
    pub fn new(limits: HostLimits, mailboxes: impl Into<PathBuf>) -> Self {
        Self {
            limits,
            mailboxes: mailboxes.into(),
        }
    }

    /// The limits of a configuration.
    pub fn from_config(config: &Config) -> Self {
        let limits = HostLimits {
            max_load_1m: config.max_load_1m,
            min_available_memory: config.min_available_memory.bytes(),
            min_free_disk_space: config.min_free_disk_space.bytes(),
        };
        Self::new(limits, &config.mailboxes_dir)
    }

    /// The same, however full the disk is.
    #[must_use]
    pub(super) fn without_disk(&self) -> Self {
        let mut host = self.clone();
        host.limits.min_free_disk_space = 0;
        host
    }

    /// The first limit that the machine is beyond, if any.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn refusal(&self) -> Result<Option<Refusal>, HostError> {
        let limits = self.limits;
        if limits.max_load_1m > 0.0 {
            let load = parse_load(&read(LOAD)?).ok_or(HostError::Form(LOAD))?;
            if load > limits.max_load_1m {
                return Ok(Some(Refusal::Load));
            }
        }
        if limits.min_available_memory > 0 {
            let available = parse_available(&read(MEMORY)?).ok_or(HostError::Form(MEMORY))?;
            if available < limits.min_available_memory {
                return Ok(Some(Refusal::Memory));
            }
        }
        if limits.min_free_disk_space > 0
            && free_space(&self.mailboxes)? < limits.min_free_disk_space
        {
            return Ok(Some(Refusal::Disk));
        }
        Ok(None)
    }
}

fn read(path: &'static str) -> Result<String, HostError> {
    std::fs::read_to_string(path).map_err(|source| HostError::Read {
        path: path.into(),
        source,
    })
}

/// The first number of `/proc/loadavg`: the last minute's.
fn parse_load(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn parse_available(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn free_space(path: &Path) -> Result<u64, HostError> {
    let system = nix::sys::statvfs::statvfs(path).map_err(|errno| HostError::Read {
        path: path.into(),
        source: errno.into(),
    })?;
    Ok(system
        .blocks_available()
        .saturating_mul(system.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn the_kernels_files_are_understood() {
        assert_eq!(parse_load("0.52 0.58 0.59 1/467 12345\n"), Some(0.52));
        assert_eq!(parse_load(""), None);
        let memory = "MemTotal: 8000 kB\nMemFree:  10 kB\nMemAvailable:   4000 kB\n";
        assert_eq!(parse_available(memory), Some(4_096_000));
        assert_eq!(parse_available("MemTotal: 8000 kB\n"), None);
    }

    #[rstest]
    #[case(HostLimits::default(), None)]
    #[case(HostLimits { max_load_1m: 1e9, min_available_memory: 1, min_free_disk_space: 1 }, None)]
    #[case(HostLimits { min_available_memory: u64::MAX, ..HostLimits::default() }, Some(Refusal::Memory))]
    #[case(HostLimits { min_free_disk_space: u64::MAX, ..HostLimits::default() }, Some(Refusal::Disk))]
    fn limits_are_held_against_this_machine(
        #[case] limits: HostLimits,
        #[case] expected: Option<Refusal>,
    ) {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Host::new(limits, dir.path()).refusal().unwrap(), expected);
    }

    #[test]
    fn a_missing_directory_is_an_error_and_no_refusal() {
        let limits = HostLimits {
            min_free_disk_space: 1,
            ..HostLimits::default()
        };
        assert!(Host::new(limits, "/nonexistent").refusal().is_err());
    }
}
