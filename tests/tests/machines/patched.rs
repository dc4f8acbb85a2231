//! A relay has the patched Dovecot, never one older than Debian's, and hibernates with no other.
//!
//! The packages are stand-ins (`patched/stand-ins.sh`), so that nothing has to be built and Debian has a newer version
//! when the test wants it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::machine::{Lan, Machine, PATIENCE, Playbooks, changes};
use testbed::package::{Compression, build};
use testbed::patched_dovecot;

use crate::people::{Person, deliver};

/// It vouches for itself, so that no authority is needed.
const DOMAIN: &str = "_one.test";
const ALICE: &str = "alice0000@_one.test";

const STAND_INS: &str = include_str!("patched/stand-ins.sh");
const STAND_INS_PLACE: &str = "/srv/stand-ins.sh";
/// What the role adds to the version of what it built.
const OURS: &str = "+chatmail1";

/// Installing packages, and making them, on a machine that is busy.
const PACKAGES: Duration = Duration::from_secs(900);

/// A thousand bursts take minutes on a machine that has nothing else to do.
const BURSTS: Duration = Duration::from_secs(3600);

const HIBERNATION: &str = "/etc/dovecot/chatmail-hibernation.conf";
const TIMER: &str = "chatmail-dovecot.timer";
const NIGHTLY: &str = "chatmail-dovecot.service";

/// What a machine has of the role's; apt forgets its lists of what is gone by itself.
const LEFT: &str = "find /etc /usr/local /var/lib /var/cache -path '/var/lib/apt/lists/*' -prune \
    -o -name '*chatmail-dovecot*' -print -o -name chatmail-hibernation.conf -print";

/// Packages of Debian's Dovecot that a relay has. From Debian 13 on the core does not go without Sieve.
fn packages(suite: &str) -> &'static [&'static str] {
    match suite {
        "bookworm" => &["dovecot-core", "dovecot-imapd", "dovecot-lmtpd"],
        _ => &[
            "dovecot-core",
            "dovecot-imapd",
            "dovecot-lmtpd",
            "dovecot-auth-lua",
            "dovecot-sieve",
        ],
    }
}

/// Runs a command that has packages to handle, and must not fail.
fn with_patience(machine: &Machine, command: &[&str]) -> anyhow::Result<String> {
    let done = machine.run_for(PACKAGES, command)?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Gets Debian's packages into a machine, for stand-ins; gives their version.
pub(crate) fn fetch_debians(machine: &Machine, suite: &str) -> anyhow::Result<String> {
    machine.write_file(STAND_INS_PLACE, STAND_INS.as_bytes(), 0o755)?;
    let version = with_patience(
        machine,
        &[&[STAND_INS_PLACE, "fetch"], packages(suite)].concat(),
    )?;
    Ok(version.trim().to_owned())
}

/// Has a folder of this machine hold what `package/dovecot/build` makes of a version of Debian's, and nothing else.
pub(crate) fn built_elsewhere(machine: &Machine, version: &str, into: &Path) -> anyhow::Result<()> {
    let ours = format!("{version}{OURS}");
    with_patience(machine, &[STAND_INS_PLACE, "make", &ours, "/srv/built"])?;
    for old in fs::read_dir(into)? {
        fs::remove_file(old?.path())?;
    }
    let files = machine.run_ok(&["ls", "/srv/built"])?;
    for file in files.lines() {
        let content = machine.read_file(&format!("/srv/built/{file}"))?;
        fs::write(into.join(file), content)?;
    }
    Ok(())
}

/// A machine, its operator, and versions of Dovecot.
struct Relay {
    lan: Lan,
    one: Machine,
    suite: &'static str,
    playbooks: Playbooks,
    package: TempDir,
    /// `dovecot_packages_folder`.
    folder: TempDir,
    /// Debian's newest version, in truth.
    debian: String,
}

impl Relay {
    fn boot(suite: &'static str) -> anyhow::Result<Self> {
        let lan = Lan::start()?;
        let one = lan.machine_with("one", lan.ip(11), suite)?;
        let package = tempfile::tempdir()?;
        build("", Compression::Fast, package.path())?;
        let debian = fetch_debians(&one, suite)?;
        let playbooks = Playbooks::new(&lan)?;
        Ok(Self {
            lan,
            one,
            suite,
            playbooks,
            package,
            folder: tempfile::tempdir()?,
            debian,
        })
    }

    fn plays(&self, tags: &str, settings: &Value) -> anyhow::Result<String> {
        let mut all = json!({ "base_upgrades": false, "dovecot_hibernate_after": 1, "chatmail_ini": {"max_load_1m": 0} });
        for (key, value) in settings.as_object().context("settings")? {
            all[key] = value.clone();
        }
        self.playbooks.set(&self.one, DOMAIN, all)?;
        let mut packages = fs::read_dir(self.package.path())?;
        let package = packages.next().context("a package")??.path();
        self.playbooks
            .play("playbook.yml", &package, &["--tags", tags])
    }

    /// Packages that were built on the operator's computer.
    fn built_elsewhere(&self) -> Value {
        json!({ "dovecot_patched": true, "dovecot_packages_folder": self.folder.path() })
    }

    /// A version of Debian's that is not there yet, the higher the later.
    fn later(&self, number: u32) -> String {
        format!("{}.{number}", self.debian)
    }

    /// Debian has this one from now on.
    fn debian_publishes(&self, version: &str) -> anyhow::Result<()> {
        with_patience(
            &self.one,
            &[STAND_INS_PLACE, "publish", version, self.suite],
        )
        .map(drop)
    }

    /// What `package/dovecot/build` makes of a version of Debian's, in a folder of the machine.
    fn is_built(&self, version: &str, folder: &str) -> anyhow::Result<()> {
        let ours = format!("{version}{OURS}");
        with_patience(&self.one, &[STAND_INS_PLACE, "make", &ours, folder]).map(drop)
    }

    /// The same, in the folder on the operator's computer.
    fn is_built_elsewhere(&self, version: &str) -> anyhow::Result<()> {
        built_elsewhere(&self.one, version, self.folder.path())
    }

    /// The same, where the machine keeps what it has built.
    fn is_built_here(&self, version: &str) -> anyhow::Result<()> {
        let program = "/usr/local/lib/chatmail-dovecot/build";
        let asked = [
            "env",
            "XDG_CACHE_HOME=/var/cache",
            program,
            "--version",
            version,
            "where",
        ];
        let folder = self.one.run_ok(&asked)?;
        self.is_built(version, folder.trim())
    }

    /// Whatever Debian has that is newer is installed, as any operator does it, or Debian's timer.
    fn upgrades(&self) -> anyhow::Result<()> {
        with_patience(&self.one, &["apt-get", "upgrade", "--yes", "--quiet"]).map(drop)
    }

    fn alice(&self) -> Person<'_> {
        Person {
            lan: &self.lan,
            machine: &self.one,
            address: ALICE,
            password: "alice's password",
        }
    }

    /// All packages have this version, and sessions hibernate if it is ours.
    fn has(&self, version: &str) -> anyhow::Result<()> {
        for package in packages(self.suite) {
            let show = ["dpkg-query", "--show", "--showformat=${Version}", package];
            let installed = self.one.run_ok(&show)?;
            ensure!(installed == version, "{package} {installed}, not {version}");
        }
        let ours = version.ends_with(OURS);
        let status = self.one.run(&["chatmail-dovecot", "status"])?;
        ensure!(status.status.success() == ours, "{status:?}");
        let included = self.one.run_ok(&["cat", HIBERNATION])?;
        let after = if ours { "1 s" } else { "0" };
        ensure!(
            included == format!("imap_hibernate_timeout = {after}\n"),
            "{included}"
        );
        self.hibernation_is(ours)?;
        ensure!(self.alice().logs_in()?);
        Ok(())
    }

    fn hibernation_is(&self, on: bool) -> anyhow::Result<()> {
        let after = self
            .one
            .run_ok(&["doveconf", "-h", "imap_hibernate_timeout"])?;
        ensure!((after.trim() != "0") == on, "{after}");
        Ok(())
    }

    fn tells_of(&self, unit: &str, state: &str) -> anyhow::Result<()> {
        let told = self.one.run(&["systemctl", "is-active", unit])?;
        let told = String::from_utf8_lossy(&told.stdout).trim().to_owned();
        ensure!(told == state, "{unit} is {told}, not {state}");
        Ok(())
    }

    /// A session gives its process up, and is told of a message all the same.
    fn a_session_hibernates(&self) -> anyhow::Result<()> {
        let counts = self.alice().hears_after(|| {
            self.one
                .wait_for("the session hibernates", PATIENCE, |one| {
                    Ok(!one.run(&["pgrep", "--exact", "imap"])?.status.success())
                })?;
            let delivered = deliver(&self.one, ALICE, 1000)?;
            ensure!(delivered.starts_with("250"), "{delivered}");
            Ok(())
        })?;
        ensure!(counts[1] == counts[0] + 1, "{counts:?} messages");
        Ok(())
    }
}

fn prebuilt(relay: &Relay) -> anyhow::Result<()> {
    let settings = relay.built_elsewhere();
    let mut shared = settings.clone();
    shared["suite_takeover"] = false.into();
    let refused = relay.plays("dovecot", &shared).err();
    let refused = format!(
        "{:#}",
        refused.context("the server's own Dovecot is replaced")?
    );
    ensure!(
        refused.contains("set dovecot_patched_for_all: true"),
        "{refused}"
    );
    let nothing = relay.plays("base,tls,suite,dovecot", &settings);
    let nothing = format!("{:#}", nothing.err().context("no packages are taken")?);
    ensure!(
        nothing.contains("package/dovecot/build makes them"),
        "{nothing}"
    );
    relay.is_built_elsewhere(&relay.debian)?;
    relay.plays("dovecot", &settings)?;
    relay.has(&format!("{}{OURS}", relay.debian))?;
    relay.a_session_hibernates()?;
    let again = relay.plays("dovecot", &settings)?;
    ensure!(
        changes(&again)? == [0],
        "a second run changes something: {again}"
    );
    relay.tells_of(TIMER, "inactive")?;

    let newer = relay.later(1);
    relay.debian_publishes(&newer)?;
    relay.upgrades()?;
    relay.has(&newer)?;
    // The operator has not built yet: Debian's stays, and the run goes on.
    let warned = relay.plays("dovecot", &settings)?;
    ensure!(
        warned.contains("WARNING: Debian has a newer Dovecot"),
        "{warned}"
    );
    relay.has(&newer)?;
    relay.is_built_elsewhere(&newer)?;
    relay.plays("dovecot_build", &settings)?;
    relay.has(&format!("{newer}{OURS}"))
}

fn built_on_the_machine(relay: &Relay) -> anyhow::Result<()> {
    let settings = json!({ "dovecot_patched": true });
    // What Debian has now is installed with the patch: there is nothing to build.
    relay.plays("dovecot_build", &settings)?;
    relay.has(&format!("{}{OURS}", relay.later(1)))?;
    relay.tells_of(TIMER, "active")?;

    // No source can be had: the night's build fails, and the upgrades after it install Debian's.
    let newer = relay.later(2);
    relay.debian_publishes(&newer)?;
    let failed = relay
        .one
        .run_for(PACKAGES, &["systemctl", "start", NIGHTLY])?;
    ensure!(
        !failed.status.success(),
        "there was nothing to build it from"
    );
    relay.has(&format!("{}{OURS}", relay.later(1)))?;
    relay.upgrades()?;
    relay.has(&newer)?;
    // apt's hook has begun a build, which fails too.
    relay.one.wait_for("the build ends", PATIENCE, |one| {
        Ok(one.failed_units()?.contains(NIGHTLY))
    })?;
    let warned = relay.plays("dovecot_build", &settings)?;
    ensure!(
        warned.contains("WARNING: Dovecot could not be built"),
        "{warned}"
    );
    relay.has(&newer)?;

    relay.is_built_here(&newer)?;
    with_patience(&relay.one, &["systemctl", "start", NIGHTLY])?;
    relay.has(&format!("{newer}{OURS}"))?;
    ensure!(relay.one.failed_units()?.is_empty());
    relay.a_session_hibernates()
}

fn back_to_debians(relay: &Relay) -> anyhow::Result<()> {
    let settings = json!({ "dovecot_patched": false });
    let warned = relay.plays("dovecot", &settings)?;
    ensure!(
        warned.contains("WARNING: dovecot_patched is false"),
        "{warned}"
    );
    let again = relay.plays("dovecot", &settings)?;
    ensure!(
        changes(&again)? == [0],
        "a second run changes something: {again}"
    );
    relay.hibernation_is(false)?;
    let left = relay.one.run_ok(&["sh", "-c", LEFT])?;
    ensure!(left.is_empty(), "{left}");
    for unit in [TIMER, NIGHTLY] {
        relay.tells_of(unit, "inactive")?;
    }
    let newer = relay.later(3);
    relay.debian_publishes(&newer)?;
    relay.upgrades()?;
    let show = [
        "dpkg-query",
        "--show",
        "--showformat=${Version}",
        "dovecot-core",
    ];
    let installed = relay.one.run_ok(&show)?;
    ensure!(installed == newer, "{installed}, not {newer}");
    ensure!(relay.alice().logs_in()?);
    Ok(())
}

#[test]
fn packages_from_elsewhere_are_used_until_debian_has_newer_ones() -> anyhow::Result<()> {
    prebuilt(&Relay::boot("bookworm")?)
}

/// As the one before; then the machine builds for itself; then it goes back to Debian's.
fn a_relay_is_patched_and_never_behind(suite: &'static str) -> anyhow::Result<()> {
    let relay = Relay::boot(suite)?;
    prebuilt(&relay)?;
    built_on_the_machine(&relay)?;
    back_to_debians(&relay)
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn a_relay_on_debian_12_is_patched_and_never_behind() -> anyhow::Result<()> {
    a_relay_is_patched_and_never_behind("bookworm")
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn a_relay_on_debian_13_is_patched_and_never_behind() -> anyhow::Result<()> {
    a_relay_is_patched_and_never_behind("trixie")
}

/// As on this machine's Dovecot (`announcements.rs` of the relays' tests), with the real packages.
#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn debian_13s_patched_dovecot_announces_the_last_message_of_a_thousand_bursts() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    patched_dovecot::packages(Some("trixie"), folder.path())?;
    let lan = Lan::start()?;
    let one = lan.machine_with("one", lan.ip(11), "trixie")?;
    for package in fs::read_dir(folder.path())? {
        let path = package?.path();
        let name = path.file_name().context("a name")?.to_string_lossy();
        let wanted = packages("trixie")
            .iter()
            .any(|package| name.starts_with(&format!("{package}_")));
        if wanted {
            one.write_file(&format!("/srv/packages/{name}"), &fs::read(&path)?, 0o644)?;
        }
    }
    let install = "apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends /srv/packages/*.deb && \
                   systemctl stop dovecot.service dovecot.socket";
    with_patience(&one, &["sh", "-c", install])?;
    let bursts = fs::read(patched_dovecot::folder().join("bursts"))?;
    one.write_file("/srv/bursts", &bursts, 0o755)?;
    let announced = one.run_for(
        BURSTS,
        &["/srv/bursts", "--bursts=1000", "--hibernations=1000"],
    )?;
    // What it found is printed.
    eprintln!("{}", String::from_utf8_lossy(&announced.stdout));
    ensure!(
        announced.status.success(),
        "{}",
        String::from_utf8_lossy(&announced.stderr)
    );
    Ok(())
}
