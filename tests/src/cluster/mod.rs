//! One relay on several machines: fronts, backends, and PostgreSQL with a standby.
//!
//! Each host is a network namespace with an address of its own on a bridge, so a host that is away is a link that is
//! down, and whatever is sent to it gets no answer, as from a machine without power. Files they share with this
//! machine, in folders of their own; processes too. The bridge is in a namespace as well: each cluster has the same
//! addresses, and none sees another. Clients reach it from inside: [`Cluster::run`].
//!
//! | hosts | what runs there |
//! |---|---|
//! | `front1`, `front2` | Postfix, nginx, mxdeliv-bridge, filtermail, doveauth, Dovecot without mailboxes |
//! | `back1`, `back2` | Dovecot with mailboxes, doveauth |
//! | `db1`, `db2` | PostgreSQL: a primary, and its standby with [`ClusterOptions::with_standby`] |
//!
//! DNS is at the bridge's own address, as are the test's clients.

mod lan;
mod postgres;
mod run;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use postgres::Postgres;
pub use run::{ClusterArgs, run};

use crate::binaries;
use crate::host::command::succeed;
use crate::host::network::Network;
use crate::host::packages;
use crate::relay::{ServerSetting, Setting};
use crate::target::Target;
use crate::test_relay::{end, end_within, new_name, wait_for};

/// How much of each log a failed test shows.
const LOG_LINES: usize = 30;

/// What kind of cluster to start.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    standby: bool,
    config: Vec<Setting>,
    server_settings: Vec<ServerSetting>,
}

impl ClusterOptions {
    /// The same with a standby that has all that the primary has acknowledged.
    #[must_use]
    pub fn with_standby(mut self) -> Self {
        self.standby = true;
        self
    }

    /// The same with a key of `chatmail.ini` set on all hosts.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.config.push(Setting {
            key: key.into(),
            value: value.to_string(),
        });
        self
    }

    /// The same with a setting of Postfix or Dovecot on all hosts.
    #[must_use]
    pub fn with_server_setting(mut self, setting: ServerSetting) -> Self {
        self.server_settings.push(setting);
        self
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.standby {
            arguments.push("--standby".to_owned());
        }
        for setting in &self.config {
            arguments.extend(["--config".to_owned(), setting.to_string()]);
        }
        for setting in &self.server_settings {
            arguments.extend(["--server-setting".to_owned(), setting.to_string()]);
        }
        arguments
    }
}

/// What a test is told of a running cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Description {
    network: Network,
    fronts: Vec<Target>,
    backends: Vec<Target>,
    databases: Vec<Postgres>,
}

/// A running cluster, which ends with the value, or with the process that started it.
#[derive(Debug)]
pub struct Cluster {
    /// What clients and other relays talk to.
    pub fronts: Vec<Target>,
    /// Where mailboxes are; their ports are those of public relays.
    pub backends: Vec<Target>,
    /// The primary; then, if there is one, the standby.
    pub databases: Vec<Postgres>,
    network: Network,
    supervisor: Child,
}

impl Cluster {
    /// Starts a cluster and waits until all of it answers. Blocks for some seconds.
    ///
    /// # Errors
    /// Not root, something is not installed or not built, or a host does not come up; the supervisor has said why on
    /// standard error.
    pub fn start(options: &ClusterOptions) -> anyhow::Result<Self> {
        packages::require(&[packages::POSTGRESQL])?;
        let folder = tempfile::tempdir().context("a folder for the cluster's description")?;
        let file = folder.path().join("cluster.json");
        let mut supervisor = Command::new(binaries::release("testbed")?)
            .args(["cluster", "--name", &new_name(), "--target"])
            .arg(&file)
            .args(options.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("starting the testbed")?;
        wait_for(&file, &mut supervisor)?;
        let text = std::fs::read_to_string(&file)?;
        let description: Description = serde_json::from_str(&text)?;
        Ok(Self {
            fronts: description.fronts,
            backends: description.backends,
            databases: description.databases,
            network: description.network,
            supervisor,
        })
    }

    /// Runs clients, on a thread that is on the network with all its sockets and all programs that it starts.
    ///
    /// # Errors
    /// Those of the clients.
    pub fn run<T: Send>(
        &self,
        clients: impl AsyncFnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        self.network.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(clients())
        })?
    }

    /// Takes a host off the network: nothing reaches it any more, and nobody is told.
    ///
    /// # Errors
    /// There is no such host.
    pub fn unplug(&self, host: &str) -> anyhow::Result<()> {
        self.link(host, "down")
    }

    /// Brings a host back that was unplugged.
    ///
    /// # Errors
    /// There is no such host.
    pub fn plug_in(&self, host: &str) -> anyhow::Result<()> {
        self.link(host, "up")
    }

    /// Lets no more than so many bits a second through to a host, so that each answer takes its time.
    ///
    /// # Errors
    /// There is no such host, or this machine's kernel cannot do it.
    pub fn slow_down(&self, host: &str, bits_per_second: u32) -> anyhow::Result<()> {
        let rate = format!("{bits_per_second}bit");
        let mut command = Command::new("tc");
        command.args(["qdisc", "replace", "dev", &lan::link(host), "root", "tbf"]);
        // A packet at once; what comes meanwhile waits and is not lost.
        command.args(["rate", &rate, "burst", "1600", "limit", "10mb"]);
        self.network.enter(|| succeed(&mut command))??;
        Ok(())
    }

    /// Ends what [`Cluster::slow_down`] began.
    ///
    /// # Errors
    /// The host is not slow.
    pub fn speed_up(&self, host: &str) -> anyhow::Result<()> {
        let mut command = Command::new("tc");
        command.args(["qdisc", "del", "dev", &lan::link(host), "root"]);
        self.network.enter(|| succeed(&mut command))??;
        Ok(())
    }

    /// The backend whose host has this name.
    ///
    /// # Errors
    /// There is none.
    pub fn backend(&self, name: &str) -> anyhow::Result<&Target> {
        let mut backends = self.backends.iter();
        backends
            .find(|backend| backend.name == name)
            .with_context(|| format!("no backend {name}"))
    }

    /// The primary, as it was at the start.
    ///
    /// # Errors
    /// None.
    pub fn database(&self) -> anyhow::Result<&Postgres> {
        self.databases.first().context("a cluster without database")
    }

    /// An operator's command on one of the hosts.
    ///
    /// # Errors
    /// The command is not built.
    pub fn command(&self, host: &Target, program: &str) -> anyhow::Result<Command> {
        let Some(network) = &host.network else {
            anyhow::bail!("{} is no host of a cluster", host.name);
        };
        let mut command = network.command(&binaries::release(program)?);
        command.arg("--config").arg(&host.chatmail_ini);
        Ok(command)
    }

    /// Stops everything and waits until no process is left. Dropping does the same, silently.
    ///
    /// # Errors
    /// The supervisor did not end in time, or not well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        end(&mut self.supervisor)
    }

    /// As [`Cluster::stop`], with this long for it: there are sessions and mailboxes by the thousand.
    ///
    /// # Errors
    /// As [`Cluster::stop`].
    pub fn stop_within(mut self, patience: Duration) -> anyhow::Result<()> {
        end_within(patience, &mut self.supervisor)
    }

    fn link(&self, host: &str, state: &str) -> anyhow::Result<()> {
        let mut command = Command::new("ip");
        command.args(["link", "set", &lan::link(host), state]);
        self.network.enter(|| succeed(&mut command))??;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in self.fronts.iter().chain(&self.backends) {
                host.show_logs(LOG_LINES);
            }
        }
        if let Err(error) = end(&mut self.supervisor) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Where the hosts' folders are, below the cluster's.
fn folder_of(folder: &std::path::Path, host: &str) -> PathBuf {
    folder.join(host)
}
