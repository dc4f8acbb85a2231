//! The LAN of some machines, with what they need from the world: DNS and an authority.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{Machine, script::Script};
use crate::authority::Authority;
use crate::dns::{Data, Dns, DnsServer};
use crate::host::network::Network;
use crate::host::{self, packages};

/// How long the LAN may take to start, or to end with all its machines.
const PATIENCE: Duration = Duration::from_secs(120);

/// A machine's addresses do not change by themselves.
const TTL: u32 = 60;

/// How much of each journal a failed test shows.
const JOURNAL_LINES: usize = 30;

/// A network that machines are on, and nobody else. All of it ends when this is dropped.
pub struct Lan {
    script: Arc<Script>,
    network: Network,
    dns: Dns,
    dns_process: Child,
    authority: Authority,
    machines: Mutex<Vec<Machine>>,
}

impl Lan {
    /// Starts a LAN without machines.
    ///
    /// # Errors
    /// Not root, something is not installed, or this machine cannot do it (see the page of [`super`]).
    pub fn start() -> anyhow::Result<Self> {
        // Tests of one process run at the same time.
        static COUNT: AtomicU32 = AtomicU32::new(1);

        host::require_root()?;
        packages::require(&packages::FOR_MACHINES)?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let script = Script::new(format!("t{}-{count}", std::process::id()));
        let script = Arc::new(script);
        let started = start(&script);
        if started.is_err() {
            // What there is of it must not stay.
            destroy(&script);
        }
        started
    }

    /// Boots a new machine, and waits until its units have started. Its name is known to the DNS from then on.
    ///
    /// # Errors
    /// The name has more than 12 of `a-z`, `0-9` and `-`, the address is none of [`Lan::ip`], or the machine does
    /// not come up.
    pub fn machine(&self, name: &str, address: Ipv4Addr) -> anyhow::Result<Machine> {
        self.machine_with(name, address, None)
    }

    /// As [`Lan::machine`], with this release of Debian, as `trixie`.
    ///
    /// # Errors
    /// As [`Lan::machine`].
    pub fn machine_with(
        &self,
        name: &str,
        address: Ipv4Addr,
        suite: impl Into<Option<&'static str>>,
    ) -> anyhow::Result<Machine> {
        let [.., last] = address.octets();
        ensure!(
            address == self.ip(last) && (2..=254).contains(&last),
            "{address} is no address for a machine: {} to {}",
            self.ip(2),
            self.ip(254)
        );
        let address6 = has_ipv6().then(|| Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last.into()));
        let machine = Machine {
            script: Arc::clone(&self.script),
            name: name.to_owned(),
            address,
            address6,
            suite: suite.into(),
        };
        self.dns.change(|zone| {
            let name = machine.host_name();
            if let Some(address) = address6 {
                zone.set(&name, TTL, &[Data::Aaaa(address)])?;
            }
            zone.set(&name, TTL, &[Data::A(address)])
        })?;
        let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        machines.push(machine.clone());
        drop(machines);
        machine.boot()?;
        Ok(machine)
    }

    /// The address of the LAN with this last octet: machines have 2 to 254, this machine's end has 1.
    pub fn ip(&self, last: u8) -> Ipv4Addr {
        ip(last)
    }

    /// The DNS that all machines ask. No other name exists for them.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Who signs certificates; a machine believes it after [`Machine::trust`].
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A program of this machine that runs on the LAN and knows the machines by name: a client. It is the caller
    /// who limits its time; whatever still runs ends with the LAN.
    ///
    /// For tokio: `tokio::process::Command::from(lan.command(…))`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.script.command();
        command.args(["lan", "--"]).arg(program);
        command
    }

    /// The LAN, for clients that are part of the test: see [`Network::enter`].
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// An Ansible inventory of the machines that are up, in the group `machines`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn inventory(&self) -> anyhow::Result<String> {
        self.script.run_ok(PATIENCE, &["inventory"])
    }

    /// A configuration for `ssh -F` by which the machines that are up are known by their names.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn ssh_config(&self) -> anyhow::Result<String> {
        self.script.run_ok(PATIENCE, &["ssh-config"])
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
            machines.iter().for_each(show_journal);
        }
        // It may have died before, and that is no loss any more.
        let _ = self.dns_process.kill();
        let _ = self.dns_process.wait();
        destroy(&self.script);
    }
}

fn start(script: &Arc<Script>) -> anyhow::Result<Lan> {
    let places = script.run_ok(PATIENCE, &["lan"])?;
    let (folder, namespace) = places
        .trim_end()
        .split_once('\n')
        .context("`machine lan` says nothing of where it is")?;
    let network = Network::Namespace(PathBuf::from(namespace));
    let folder = Path::new(folder);
    let authority = Authority::new(folder)?;
    let server = DnsServer::plan_at(ip(1), network.clone(), folder.join("dns"))?;
    server.configure()?;
    let dns_process = server.program().start_on(&network)?;
    let lan = Lan {
        script: Arc::clone(script),
        network,
        dns: server.dns().clone(),
        dns_process,
        authority,
        machines: Mutex::default(),
    };
    server.wait()?;
    Ok(lan)
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

fn destroy(script: &Script) {
    if let Err(error) = script.run_ok(PATIENCE, &["destroy"]) {
        eprintln!("warning: {error:#}");
    }
}

/// It would be gone with the machine.
fn show_journal(machine: &Machine) {
    match machine.journal() {
        Ok(journal) => {
            let lines: Vec<_> = journal.lines().collect();
            let last = lines.get(lines.len().saturating_sub(JOURNAL_LINES)..);
            let last = last.unwrap_or_default().join("\n");
            eprintln!("--- journal of {}\n{last}", machine.name());
        }
        Err(error) => eprintln!("--- no journal of {}: {error:#}", machine.name()),
    }
}
