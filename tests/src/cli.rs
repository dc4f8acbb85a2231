//! The command line of `cargo testbed`.

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::bench::{self, BenchArgs};
use crate::cargo_test::{self, TestArgs};
use crate::cluster::{self, ClusterArgs};
use crate::measured_run::{self, MeasuredRunArgs};
use crate::null_milter::{self, NullMilterArgs};
use crate::package::{self, PackageArgs};
use crate::relay::{DomainKind, RelayOptions};
use crate::test_relay::TestRelay;
use crate::up::{self, NameArgs, UpArgs};
use crate::{binaries, demo, host, patched_dovecot};

/// Whole chatmail relays on this machine: real Postfix, Dovecot and nginx, and our daemons between them.
///
/// A relay listens on a loopback address of its own (127.0.0.2 and up, ports above 10000), keeps
/// everything in one folder under /tmp, and leaves the system's own mail services alone. No mail
/// leaves the machine.
#[derive(Debug, Parser)]
#[command(name = "cargo testbed", bin_name = "cargo testbed", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Arguments of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Install missing Debian packages without asking
    #[arg(long)]
    pub yes: bool,
}

/// Arguments of `dovecot`.
#[derive(Clone, Debug, clap::Args)]
pub struct DovecotArgs {
    /// Install missing Debian packages without asking
    #[arg(long)]
    pub yes: bool,
}

const EXAMPLES: &str = "\
Examples:
  cargo testbed up                      a relay, until Ctrl-C; log in with the Delta Chat app
  cargo testbed up --domains 2          two relays that send mail to each other
  cargo testbed up --peer underscore --peer ip-literal   relays of each kind
  cargo testbed up --config max_user_send_per_minute=5 --config password_min_length=20
  cargo testbed up --detach --target /tmp/relay.json
  cargo testbed down                    stop the detached relay
  cargo testbed demo --yes              the main job in a minute, on a fresh machine
  cargo testbed test --yes              every test of the project
  cargo testbed bench --list            what can be measured
  cargo testbed dovecot --yes           the patched Dovecot, for messages that are told at once
  cargo testbed package --yes           target/debian/chatmail-suite_VERSION_ARCHITECTURE.deb";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a relay and show how to log in
    ///
    /// Installs the Debian packages that are missing (after asking), builds release binaries, makes
    /// the users `vmail`, `filtermail`, `mxdeliv` and `iroh` if need be, and starts a private Postfix, Dovecot and
    /// nginx with our daemons. An account comes into being when somebody logs in with a name and password for the
    /// first time.
    Up(UpArgs),
    /// Stop a relay that was started with --detach
    Down(NameArgs),
    /// Start two relays, show what they do with a few messages, and stop them
    Demo(DemoArgs),
    /// Run every test of the project
    Test(TestArgs),
    /// Measure whole relays
    Bench(BenchArgs),
    /// Make the patched Dovecot that relays run from then on: it tells of a new message at once (minutes, once)
    Dovecot(DovecotArgs),
    /// Build the Debian package
    Package(PackageArgs),
    /// Be the owner of a cluster, for a test
    #[command(hide = true)]
    Cluster(ClusterArgs),
    /// Be the milter of a relay whose milter does nothing
    #[command(hide = true)]
    NullMilter(NullMilterArgs),
    /// Run a program and tell how much time and memory it took
    #[command(hide = true)]
    MeasuredRun(MeasuredRunArgs),
}

/// Runs what the command line asks for.
///
/// # Errors
/// Whatever goes wrong, in words for the person who typed the command.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Up(args) => up::up(args).await,
        Command::Down(args) => up::down(&args),
        Command::Demo(args) => show(&args).await,
        Command::Test(args) => cargo_test::run(&args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Dovecot(args) => {
            host::prepare(args.yes).await?;
            patched_dovecot::provide()
        }
        Command::Package(args) => package::run(&args),
        Command::Cluster(args) => cluster::run(&args).await,
        Command::NullMilter(args) => null_milter::run(&args),
        Command::MeasuredRun(args) => measured_run::run(&args),
    }
}

async fn show(args: &DemoArgs) -> anyhow::Result<()> {
    host::prepare(args.yes).await?;
    binaries::build()?;
    let relay = TestRelay::start(RelayOptions::default().with_peer(DomainKind::Name))?;
    let peer = relay.peers.first().context("a second relay")?;
    demo::run(&relay.target, peer).await?;
    relay.stop()
}
