//! Running a relay's programs: started together, restarted when they should be, ended without a
//! trace.
//!
//! Every program is a direct child in the foreground, in a process group of its own so that Ctrl-C
//! reaches us alone. Should we be killed, the kernel sends each of them SIGTERM. Whatever they leave
//! behind becomes our child (we are a "subreaper") and is ended too, found by parenthood and never by
//! name.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use command_fds::{CommandFdExt as _, FdMapping};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::host::network::Network;

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// How long a program's orphans may take to notice that it is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// The pause before the first restart; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A program that ran this long before it died starts over with [`FIRST_PAUSE`].
const STEADY: Duration = Duration::from_secs(10);

/// The number of the first socket that a program is handed (`SD_LISTEN_FDS_START`).
const FIRST_SOCKET: i32 = 3;

/// When a program is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// First: what takes mail and logins from outside.
    Mail,
    /// Then: what the mail servers ask.
    Daemons,
}

/// A program to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// For messages.
    pub name: &'static str,
    /// When it is stopped.
    pub stage: Stage,
    /// The executable and its arguments.
    pub command: Vec<OsString>,
    /// The user to run as; root when none.
    pub user: Option<&'static str>,
    /// Whether it may listen on ports below 1024 although it is not root.
    pub low_ports: bool,
    /// The network it runs on.
    pub network: Network,
    /// Variables on top of our own environment.
    pub environment: Vec<(&'static str, OsString)>,
    /// Listening sockets that it is handed as systemd would (`sd_listen_fds(3)`). They are ours, so
    /// who connects while it is started again waits.
    pub sockets: Vec<Arc<OwnedFd>>,
    /// Where its output goes.
    pub log: PathBuf,
    /// Where to write its process id, unless it does so itself.
    pub pidfile: Option<PathBuf>,
    /// Whether to start it again when it dies. If not, its death ends the relay.
    pub restart: bool,
}

/// Owner of running programs.
#[derive(Debug)]
pub struct Supervisor {
    running: Vec<Running>,
    failed: mpsc::UnboundedSender<anyhow::Error>,
    failures: mpsc::UnboundedReceiver<anyhow::Error>,
}

#[derive(Debug)]
struct Running {
    stage: Stage,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// A supervisor with nothing to do. It must live on a current-thread runtime: the kernel counts a
    /// child's parent as dead when the thread that started it ends.
    ///
    /// # Errors
    /// The kernel does not let us adopt orphans.
    pub fn new() -> anyhow::Result<Self> {
        nix::sys::prctl::set_child_subreaper(true).context("becoming a subreaper")?;
        let (failed, failures) = mpsc::unbounded_channel();
        Ok(Self {
            running: Vec::new(),
            failed,
            failures,
        })
    }

    /// Starts a program.
    ///
    /// # Errors
    /// It cannot be executed, or its log cannot be written.
    pub fn start(&mut self, program: Program) -> anyhow::Result<()> {
        let child = program.spawn()?;
        let stage = program.stage;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(keep_running(program, child, stopped, self.failed.clone()));
        self.running.push(Running { stage, stop, task });
        Ok(())
    }

    /// Waits until a program that must not die has died.
    pub async fn failure(&mut self) -> anyhow::Error {
        // We hold a sender, so the channel never closes.
        match self.failures.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops everything, stage by stage, and returns when no process is left.
    ///
    /// # Errors
    /// The kernel refuses to tell about our children.
    pub async fn stop(self) -> anyhow::Result<()> {
        let (mail, daemons): (Vec<_>, Vec<_>) = self
            .running
            .into_iter()
            .partition(|running| running.stage == Stage::Mail);
        for stage in [mail, daemons] {
            let mut tasks = Vec::new();
            for running in stage {
                // The task is gone already when its program died for good.
                let _ = running.stop.send(());
                tasks.push(running.task);
            }
            for task in tasks {
                task.await.context("a supervising task")?;
            }
        }
        end_orphans().await
    }
}

impl Program {
    fn spawn(&self) -> anyhow::Result<Child> {
        let context = || format!("starting {}", self.name);
        let mut command = Command::from(self.launcher());
        command.args(["--pdeathsig", "TERM"]);
        if !self.sockets.is_empty() {
            let mappings = self.socket_mappings().with_context(context)?;
            command
                .env("LISTEN_FDS", mappings.len().to_string())
                .fd_mappings(mappings)
                .with_context(context)?;
        }
        self.describe(command.as_std_mut()).with_context(context)?;
        let child = command.spawn().with_context(context)?;
        self.write_pidfile(child.id())?;
        Ok(child)
    }

    /// Starts it on a network, for an owner that ends it by itself: no [`Supervisor`] watches it, and it
    /// outlives the thread that started it. It is handed no sockets.
    ///
    /// # Errors
    /// It cannot be executed, or its log cannot be written.
    pub fn start_on(&self, network: &Network) -> anyhow::Result<std::process::Child> {
        let context = || format!("starting {}", self.name);
        let mut command = self.launcher();
        self.describe(&mut command).with_context(context)?;
        // A child is on the network of the thread that starts it.
        let child = network.enter(|| command.spawn())?.with_context(context)?;
        self.write_pidfile(Some(child.id()))?;
        Ok(child)
    }

    /// setpriv, which becomes the program, so that the process id is the program's; on another network than ours it
    /// is nsenter that becomes setpriv, while it is still root.
    fn launcher(&self) -> std::process::Command {
        self.network.command(Path::new("setpriv"))
    }

    /// Everything of a `setpriv` command that does not depend on who watches it.
    fn describe(&self, command: &mut std::process::Command) -> std::io::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        if let Some(user) = self.user {
            command.args(["--reuid", user, "--regid", user, "--init-groups"]);
            // As in a systemd unit: no program that it runs has rights beyond its own.
            command.arg("--no-new-privs");
        }
        if self.low_ports {
            let capability = "+net_bind_service";
            command.args(["--inh-caps", capability, "--ambient-caps", capability]);
        }
        command
            .arg("--")
            .args(&self.command)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // Logs belong into the relay's own folder, not into the caller's journal.
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        Ok(())
    }

    fn write_pidfile(&self, pid: Option<u32>) -> anyhow::Result<()> {
        match (&self.pidfile, pid) {
            (Some(pidfile), Some(pid)) => write_pidfile(pidfile, pid),
            _ => Ok(()),
        }
    }

    fn socket_mappings(&self) -> std::io::Result<Vec<FdMapping>> {
        (FIRST_SOCKET..)
            .zip(&self.sockets)
            .map(|(child_fd, socket)| {
                let parent_fd = socket.as_fd().try_clone_to_owned()?;
                Ok(FdMapping {
                    parent_fd,
                    child_fd,
                })
            })
            .collect()
    }
}

async fn keep_running(
    program: Program,
    mut child: Child,
    mut stop: oneshot::Receiver<()>,
    failed: mpsc::UnboundedSender<anyhow::Error>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let group = child.id();
        let status = tokio::select! {
            status = child.wait() => status,
            _ = &mut stop => return terminate(&program, &mut child).await,
        };
        let died = died(&program, status);
        end_rest(group).await;
        if !program.restart {
            // Nobody listens any more when everything is being stopped anyway.
            let _ = failed.send(anyhow::Error::msg(died));
            return;
        }
        if started.elapsed() >= STEADY {
            pause = FIRST_PAUSE;
        }
        eprintln!("{died}; starting it again in {} ms", pause.as_millis());
        tokio::select! {
            () = sleep(pause) => {}
            _ = &mut stop => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
        child = match program.spawn() {
            Ok(child) => child,
            Err(error) => {
                let _ = failed.send(error);
                return;
            }
        };
    }
}

/// Ends what a program leaves in its process group when it dies, as systemd does: nginx's workers would
/// keep its port from the next master. None of it stays as a zombie either: Dovecot respects the lock of a mailbox for
/// as long as there is a process with the number that stands in it.
async fn end_rest(group: Option<u32>) {
    let Some(group) = group.and_then(|group| i32::try_from(group).ok()) else {
        return;
    };
    // Mostly there is nothing left.
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    let started = Instant::now();
    while started.elapsed() < ORPHAN_GRACE {
        match waitpid(Pid::from_raw(-group), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => sleep(Duration::from_millis(10)).await,
            Ok(_) => {}
            // There are no more.
            Err(_) => return,
        }
    }
}

fn died(program: &Program, status: std::io::Result<ExitStatus>) -> String {
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    format!(
        "{} ended ({status}), see {}",
        program.name,
        program.log.display()
    )
}

async fn terminate(program: &Program, child: &mut Child) {
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else {
        return;
    };
    // It may have ended in this very moment, which is what we want.
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    if timeout(GRACE, child.wait()).await.is_err() {
        eprintln!(
            "{} ignores SIGTERM for {} s: killed",
            program.name,
            GRACE.as_secs()
        );
        if let Err(error) = child.kill().await {
            eprintln!("{} cannot be killed: {error}", program.name);
        }
    }
}

/// Waits for what the programs left behind, and kills it when it does not end by itself.
async fn end_orphans() -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return Ok(()),
            Err(error) => return Err(error).context("waiting for orphans"),
            Ok(WaitStatus::StillAlive) => {}
            Ok(_) => continue,
        }
        if started.elapsed() >= ORPHAN_GRACE {
            for pid in children()? {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The processes whose parent we are.
fn children() -> anyhow::Result<Vec<Pid>> {
    let own = std::process::id().to_string();
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process that ended meanwhile has no file any more.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // proc(5): the name stands in parentheses and may hold anything; then state, then parent.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent == Some(own.as_str()) {
            children.push(Pid::from_raw(pid));
        }
    }
    Ok(children)
}

fn write_pidfile(path: &Path, pid: u32) -> anyhow::Result<()> {
    let folder = path.parent().context("a pid file in a folder")?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(|| format!("writing to {}", folder.display()))?;
    writeln!(file, "{pid}")?;
    file.persist(path)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(())
}
