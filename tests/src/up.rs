//! `cargo testbed up` and `down`: relays that run until somebody says stop.

mod detach;
mod plan;

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chatmail::lifecycle::StopSignals;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use plan::Testbed;

use crate::host::packages;
use crate::host::state::{self, StateDir};
use crate::relay::{DomainKind, Relay, RelayKind, RelayOptions, ServerSetting, Setting, Variant};
use crate::supervisor::Supervisor;
use crate::target::Target;
use crate::{app_login, binaries, host, iroh_relay, patched_dovecot};

/// How long `down` waits: longer than the supervisor waits for its programs.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How much of each log a relay that failed shows.
const LOG_LINES: usize = 15;

/// Which testbed.
#[derive(Clone, Debug, clap::Args)]
pub struct NameArgs {
    /// Name of the testbed; several run side by side under different names
    #[arg(long, default_value = "default")]
    pub name: String,

    /// Folder that holds the folders of testbeds [default: chatmail-testbed in $TMPDIR or /tmp]
    #[arg(long, value_name = "DIR")]
    pub state_root: Option<PathBuf>,
}

impl NameArgs {
    pub(crate) fn root(&self) -> PathBuf {
        self.state_root.clone().unwrap_or_else(state::default_root)
    }
}

/// Arguments of `up`.
#[derive(Clone, Debug, clap::Args)]
pub struct UpArgs {
    /// Which testbed to start
    #[command(flatten)]
    pub name: NameArgs,

    /// Install missing Debian packages without asking
    #[arg(long)]
    pub yes: bool,

    /// Return when the relays are ready and leave them running until `down`
    #[arg(long, conflicts_with = "until_stdin_closes")]
    pub detach: bool,

    /// Number of relays; they have 127.0.0.x each, find each other in the testbed's DNS and send each
    /// other mail
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub domains: u8,

    /// What their addresses end in: name (chat.test), underscore (_chat.test) or ip-literal
    /// ([127.0.0.x]), with +self-signed, +wrong-name or +expired for a certificate that peers refuse, with
    /// +smtp for a relay without mxdeliv-bridge, which sends mail to peers by SMTP only
    #[arg(long, value_name = "KIND", default_value_t)]
    pub kind: RelayKind,

    /// Another setting of a server than the one that is shipped, to measure what that does: postfix:NAME = VALUE or
    /// dovecot:LINES; may be repeated
    #[arg(long, value_name = "SETTING", hide = true)]
    pub server_setting: Vec<ServerSetting>,

    /// One more relay, of this kind; may be repeated
    #[arg(long, value_name = "KIND")]
    pub peer: Vec<RelayKind>,

    /// Set a key of chatmail.ini, on all relays; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub config: Vec<Setting>,

    /// When all is ready, describe the first relay in FILE and further ones in FILE.2, FILE.3, … (JSON)
    #[arg(long, value_name = "FILE")]
    pub target: Option<PathBuf>,

    /// Stop when standard input ends, so that the relays do not outlive the program that started them
    #[arg(long)]
    pub until_stdin_closes: bool,

    /// Postfix and Dovecot only, without our daemons: every address exists, mail passes unseen
    #[arg(long)]
    pub plain: bool,

    /// Like --plain, with a classic relay's settings: to measure against
    #[arg(long, hide = true, conflicts_with = "plain")]
    pub classic_settings: bool,

    /// Like --plain, but mail passes a milter that does nothing: to measure against
    #[arg(long, hide = true, conflicts_with_all = ["plain", "classic_settings"])]
    pub null_milter: bool,

    /// Like --plain, but OpenDKIM signs mail: to measure against
    #[arg(long, hide = true, conflicts_with_all = ["plain", "classic_settings", "null_milter"])]
    pub open_dkim: bool,

    /// Addresses at the relay's IP address, name@[127.0.0.x]: the same as --kind ip-literal
    #[arg(long, conflicts_with = "kind")]
    pub ip_literal: bool,

    /// Seconds after which mail that cannot be delivered goes back to its sender; days unless given
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub queue_lifetime: Option<u32>,

    /// Throw mail away once it is accepted, and speak no TLS on the submission port and port 25: to
    /// measure how mail is accepted and nothing else
    #[arg(long)]
    pub acceptance_only: bool,

    /// Start Postfix and Dovecot again when they die, instead of ending
    #[arg(long)]
    pub restart_servers: bool,

    /// Do not tell the notification server of new messages
    #[arg(long)]
    pub without_push: bool,

    /// Servers for calls and realtime data of apps: coturn, and iroh-relay, which is built at first use (some
    /// minutes)
    #[arg(long, conflicts_with_all = ["plain", "classic_settings", "null_milter", "open_dkim"])]
    pub with_calls: bool,

    /// Run the machine's own Dovecot, although `cargo testbed dovecot` has made the patched one
    #[arg(long)]
    pub stock_dovecot: bool,

    /// Run the release binaries as they are
    #[arg(long)]
    pub no_build: bool,

    /// Leave the folder with logs and mail behind, until the next testbed starts
    #[arg(long)]
    pub keep: bool,
}

impl UpArgs {
    fn relay_options(&self) -> RelayOptions {
        let kind = if self.ip_literal {
            DomainKind::IpLiteral.into()
        } else {
            self.kind
        };
        let alike = usize::from(self.domains).saturating_sub(1);
        let variants = [
            (self.plain, Variant::Plain),
            (self.classic_settings, Variant::ClassicSettings),
            (self.null_milter, Variant::NullMilter),
            (self.open_dkim, Variant::OpenDkim),
        ];
        let variant = variants.into_iter().find(|(is_asked_for, _)| *is_asked_for);
        RelayOptions {
            variant: variant.map_or(Variant::Full, |(_, variant)| variant),
            kind,
            peers: [vec![kind; alike], self.peer.clone()].concat(),
            config: self.config.clone(),
            state_root: self.name.state_root.clone(),
            acceptance_only: self.acceptance_only,
            queue_lifetime: self.queue_lifetime,
            restart_servers: self.restart_servers,
            without_push: self.without_push,
            calls: self.with_calls,
            stock_dovecot: self.stock_dovecot,
            server_settings: self.server_setting.clone(),
        }
    }
}

/// Prepares the machine, starts the relays, and stays until told to stop.
///
/// Must run on a current-thread runtime; see [`Supervisor::new`].
///
/// # Errors
/// The machine lacks something, a configuration is not allowed, or a relay does not come up or dies.
pub async fn up(args: UpArgs) -> anyhow::Result<()> {
    let also: &[_] = if args.with_calls {
        &[packages::COTURN]
    } else {
        &[]
    };
    host::prepare_with(args.yes, also).await?;
    if !args.plain && !args.no_build {
        binaries::build()?;
    }
    if args.with_calls {
        iroh_relay::program().await?;
    }
    if !args.stock_dovecot && patched_dovecot::provided()?.is_none() {
        eprintln!("WARNING: {}", patched_dovecot::COST);
    }
    if args.detach {
        detach::detach(&args)
    } else {
        run(&args).await
    }
}

/// Stops a detached testbed and waits until nothing of it is left.
///
/// # Errors
/// It does not stop in time.
pub fn down(args: &NameArgs) -> anyhow::Result<()> {
    let root = args.root();
    let Some(pid) = state::supervisor(&root, &args.name)? else {
        let running = state::running(&root)?;
        let others = if running.is_empty() {
            "none".to_owned()
        } else {
            running.join(", ")
        };
        println!("No testbed named `{}` runs (running: {others}).", args.name);
        return Ok(());
    };
    kill(Pid::from_raw(pid), Signal::SIGTERM).context("stopping the testbed")?;
    let deadline = Instant::now() + STOP_PATIENCE;
    while state::is_running(&root, &args.name)? {
        ensure!(
            Instant::now() < deadline,
            "the testbed (process {pid}) does not stop"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("Stopped the testbed `{}`.", args.name);
    Ok(())
}

async fn run(args: &UpArgs) -> anyhow::Result<()> {
    // Before anything is started, so that Ctrl-C finds us able to clean up.
    let mut stop = Stop::new(args.until_stdin_closes)?;
    let started = Instant::now();
    let mut folder = StateDir::create(&args.name.root(), &args.name.name)?;
    if args.keep {
        folder.keep();
    }
    let options = args.relay_options();
    let testbed = Testbed::configure(&args.name.name, folder.path(), &options)?;

    let mut supervisor = Supervisor::new()?;
    let outcome = tokio::select! {
        ready = testbed.start(&mut supervisor) => ready,
        () = stop.received() => Err(anyhow::anyhow!("stopped before the relays were ready")),
    };
    let outcome = match outcome {
        Ok(()) => {
            let took = started.elapsed();
            serve(args, &folder, &testbed, &mut supervisor, &mut stop, took).await
        }
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        for target in testbed.targets() {
            target.show_logs(LOG_LINES);
        }
    }
    supervisor.stop().await?;
    outcome
}

async fn serve(
    args: &UpArgs,
    folder: &StateDir,
    testbed: &Testbed,
    supervisor: &mut Supervisor,
    stop: &mut Stop,
    took: Duration,
) -> anyhow::Result<()> {
    if !args.until_stdin_closes {
        println!("Ready after {:.1} s.", took.as_secs_f64());
        for relay in &testbed.relays {
            introduce(relay)?;
        }
        if std::io::stdin().is_terminal() {
            println!("Ctrl-C stops everything.");
        }
    }
    // Last: who waits for these files may read the output as well.
    let targets = testbed.targets();
    if let Some(path) = &args.target {
        write_targets(path, &targets)?;
    }
    // `up --detach` waits for this one and promises all the others.
    write_targets(&own_target(folder.path()), &targets)?;
    tokio::select! {
        () = stop.received() => Ok(()),
        error = supervisor.failure() => Err(error),
    }
}

/// The first relay's file comes last: whoever waits for it finds the others there.
fn write_targets(path: &Path, targets: &[Target]) -> anyhow::Result<()> {
    for (index, target) in targets.iter().enumerate().rev() {
        target.write(&numbered(path, index + 1))?;
    }
    Ok(())
}

/// `FILE` for the first relay, `FILE.2` for the second.
pub fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn own_target(folder: &Path) -> PathBuf {
    folder.join("target.json")
}

fn introduce(relay: &Relay) -> anyhow::Result<()> {
    let target = relay.target();
    let (address, password) = relay.new_account();
    let url = app_login::url(&target, &address, &password);
    println!("\nRelay {} for addresses at {}", target.name, target.domain);
    for (name, process) in &target.procs {
        println!("  {name:<14} process {}", process.pid()?);
    }
    println!("  IMAP        {} (TLS)", target.imap);
    println!(
        "  submission  {} (TLS), {} (STARTTLS)",
        target.smtps, target.submission
    );
    println!("  mail from other relays  {}", target.mx);
    if let Some(https) = &target.https {
        println!("  the same over HTTPS     {https}");
    }
    if let Some(dns) = &target.dns {
        println!("  DNS         {}", dns.server);
    }
    println!("  mailboxes   {}", target.mailboxes_dir.display());
    println!("  logs        {}", target.state_dir.join("log").display());
    println!("  settings    {}", target.chatmail_ini.display());
    println!(
        "\nFor a Delta Chat app on this machine (\"I already have an account\", scan or paste):"
    );
    println!(
        "{url}\n{}",
        chatmail::qr_code::qr_code(&url, std::io::stdout().is_terminal())?
    );
    Ok(())
}

/// Everything that means stop.
pub(crate) struct Stop {
    signals: StopSignals,
    hangup: tokio::signal::unix::Signal,
    stdin_closed: Option<oneshot::Receiver<()>>,
}

impl Stop {
    pub(crate) fn new(until_stdin_closes: bool) -> anyhow::Result<Self> {
        Ok(Self {
            signals: StopSignals::new()?,
            hangup: signal(SignalKind::hangup())?,
            stdin_closed: until_stdin_closes.then(watch_stdin),
        })
    }

    pub(crate) async fn received(&mut self) {
        let stdin_closed = async {
            match &mut self.stdin_closed {
                // A sender that is gone without a word says the same.
                Some(closed) => drop(closed.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.signals.received() => {}
            _ = self.hangup.recv() => {}
            () = stdin_closed => {}
        }
    }
}

/// A thread of its own: the runtime would wait for a blocked read before it ends.
fn watch_stdin() -> oneshot::Receiver<()> {
    let (closed, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut ignored = [0; 512];
        while std::io::stdin()
            .read(&mut ignored)
            .is_ok_and(|count| count > 0)
        {}
        // Nobody waits any more when another signal came first.
        let _ = closed.send(());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_relays_have_numbered_files() {
        assert_eq!(numbered(Path::new("/x/t.json"), 1), Path::new("/x/t.json"));
        assert_eq!(
            numbered(Path::new("/x/t.json"), 3),
            Path::new("/x/t.json.3")
        );
    }
}
