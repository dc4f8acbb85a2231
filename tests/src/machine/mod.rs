//! Whole Debian machines for tests: systemd as PID 1, a disk that outlives a reboot, an address, and a LAN.
//!
//! They are namespaces of this machine, made by `tests/machines/machine` (its first lines say how, and
//! `tests/machines/machine help` prints them). What a test sees is what an operator has: a bare Debian with an SSH
//! server, `apt-get install`, units, timers and a journal.
//!
//! ```no_run
//! use testbed::dns::Data;
//! use testbed::machine::Lan;
//!
//! # fn example() -> anyhow::Result<()> {
//! let lan = Lan::start()?;
//! let one = lan.machine("one", lan.ip(11))?;
//! let two = lan.machine("two", lan.ip(12))?;
//! lan.dns().set("example.test", 60, &[Data::Mx(10, one.host_name())])?;
//! one.run_ok(&["ping", "-c", "1", &two.host_name()])?;
//! one.reboot()?;
//! let login = lan.command("ssh").arg("two").output()?;
//! # Ok(())
//! # }
//! ```
//!
//! Each [`Lan`] is a network of its own, always with the same addresses, so any number of them run side by side. No
//! packet leaves it, but for a proxy by which its machines fetch Debian packages from this machine's apt sources.
//! The image and those packages are kept in `~/.cache/chatmail-testbed/machines`: the first machine ever takes a
//! minute or two and the network, further ones a few seconds. [`Lan::machine_with`] takes another Debian, and so do all
//! machines with `MACHINES_SUITE=trixie`.
//!
//! # What it takes
//! Root, Linux 5.14 or later with overlayfs, cgroup2 (mounted anywhere) and network namespaces, the Debian packages
//! [`crate::host::packages::FOR_MACHINES`], apt sources with Debian in them, and a `TMPDIR` that is no overlayfs
//! itself. That is a virtual machine or a real one; a container would have to be a privileged one.
//!
//! # What is not as on a real machine
//! Kernel, clock and the limits of inotify are this machine's, and there are no block devices. After
//! [`Machine::power_off_hard`] files hold what was written, synced or not: the page cache is this machine's and it
//! has not lost power. So such a test shows what processes lose when they are killed, not what a disk loses.
//!
//! # When a test is killed
//! A process beside each LAN waits for the end of its test's process, and destroys the machines. Should that be
//! killed as well, whoever starts the next LAN does it. A machine is mounted in namespaces of its own only, so nothing
//! is left mounted however it ends.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

mod lan;
mod playbooks;
mod script;

pub use lan::Lan;
pub use playbooks::{Playbooks, changes};

use crate::authority::Authority;
use script::Script;

/// The domain of the machines' host names.
pub const DOMAIN: &str = "test";

/// How long a command in a machine may take unless it is said: it may be installing packages.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long a boot may take, the shutdown before it, and with the very first one the making of the image.
const BOOT: Duration = Duration::from_secs(900);

/// Between two looks at something that changes.
const PAUSE: Duration = Duration::from_millis(50);

/// A machine of a [`Lan`], which ends with it. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Machine {
    script: Arc<Script>,
    name: String,
    address: Ipv4Addr,
    address6: Option<Ipv6Addr>,
    suite: Option<&'static str>,
}

impl Machine {
    /// Its name, as `one`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name in the DNS, as `one.test`.
    pub fn host_name(&self) -> String {
        format!("{}.{DOMAIN}", self.name)
    }

    /// Its IPv4 address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its IPv6 address, when this machine has IPv6.
    pub fn address6(&self) -> Option<Ipv6Addr> {
        self.address6
    }

    /// Runs a command as root, as after a login, for [`PATIENCE`] at most.
    ///
    /// # Errors
    /// The machine is down, or the command did not end in time. That it failed is told by the output.
    pub fn run(&self, command: &[&str]) -> anyhow::Result<Output> {
        self.run_for(PATIENCE, command)
    }

    /// As [`Machine::run`], with another patience.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_for(&self, patience: Duration, command: &[&str]) -> anyhow::Result<Output> {
        self.exec(patience, command, b"")
    }

    /// Runs a command that must not fail, and returns what it wrote to its standard output.
    ///
    /// # Errors
    /// As [`Machine::run`]; or it failed, and the message has its last words.
    pub fn run_ok(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = self.run(command)?;
        self.successful(command, output)
    }

    /// Writes a file, and makes its folder if need be. `mode` is as for chmod.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_file(&self, path: &str, content: &[u8], mode: u32) -> anyhow::Result<()> {
        let mode = format!("--mode={mode:o}");
        let command = ["install", "-D", &mode, "/dev/stdin", path];
        let output = self.exec(PATIENCE, &command, content)?;
        self.successful(&command, output)?;
        Ok(())
    }

    /// What a file holds.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_file(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let command = ["cat", "--", path];
        let output = self.run(&command)?;
        let content = output.stdout.clone();
        self.successful(&command, output)?;
        Ok(content)
    }

    /// Has programs that go by Debian's list of authorities trust this one too.
    ///
    /// # Errors
    /// The certificate cannot be installed.
    pub fn trust(&self, authority: &Authority) -> anyhow::Result<()> {
        let file = authority.file();
        let certificate =
            std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let path = "/usr/local/share/ca-certificates/testbed.crt";
        self.write_file(path, &certificate, 0o644)?;
        self.run_ok(&["update-ca-certificates"])?;
        Ok(())
    }

    /// Boots the machine after [`Machine::power_off`], and waits until its units have started.
    ///
    /// # Errors
    /// It runs already, or does not come up.
    pub fn boot(&self) -> anyhow::Result<()> {
        let mut addresses = self.address.to_string();
        if let Some(address) = self.address6 {
            addresses.push_str(&format!(",{address}"));
        }
        let up = ["up", &self.name, &addresses];
        self.control(&[&up[..], self.suite.as_slice()].concat())
    }

    /// Shuts the machine down and boots it again, and waits until its units have started.
    ///
    /// # Errors
    /// It does not shut down, or does not come up again.
    pub fn reboot(&self) -> anyhow::Result<()> {
        self.control(&["reboot", &self.name])
    }

    /// Shuts the machine down.
    ///
    /// # Errors
    /// It cannot even be killed.
    pub fn power_off(&self) -> anyhow::Result<()> {
        self.control(&["down", &self.name])
    }

    /// Ends all processes of the machine at once, as a loss of power does; for its disk, see the module's page.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn power_off_hard(&self) -> anyhow::Result<()> {
        self.control(&["down", &self.name, "now"])
    }

    /// Which boot this is: another one each time.
    ///
    /// # Errors
    /// As [`Machine::run_ok`].
    pub fn boot_id(&self) -> anyhow::Result<String> {
        self.run_ok(&["cat", "/proc/sys/kernel/random/boot_id"])
    }

    /// The units that have failed; empty on a machine that is well.
    ///
    /// # Errors
    /// As [`Machine::run_ok`].
    pub fn failed_units(&self) -> anyhow::Result<String> {
        self.run_ok(&["systemctl", "--failed", "--no-legend", "--plain"])
    }

    /// The journal of this boot.
    ///
    /// # Errors
    /// As [`Machine::run_ok`].
    pub fn journal(&self) -> anyhow::Result<String> {
        self.run_ok(&["journalctl", "--boot", "--no-pager", "--output=short-iso"])
    }

    /// Waits until `holds` says so. `what` is for the message when it does not in time.
    ///
    /// # Errors
    /// It does not hold within `patience`, or asking failed.
    pub fn wait_for(
        &self,
        what: impl fmt::Display,
        patience: Duration,
        mut holds: impl FnMut(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while !holds(self)? {
            ensure!(
                Instant::now() < deadline,
                "{}: not within {} seconds: {what}",
                self.name,
                patience.as_secs()
            );
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn exec(&self, patience: Duration, command: &[&str], input: &[u8]) -> anyhow::Result<Output> {
        let arguments = [&["exec", &self.name, "--"], command].concat();
        self.script.run(patience, &arguments, input)
    }

    fn control(&self, arguments: &[&str]) -> anyhow::Result<()> {
        self.script.run_ok(BOOT, arguments)?;
        Ok(())
    }

    fn successful(&self, command: &[&str], output: Output) -> anyhow::Result<String> {
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        bail!(
            "{}: `{}` failed ({}): {}",
            self.name,
            command.join(" "),
            output.status,
            script::last_words(&output)
        )
    }
}
