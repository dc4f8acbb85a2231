//! The address card of a running relay: what a client, a test or a measuring tool needs to know.
//!
//! The testbed writes it as JSON (`--target FILE`) at the moment the relay is ready, in one rename, so
//! that whoever waits for the file never reads half of it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::dns::Dns;
use crate::host::network::Network;

/// A relay that can be talked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The testbed's name and, after the first relay, its number: `default`, `default-2`.
    pub name: String,
    /// The domain of the relay's addresses, the part after the `@`.
    pub domain: String,
    /// IMAP over TLS (port 993 of a public relay).
    pub imap: Endpoint,
    /// Submission over TLS (port 465 of a public relay).
    pub smtps: Endpoint,
    /// Submission with STARTTLS (port 587 of a public relay).
    pub submission: Endpoint,
    /// Where other relays deliver (port 25 of a public relay).
    pub mx: Endpoint,
    /// HTTPS (port 443 of a public relay), when the relay serves it.
    #[serde(default)]
    pub https: Option<Endpoint>,
    /// What the relay lets one account do.
    pub limits: Limits,
    /// The folder that holds a mailbox folder for each address.
    pub mailboxes_dir: PathBuf,
    /// The configuration that our daemons were started with.
    pub chatmail_ini: PathBuf,
    /// Everything the relay writes lies below this folder.
    pub state_dir: PathBuf,
    /// The DNS of the relay and of its peers, when it has its own.
    #[serde(default)]
    pub dns: Option<Dns>,
    /// Where its addresses are, when that is a network of its own.
    #[serde(default)]
    pub network: Option<Network>,
    /// The relay's processes by name: `postfix`, `dovecot`, `filtermail`, `doveauth`, and where mail goes
    /// over HTTPS `mxdeliv-bridge`, `nginx`, and with calls `coturn`, `iroh-relay`.
    pub procs: BTreeMap<String, Process>,
}

impl Target {
    /// Prints the last lines of each log of the relay to standard error, for somebody who wants to
    /// know why something did not work.
    pub fn show_logs(&self, lines: usize) {
        let Ok(logs) = std::fs::read_dir(self.state_dir.join("log")) else {
            return;
        };
        for log in logs.flatten() {
            let Ok(text) = std::fs::read_to_string(log.path()) else {
                continue;
            };
            let all: Vec<&str> = text.lines().collect();
            let tail = all.get(all.len().saturating_sub(lines)..);
            let tail = tail.unwrap_or_default().join("\n");
            eprintln!("--- {}\n{tail}", log.path().display());
        }
    }

    /// How many posts to its `/mxdeliv` have been answered with this status so far, as nginx counts them.
    ///
    /// # Errors
    /// The relay has no nginx.
    pub fn posts(&self, status: u16) -> anyhow::Result<usize> {
        let log = self.state_dir.join("log/nginx-access.log");
        let log = fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
        let wanted = format!(" POST {status} ");
        Ok(log.lines().filter(|line| line.contains(&wanted)).count())
    }

    /// Reads the file that `--target FILE` wrote.
    ///
    /// # Errors
    /// The file is missing or is not the JSON of a target.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} does not describe a relay", path.display()))
    }

    /// Writes the file so that a reader sees all of it or nothing.
    ///
    /// # Errors
    /// The folder of `path` cannot be written to.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder)
            .with_context(|| format!("writing to {}", folder.display()))?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.persist(path)
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// An IP address, as text.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// The endpoint at an IP address.
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self {
            host: address.to_string(),
            port,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip(), address.port())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

/// What the relay lets one account do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Messages at once before the sustained rate applies.
    pub burst: u32,
    /// Messages per minute, sustained.
    pub per_minute: u32,
    /// The largest message in bytes, headers included.
    pub max_message_size: u64,
}

/// A process of the relay, found by its pid file, which follows it over restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// A file that holds the process id in decimal.
    pub pidfile: PathBuf,
    /// Whether the work is done by the process's children, so that they count as well when its
    /// memory or CPU time is measured.
    pub tree: bool,
}

impl Process {
    /// The process id that the pid file holds at the moment.
    ///
    /// # Errors
    /// The file is missing, or holds no number.
    pub fn pid(&self) -> anyhow::Result<i32> {
        let text = fs::read_to_string(&self.pidfile)
            .with_context(|| format!("reading {}", self.pidfile.display()))?;
        text.trim()
            .parse()
            .with_context(|| format!("{} holds no pid", self.pidfile.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            host: "127.0.0.2".into(),
            port,
        }
    }

    fn target() -> Target {
        Target {
            name: "default".into(),
            domain: "chat.example".into(),
            imap: endpoint(1),
            smtps: endpoint(2),
            submission: endpoint(3),
            mx: endpoint(4),
            https: None,
            limits: Limits {
                burst: 10,
                per_minute: 60,
                max_message_size: 1 << 20,
            },
            mailboxes_dir: "/m".into(),
            chatmail_ini: "/c".into(),
            state_dir: "/s".into(),
            dns: None,
            network: None,
            procs: BTreeMap::from([(
                "postfix".to_owned(),
                Process {
                    pidfile: "/p".into(),
                    tree: true,
                },
            )]),
        }
    }

    #[test]
    fn a_target_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("target.json");
        target().write(&path).unwrap();
        target().write(&path).unwrap();
        assert_eq!(Target::read(&path).unwrap(), target());
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays behind");
    }

    #[test]
    fn what_a_relay_may_lack_may_be_absent() {
        let mut value = serde_json::to_value(target()).unwrap();
        for lacking in ["https", "dns"] {
            value.as_object_mut().unwrap().remove(lacking);
        }
        assert_eq!(serde_json::from_value::<Target>(value).unwrap(), target());
    }
}
