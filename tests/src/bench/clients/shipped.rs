//! The limits that a relay has as it is shipped: what Dovecot makes of the configuration that the cluster runs with, and
//! what the playbook sets beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::model::{Limits, Service};
use crate::cluster::Cluster;
use crate::host::command::succeed;
use crate::relay::{Layout, shipped};

const MIB: f64 = 1048576.0;

/// Where connections get their ports from on a Debian that nobody has told otherwise.
const PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";

/// Reads a cluster's.
///
/// # Errors
/// doveconf does not know a setting, or PostgreSQL does not answer.
pub(super) fn limits(cluster: &Cluster) -> anyhow::Result<Limits> {
    let host = cluster.backends.first().context("no backend")?;
    let dovecot = Dovecot(Layout::new(host.state_dir.clone()).dovecot_conf());
    let number = |text: String| anyhow::Ok(text.parse::<f64>()?);
    let max_connections = cluster.database()?.sql("SHOW max_connections")?;
    let (config, _) = chatmail::Config::load(&host.chatmail_ini)?;
    Ok(Limits {
        login: dovecot.service("imap-login")?,
        hibernate: dovecot.service("imap-hibernate")?,
        imap_processes: dovecot.service("imap")?.processes,
        stats_clients: dovecot.service("stats")?.clients,
        open_files: shipped("dovecot_open_files")?.into(),
        inotify: shipped("dovecot_inotify_limit")?.into(),
        source_ports: source_ports()?,
        database_connections: config.database_connections.get().into(),
        max_connections: number(max_connections)?,
    })
}

/// A configuration.
struct Dovecot(std::path::PathBuf);

impl Dovecot {
    /// A service's own limits, or where it has none those of all.
    fn service(&self, name: &str) -> anyhow::Result<Service> {
        let limit = |limit: &str| {
            let own = self.setting(&format!("service/{name}/{limit}"))?;
            // What stands for "no value of its own": 0, or for bytes the largest number.
            if own == 0.0 || own > 1e15 {
                return self.setting(&format!("default_{limit}"));
            }
            anyhow::Ok(own)
        };
        Ok(Service {
            clients: limit("client_limit")?,
            processes: limit("process_limit")?,
            address_space: limit("vsz_limit")?,
        })
    }

    fn setting(&self, name: &str) -> anyhow::Result<f64> {
        let mut doveconf = Command::new("doveconf");
        doveconf.arg("-c").arg(&self.0).args(["-h", name]);
        let output = String::from_utf8(succeed(&mut doveconf)?.stdout)?;
        quantity(&output).with_context(|| format!("Dovecot's {name}: {output:?}"))
    }
}

/// A number, or a number of bytes.
fn quantity(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    Some(match words.next() {
        None | Some("B") => number,
        Some("k") => number * 1024.0,
        Some("M") => number * MIB,
        Some("G") => number * 1024.0 * MIB,
        Some(_) => return None,
    })
}

fn source_ports() -> anyhow::Result<f64> {
    let text = fs::read_to_string(PORTS).context(PORTS)?;
    let ports: Vec<f64> = text
        .split_whitespace()
        .filter_map(|port| port.parse().ok())
        .collect();
    let [first, last] = ports.as_slice() else {
        anyhow::bail!("{PORTS}: {text:?}");
    };
    Ok(last - first + 1.0)
}

/// The kernel's limits as the playbook sets them, for as long as this lives: those of this machine are all hosts'.
pub(super) struct KernelLimits {
    before: Option<String>,
    files: u64,
}

impl KernelLimits {
    /// Raises them, unless they are higher. Processes that are started from now on may have as many files open as
    /// systemd lets Dovecot's have, or as many as this machine allows.
    ///
    /// # Errors
    /// Not root, or the kernel refuses.
    pub(super) fn raise() -> anyhow::Result<Self> {
        let mut files = shipped("dovecot_open_files")?.into();
        if setrlimit(Resource::RLIMIT_NOFILE, files, files).is_err() {
            // Without CAP_SYS_RESOURCE.
            (_, files) = getrlimit(Resource::RLIMIT_NOFILE)?;
            println!("no process may have more than {files} files open on this machine");
            setrlimit(Resource::RLIMIT_NOFILE, files, files).context("the limit of open files")?;
        }
        let wanted = shipped("dovecot_inotify_limit")?;
        let before = fs::read_to_string(INOTIFY).context(INOTIFY)?;
        let enough = before.trim().parse::<u32>()? >= wanted;
        if !enough {
            write(INOTIFY, &wanted.to_string())?;
        }
        Ok(Self {
            before: (!enough).then_some(before),
            files,
        })
    }

    /// Files that a process may have open.
    pub(super) fn files(&self) -> u64 {
        self.files
    }
}

impl Drop for KernelLimits {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && let Err(error) = write(INOTIFY, before)
        {
            eprintln!("warning: {error:#}");
        }
    }
}

fn write(file: &str, content: &str) -> anyhow::Result<()> {
    ensure!(Path::new(file).exists(), "there is no {file}");
    fs::write(file, content).with_context(|| format!("writing {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("5000\n", Some(5000.0))]
    #[case("1 G\n", Some(1073741824.0))]
    #[case("256 M\n", Some(268435456.0))]
    #[case("18446744073709551615 B\n", Some(18446744073709551615.0))]
    #[case("1 mins\n", None)]
    #[case("\n", None)]
    fn settings_of_dovecot_are_read(#[case] text: &str, #[case] number: Option<f64>) {
        assert_eq!(quantity(text), number);
    }
}
