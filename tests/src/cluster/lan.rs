//! The network of a cluster: a bridge, and a namespace for each host.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sched::{CloneFlags, unshare};

use crate::host::command::succeed;
use crate::host::network::Network;
use crate::supervisor::{Program, Stage, Supervisor};

/// How long a namespace may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bridge's own address, where the DNS is, and the clients.
pub(super) const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);

const BRIDGE: &str = "br0";

/// Those that a host has.
const PREFIX: &str = "24";

/// The bridge's end of a host's link.
pub(super) fn link(host: &str) -> String {
    format!("v-{host}")
}

/// Moves this process to a network of its own, with nothing on it but a bridge. Of a process with several threads it
/// would move this one alone.
///
/// # Errors
/// Not root, or the kernel does not know bridges.
pub(super) fn enter_new() -> anyhow::Result<Network> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&[
        "link",
        "add",
        BRIDGE,
        "type",
        "bridge",
        "forward_delay",
        "0",
    ])?;
    let own = format!("{OWN_ADDRESS}/{PREFIX}");
    ip(&["addr", "add", &own, "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    Ok(Network::Namespace(namespace(std::process::id())))
}

/// Adds a host. Its network lasts as long as a process does that does nothing else.
///
/// # Errors
/// A program is not installed, or the kernel refuses.
pub(super) fn add_host(
    supervisor: &mut Supervisor,
    folder: &Path,
    host: &str,
    ip_address: Ipv4Addr,
) -> anyhow::Result<Network> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let pidfile = folder.join("host.pid");
    let holder = ["unshare", "--net", "--", "sleep", "infinity"];
    supervisor.start(Program {
        name: "host",
        // It ends last.
        stage: Stage::Daemons,
        command: holder.map(Into::into).to_vec(),
        user: None,
        low_ports: false,
        network: Network::Own,
        environment: Vec::new(),
        sockets: Vec::new(),
        log: folder.join("host.log"),
        pidfile: Some(pidfile.clone()),
        restart: false,
    })?;
    let pid: u32 = fs::read_to_string(&pidfile)?.trim().parse()?;
    await_namespace(pid)?;
    let link = link(host);
    let peer = ["peer", "name", "eth0", "netns", &pid.to_string()];
    ip(&[&["link", "add", &link, "type", "veth"], &peer[..]].concat())?;
    ip(&["link", "set", &link, "master", BRIDGE, "up"])?;
    let network = Network::Namespace(namespace(pid));
    let own = format!("{ip_address}/{PREFIX}");
    for arguments in [
        &["link", "set", "lo", "up"][..],
        &["addr", "add", &own, "dev", "eth0"],
        &["link", "set", "eth0", "up"],
    ] {
        network.enter(|| ip(arguments))??;
    }
    Ok(network)
}

/// The program makes its namespace a moment after it was started.
fn await_namespace(pid: u32) -> anyhow::Result<()> {
    let own = fs::read_link(namespace(std::process::id()))?;
    let deadline = Instant::now() + PATIENCE;
    while fs::read_link(namespace(pid))? == own {
        ensure!(Instant::now() < deadline, "no network namespace");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn namespace(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    succeed(Command::new("ip").args(arguments)).map(drop)
}
