//! Runs of machines do not see each other, and nothing is left of one whose test was killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::machine::Lan;

/// How long a guard may take to notice a death, and to destroy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The owner of a run that is about to be killed.
struct Owner(Child);

impl Owner {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(Command::new("sleep").arg("3600").spawn()?))
    }

    fn machine(&self, run: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("machines/machine");
        let output = Command::new(script)
            .args(arguments)
            .env("MACHINES_RUN", run)
            .env("MACHINES_OWNER", self.0.id().to_string())
            .output()?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Mostly it was killed already. Its guard does the rest.
        let _ = self.kill();
    }
}

/// A name that no other run of tests has at the same time.
fn run_name(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// The folder of a run, and the file of its LAN's namespace.
fn places(lan: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (folder, namespace) = lan.trim_end().split_once('\n').context("two lines")?;
    Ok((folder.into(), namespace.into()))
}

/// The process that a file of a run names.
fn process(file: &Path) -> anyhow::Result<Pid> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let pid = text.split(' ').next().context("a process id")?;
    Ok(Pid::from_raw(pid.parse()?))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        ensure!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn two_runs_have_the_same_addresses_and_do_not_meet() -> anyhow::Result<()> {
    let (first, second) = (Lan::start()?, Lan::start()?);
    let here = first.machine("one", first.ip(11))?;
    let there = second.machine("one", second.ip(11))?;
    second.machine("two", second.ip(12))?;
    for (machine, word) in [(&here, "here"), (&there, "there")] {
        machine.write_file("/srv/where", word.as_bytes(), 0o644)?;
    }
    assert_eq!(here.read_file("/srv/where")?, b"here");
    assert!(
        !here
            .run(&["ping", "-c", "1", "-W", "5", "10.77.0.12"])?
            .status
            .success()
    );
    assert!(
        there
            .run(&["ping", "-c", "1", "-W", "30", "10.77.0.12"])?
            .status
            .success()
    );
    drop(first);
    assert_eq!(there.read_file("/srv/where")?, b"there");
    there.reboot()
}

#[test]
fn a_run_ends_with_its_owner() -> anyhow::Result<()> {
    let mut owner = Owner::new()?;
    let run = run_name("killed");
    let (folder, namespace) = places(&owner.machine(&run, &["lan"])?)?;
    owner.machine(&run, &["up", "one", "10.77.0.11"])?;
    let processes = ["machines/one/pid", "machines/one/supervisor", "lan/proxy"]
        .map(|file| process(&folder.join(file)));
    owner.kill()?;
    wait_until("the run is destroyed", || !folder.exists())?;
    assert!(!namespace.exists());
    for pid in processes {
        let pid = pid?;
        wait_until("its processes end", || kill(pid, None).is_err())?;
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    assert!(!mounts.contains(&run), "{mounts}");
    Ok(())
}

#[test]
fn a_machine_can_be_destroyed_while_it_reboots() -> anyhow::Result<()> {
    let owner = Owner::new()?;
    let run = run_name("reboots");
    let (folder, namespace) = places(&owner.machine(&run, &["lan"])?)?;
    owner.machine(&run, &["up", "one", "10.77.0.11"])?;
    owner.machine(&run, &["exec", "one", "systemctl", "--no-block", "reboot"])?;
    let first = process(&folder.join("machines/one/pid"))?;
    wait_until("it shuts down", || kill(first, None).is_err())?;
    owner.machine(&run, &["destroy"])?;
    assert!(!folder.exists() && !namespace.exists());
    Ok(())
}

#[test]
fn the_next_run_destroys_one_whose_guard_was_killed_too() -> anyhow::Result<()> {
    let mut owner = Owner::new()?;
    let run = run_name("unguarded");
    let (folder, namespace) = places(&owner.machine(&run, &["lan"])?)?;
    let guard = folder.join("guard");
    wait_until("it has a guard", || guard.exists())?;
    kill(process(&guard)?, Signal::SIGKILL)?;
    owner.kill()?;
    assert!(folder.exists() && namespace.exists());

    let _next = Lan::start()?;
    assert!(!folder.exists() && !namespace.exists());
    Ok(())
}
