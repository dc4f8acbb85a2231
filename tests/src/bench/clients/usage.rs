//! What each tier takes of the machine: memory, processes, descriptors and processor time, by program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::super::process_memory::bytes;
use super::super::process_time;
use crate::cluster::Cluster;

/// A tier of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    /// Hosts that clients talk to.
    Front,
    /// Hosts with mailboxes.
    Backend,
    /// PostgreSQL.
    Database,
}

impl Tier {
    /// All, from the outside in.
    pub(super) const ALL: [Self; 3] = [Self::Front, Self::Backend, Self::Database];

    /// For figures.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Backend => "backend",
            Self::Database => "database",
        }
    }
}

/// The first processes of a cluster's programs; all others descend from them.
pub(super) struct Roots(Vec<(Tier, String, i32)>);

impl Roots {
    /// Looks up a cluster's.
    ///
    /// # Errors
    /// A program does not run.
    pub(super) fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut roots = Vec::new();
        for (tier, hosts) in [
            (Tier::Front, &cluster.fronts),
            (Tier::Backend, &cluster.backends),
        ] {
            for host in hosts {
                for (name, process) in &host.procs {
                    let pid = process.pid().with_context(|| host.name.clone())?;
                    roots.push((tier, name.clone(), pid));
                }
            }
        }
        let database = cluster.database()?.pid()?.as_raw();
        roots.push((Tier::Database, "postgres".to_owned(), database));
        Ok(Self(roots))
    }

    /// Processor time of each program so far, that of processes which have ended included.
    ///
    /// # Errors
    /// A program does not run any more.
    pub(super) fn work(&self) -> anyhow::Result<Work> {
        let mut work = Work::default();
        for (tier, program, root) in &self.0 {
            let used = process_time::of_tree(*root)?;
            *work.0.entry((*tier, program.clone())).or_default() += used;
        }
        Ok(work)
    }

    /// What the processes have at the moment.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(super) fn holdings(&self) -> anyhow::Result<Holdings> {
        let mut holdings = Holdings::default();
        for (tier, _, root) in &self.0 {
            for pid in process_time::tree(*root)? {
                let folder = PathBuf::from(format!("/proc/{pid}"));
                // One that ends meanwhile has nothing.
                if let Some((name, process)) = Process::of(&folder) {
                    let group = holdings.0.entry((*tier, name)).or_default();
                    group.add(process);
                }
            }
        }
        Ok(holdings)
    }

    /// IMAP sessions that have a process: those that are awake.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(super) fn awake(&self) -> anyhow::Result<usize> {
        let mut awake = 0;
        for (tier, program, root) in &self.0 {
            if (*tier, program.as_str()) != (Tier::Backend, "dovecot") {
                continue;
            }
            for pid in process_time::tree(*root)? {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                awake += usize::from(name.trim() == "imap");
            }
        }
        Ok(awake)
    }
}

/// Processor time by tier and program.
#[derive(Clone, Debug, Default)]
pub(super) struct Work(BTreeMap<(Tier, String), Duration>);

impl Work {
    /// What was done since.
    pub(super) fn since(&self, before: &Self) -> Self {
        let difference = |(key, used): (&(Tier, String), &Duration)| {
            let before = before.0.get(key).copied().unwrap_or_default();
            (key.clone(), used.saturating_sub(before))
        };
        Self(self.0.iter().map(difference).collect())
    }

    /// Seconds of a tier.
    pub(super) fn seconds(&self, tier: Tier) -> f64 {
        let of_tier = self.0.iter().filter(|((of, _), _)| *of == tier);
        of_tier.map(|(_, used)| used.as_secs_f64()).sum()
    }

    /// Seconds of each program of a tier.
    pub(super) fn programs(&self, tier: Tier) -> impl Iterator<Item = (&str, f64)> {
        let of_tier = self.0.iter().filter(move |((of, _), _)| *of == tier);
        of_tier.map(|((_, name), used)| (name.as_str(), used.as_secs_f64()))
    }
}

/// What one process has.
#[derive(Clone, Copy, Debug)]
struct Process {
    pss: u64,
    private: u64,
    address_space: u64,
    descriptors: usize,
    inotify: usize,
}

impl Process {
    fn of(folder: &Path) -> Option<(String, Self)> {
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        let memory = fs::read_to_string(folder.join("smaps_rollup")).ok()?;
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let mut process = Self {
            pss: bytes(&memory, "Pss:")?,
            private: bytes(&memory, "Private_Clean:")? + bytes(&memory, "Private_Dirty:")?,
            address_space: bytes(&status, "VmSize:")?,
            descriptors: 0,
            inotify: 0,
        };
        for descriptor in fs::read_dir(folder.join("fd")).ok()?.flatten() {
            process.descriptors += 1;
            let file = fs::read_link(descriptor.path()).unwrap_or_default();
            process.inotify += usize::from(file == Path::new("anon_inode:inotify"));
        }
        Some((name.trim().to_owned(), process))
    }
}

/// What the processes of one name have together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    /// How many.
    pub(super) processes: usize,
    /// Memory in bytes; what several share is divided among them.
    pub(super) pss: u64,
    /// Memory in bytes that is each one's alone.
    pub(super) private: u64,
    /// Addresses in use, in bytes: what `vsz_limit` is about.
    pub(super) address_space: u64,
    /// Open files.
    pub(super) descriptors: usize,
    /// Of these, inotify instances.
    pub(super) inotify: usize,
}

impl Group {
    fn add(&mut self, process: Process) {
        self.processes += 1;
        self.pss += process.pss;
        self.private += process.private;
        self.address_space += process.address_space;
        self.descriptors += process.descriptors;
        self.inotify += process.inotify;
    }
}

/// What the processes of all tiers have.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings(BTreeMap<(Tier, String), Group>);

impl Holdings {
    /// The processes of a name; none is nothing.
    pub(super) fn group(&self, tier: Tier, name: &str) -> Group {
        let key = (tier, name.to_owned());
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// All groups of a tier.
    pub(super) fn groups(&self, tier: Tier) -> impl Iterator<Item = (&str, Group)> {
        let of_tier = self.0.iter().filter(move |((of, _), _)| *of == tier);
        of_tier.map(|((_, name), group)| (name.as_str(), *group))
    }

    /// Something of all processes of a tier.
    pub(super) fn sum(&self, tier: Tier, part: fn(Group) -> f64) -> f64 {
        self.groups(tier).map(|(_, group)| part(group)).sum()
    }
}

/// Memory of the kernel's own that cannot be given back (sockets, processes, inotify), in bytes, of the whole machine.
///
/// # Errors
/// `/proc/meminfo` cannot be read.
pub(super) fn kernel_memory() -> anyhow::Result<u64> {
    let text = meminfo()?;
    let parts = ["SUnreclaim:", "KernelStack:", "PageTables:"];
    let parts = parts.map(|part| bytes(&text, part));
    let sum: Option<u64> = parts.into_iter().sum();
    sum.context("/proc/meminfo")
}

/// Memory that programs can still have, in bytes.
///
/// # Errors
/// `/proc/meminfo` cannot be read.
pub(super) fn available_memory() -> anyhow::Result<u64> {
    bytes(&meminfo()?, "MemAvailable:").context("/proc/meminfo")
}

fn meminfo() -> anyhow::Result<String> {
    fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")
}
