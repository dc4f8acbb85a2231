//! `testbed cluster`: the process that a cluster belongs to.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::lan::{self, OWN_ADDRESS};
use super::{Description, Postgres, folder_of};
use crate::authority::Authority;
use crate::binaries;
use crate::dns::DnsServer;
use crate::host;
use crate::host::command::succeed;
use crate::host::network::Network;
use crate::host::state::StateDir;
use crate::relay::{Host, Relay, RelayOptions, ServerSetting, Setting};
use crate::supervisor::Supervisor;
use crate::up::{NameArgs, Stop};

/// The fronts and their addresses' last octets.
const FRONTS: [(&str, u8); 2] = [("front1", 11), ("front2", 12)];

/// The backends.
const BACKENDS: [(&str, u8); 2] = [("back1", 21), ("back2", 22)];

/// The databases.
const DATABASES: [(&str, u8); 2] = [("db1", 31), ("db2", 32)];

/// How much of each log a cluster that failed shows.
const LOG_LINES: usize = 15;

/// Arguments of `cluster`.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterArgs {
    /// Which testbed to start
    #[command(flatten)]
    pub name: NameArgs,

    /// When all is ready, describe it in FILE (JSON)
    #[arg(long, value_name = "FILE")]
    pub target: PathBuf,

    /// A standby of the database, without which nothing is acknowledged
    #[arg(long)]
    pub standby: bool,

    /// Set a key of chatmail.ini, on all hosts; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub config: Vec<Setting>,

    /// Replace a setting of Postfix or Dovecot on all hosts; may be repeated
    #[arg(long, value_name = "SETTING", hide = true)]
    pub server_setting: Vec<ServerSetting>,
}

/// Starts a cluster, and stays until standard input ends or somebody says stop.
///
/// Must run on a current-thread runtime; see [`Supervisor::new`].
///
/// # Errors
/// Something is not installed or not built, or a host does not come up.
pub async fn run(args: &ClusterArgs) -> anyhow::Result<()> {
    host::require_root()?;
    let mut stop = Stop::new(true)?;
    let folder = StateDir::create(&args.name.root(), &args.name.name)?;
    let mut supervisor = Supervisor::new()?;
    let mut hosts = Hosts::default();
    let outcome = tokio::select! {
        started = hosts.start(args, folder.path(), &mut supervisor) => started,
        () = stop.received() => Err(anyhow::anyhow!("stopped before the cluster was ready")),
    };
    let outcome = match outcome {
        Ok(description) => {
            write(&args.target, &description)?;
            tokio::select! {
                () = stop.received() => Ok(()),
                error = supervisor.failure() => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        for relay in hosts.fronts.iter().chain(&hosts.backends) {
            relay.target().show_logs(LOG_LINES);
        }
    }
    supervisor.stop().await?;
    outcome
}

/// What there is so far.
#[derive(Default)]
struct Hosts {
    fronts: Vec<Relay>,
    backends: Vec<Relay>,
}

impl Hosts {
    async fn start(
        &mut self,
        args: &ClusterArgs,
        folder: &Path,
        supervisor: &mut Supervisor,
    ) -> anyhow::Result<Description> {
        // Whatever starts from here on is on it.
        let network = lan::enter_new()?;
        let authority = Authority::new(folder)?;
        let mut dns = DnsServer::plan_at(OWN_ADDRESS, network.clone(), folder.join("dns"))?;
        let databases = start_databases(args, folder, supervisor)?;
        let options = RelayOptions {
            config: args.config.clone(),
            server_settings: args.server_setting.clone(),
            ..RelayOptions::default()
        };
        let options = options.with("database_url", Postgres::url(&databases));
        for (name, last) in FRONTS {
            let network = add(supervisor, folder, (name, last))?;
            let host = Host::Front(format!("{name}.test"));
            let place = (host, ip(last), network);
            let front = plan(folder, name, &options, place, &dns, &authority)?;
            self.fronts.push(front);
        }
        for (name, last) in BACKENDS {
            let network = add(supervisor, folder, (name, last))?;
            let options = options.clone().with("backend_name", name);
            let fronts = FRONTS.map(|(_, last)| ip(last)).to_vec();
            let place = (Host::Backend(fronts), ip(last), network);
            let backend = plan(folder, name, &options, place, &dns, &authority)?;
            self.backends.push(backend);
        }
        self.add_backends()?;
        let (first, others) = self.fronts.split_first().context("no front")?;
        for other in others {
            other.share_keys_of(first)?;
        }
        first.publish_keys(&mut dns)?;
        let names = FRONTS.map(|(name, last)| (format!("{name}.test"), ip(last)));
        let names = names.each_ref().map(|(name, ip)| (name.as_str(), *ip));
        dns.add_relay_of(first.mail_domain(), &names)?;
        dns.configure()?;
        supervisor.start(dns.program())?;
        for relay in self.backends.iter().chain(&self.fronts) {
            for program in relay.programs()? {
                supervisor.start(program)?;
            }
        }
        let ready = async {
            dns.ready().await?;
            for relay in self.backends.iter().chain(&self.fronts) {
                relay.ready().await?;
            }
            Ok(())
        };
        tokio::select! {
            ready = ready => ready,
            error = supervisor.failure() => Err(error),
        }?;
        Ok(Description {
            network,
            fronts: self.fronts.iter().map(Relay::target).collect(),
            backends: self.backends.iter().map(Relay::target).collect(),
            databases,
        })
    }

    /// Tells the database of the backends, as an operator would.
    fn add_backends(&self) -> anyhow::Result<()> {
        let backend = self.backends.first().context("no backend")?;
        for (name, last) in BACKENDS {
            let mut command = Command::new(binaries::release("doveauth")?);
            command.arg("--config").arg(backend.target().chatmail_ini);
            command.args(["backends", "add", name, &ip(last).to_string()]);
            succeed(&mut command)?;
        }
        Ok(())
    }
}

fn start_databases(
    args: &ClusterArgs,
    folder: &Path,
    supervisor: &mut Supervisor,
) -> anyhow::Result<Vec<Postgres>> {
    let count = if args.standby { 2 } else { 1 };
    let mut databases: Vec<Postgres> = Vec::new();
    for (name, last) in DATABASES.into_iter().take(count) {
        let network = add(supervisor, folder, (name, last))?;
        let postgres = Postgres::plan(name, ip(last), folder_of(folder, name))?;
        match databases.first() {
            None => postgres.make_primary()?,
            Some(primary) => postgres.make_standby(primary)?,
        }
        supervisor.start(postgres.server(&network))?;
        postgres.wait()?;
        match databases.first() {
            None => postgres.make_database()?,
            Some(primary) => primary.wait_for_standby(&postgres)?,
        }
        databases.push(postgres);
    }
    Ok(databases)
}

fn plan(
    folder: &Path,
    name: &str,
    options: &RelayOptions,
    place: (Host, Ipv4Addr, Network),
    dns: &DnsServer,
    authority: &Authority,
) -> anyhow::Result<Relay> {
    let folder = folder_of(folder, name);
    let relay = Relay::plan_host(
        name.to_owned(),
        folder,
        options,
        place,
        dns.dns(),
        authority,
    )?;
    relay.configure(authority)?;
    Ok(relay)
}

fn add(
    supervisor: &mut Supervisor,
    folder: &Path,
    (name, last): (&str, u8),
) -> anyhow::Result<Network> {
    lan::add_host(supervisor, &folder_of(folder, name), name, ip(last))
        .with_context(|| format!("making {name}"))
}

fn ip(last: u8) -> Ipv4Addr {
    let [a, b, c, _] = OWN_ADDRESS.octets();
    Ipv4Addr::new(a, b, c, last)
}

fn write(path: &Path, description: &Description) -> anyhow::Result<()> {
    let folder = path.parent().context("a file in a folder")?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut file, description)?;
    file.persist(path)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}
