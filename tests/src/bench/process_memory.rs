//! The memory of a process, as Linux counts it in `/proc/PID/status`.

use std::fs;

use anyhow::Context as _;

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessMemory {
    /// Now.
    pub(super) resident: u64,
    /// The most since its start.
    pub(super) peak: u64,
}

impl ProcessMemory {
    /// Looks at a process.
    ///
    /// # Errors
    /// There is no such process.
    pub(super) fn of(pid: i32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Self::parse(&status).with_context(|| format!("{path} has no resident memory"))
    }

    fn parse(status: &str) -> Option<Self> {
        Some(Self {
            resident: bytes(status, "VmRSS:")?,
            peak: bytes(status, "VmHWM:")?,
        })
    }
}

/// The bytes that one of Linux' files about a process tells in the line that begins so.
pub(super) fn bytes(file: &str, line: &str) -> Option<u64> {
    let value = file.lines().find_map(|each| each.strip_prefix(line))?;
    let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file_is_read() {
        let status = "Name:\tx\nVmPeak:\t   9 kB\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\n";
        let expected = ProcessMemory {
            resident: 2048 * 1024,
            peak: 3072 * 1024,
        };
        assert_eq!(ProcessMemory::parse(status), Some(expected));
        assert_eq!(ProcessMemory::parse("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn a_peak_outlives_the_memory() {
        const SIZE: u64 = 64 << 20;
        let pid = i32::try_from(std::process::id()).unwrap();
        drop(std::hint::black_box(vec![1_u8; SIZE as usize]));
        let memory = ProcessMemory::of(pid).unwrap();
        assert!(memory.peak >= SIZE, "{memory:?}");
        assert!(memory.resident <= memory.peak, "{memory:?}");
    }
}
