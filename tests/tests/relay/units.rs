//! The units that systemd runs our programs from, judged by systemd-analyze: no systemd runs for it.
//!
//! They are looked at where they will be, in the root of a file system that has Debian's own units,
//! ours, and a program at each path that ours name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use chatmail::Config;
use chatmail::config::Listen;
use testbed::binaries;

/// Debian's own units.
const STANDARD_UNITS: &str = "/lib/systemd/system";

/// The folder of units that an administrator installs.
const LOCAL_UNITS: &str = "etc/systemd/system";

/// The most that `systemd-analyze security` may find a service exposed, in tenths: 2.0 of 10.
const MOST_EXPOSED: &str = "--threshold=20";

/// When timers elapse next, after some times.
const TIMES: [(&str, [(&str, &str); 3]); 2] = [
    (
        "expiry-cron-report.timer",
        [
            ("2027-02-28 00:00:00", "2027-02-28 00:17:00"),
            ("2027-02-28 00:17:01", "2027-02-28 01:17:00"),
            ("2027-02-28 23:59:59", "2027-03-01 00:17:00"),
        ],
    ),
    (
        "expiry-cron.timer",
        [
            ("2027-02-28 00:00:00", "2027-02-28 00:02:00"),
            ("2027-02-28 00:02:01", "2027-03-01 00:02:00"),
            ("2027-02-28 23:59:59", "2027-03-01 00:02:00"),
        ],
    ),
];

/// A root with units in it.
struct Root {
    folder: tempfile::TempDir,
    units: BTreeSet<String>,
}

impl Root {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let standard = folder.path().join(STANDARD_UNITS.trim_start_matches('/'));
        let local = folder.path().join(LOCAL_UNITS);
        for path in [&standard, &local] {
            fs::create_dir_all(path)?;
        }
        // Links go where they would on a real system: to other units, which come too.
        let copied = Command::new("cp")
            .args(["--archive", "--no-target-directory", STANDARD_UNITS])
            .arg(&standard)
            .status()?;
        ensure!(copied.success(), "Debian's units cannot be copied");
        Ok(Self {
            folder,
            units: BTreeSet::new(),
        })
    }

    /// With the units of the workspace.
    fn with_ours() -> anyhow::Result<Self> {
        let mut root = Self::new()?;
        for package in fs::read_dir(binaries::workspace())? {
            let folder = package?.path().join("systemd");
            for unit in fs::read_dir(folder).into_iter().flatten() {
                let path = unit?.path();
                let name = path.file_name().and_then(|name| name.to_str());
                root.install(name.context("a name")?, &fs::read_to_string(&path)?)?;
            }
        }
        ensure!(!root.units.is_empty(), "there are no units");
        Ok(root)
    }

    fn install(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        fs::write(self.path(name), text)?;
        self.units.insert(name.to_owned());
        for command in commands(text) {
            let (program, _) = command.context("a command without a program")?;
            let path = self.folder.path().join(program.trim_start_matches('/'));
            fs::create_dir_all(path.parent().context("a folder of programs")?)?;
            fs::write(&path, "")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    fn path(&self, unit: &str) -> PathBuf {
        self.folder.path().join(LOCAL_UNITS).join(unit)
    }

    fn text(&self, unit: &str) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.path(unit))?)
    }

    fn of_kind(&self, suffix: &str) -> impl Iterator<Item = &str> {
        let units = self.units.iter().map(String::as_str);
        units.filter(move |unit| unit.ends_with(suffix))
    }

    /// Nothing that systemd has to say of a unit.
    fn verify(&self, unit: &str) -> anyhow::Result<()> {
        let output = self.analyze(&["verify", "--man=no", unit])?;
        let said = text(&output.stderr);
        // It ends well when a setting is unknown and so has no effect.
        ensure!(output.status.success() && said.is_empty(), "{unit}: {said}");
        Ok(())
    }

    /// A service that is no more exposed than it may be.
    fn secure(&self, unit: &str) -> anyhow::Result<()> {
        let output = self.analyze(&["security", "--offline=true", MOST_EXPOSED, unit])?;
        ensure!(
            output.status.success(),
            "{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        Ok(())
    }

    fn analyze(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut root = std::ffi::OsString::from("--root=");
        root.push(self.folder.path());
        let mut command = systemd_analyze();
        Ok(command.arg(root).args(arguments).output()?)
    }
}

fn systemd_analyze() -> Command {
    let mut command = Command::new("systemd-analyze");
    command
        .arg("--no-pager")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The values of a setting, which has a line of its own in our units.
fn values<'a>(unit: &'a str, setting: &str) -> impl Iterator<Item = &'a str> {
    unit.lines()
        .filter_map(move |line| line.strip_prefix(setting)?.strip_prefix('='))
}

/// What a service runs: programs with their arguments.
fn commands(unit: &str) -> impl Iterator<Item = Option<(&str, Vec<&str>)>> {
    values(unit, "ExecStart").map(|command| {
        let mut words = command.split_whitespace();
        Some((words.next()?, words.collect()))
    })
}

#[test]
fn systemd_understands_all_of_our_units() -> anyhow::Result<()> {
    let root = Root::with_ours()?;
    for unit in &root.units {
        root.verify(unit)?;
    }
    Ok(())
}

#[test]
fn services_run_our_programs_as_these_understand_it() -> anyhow::Result<()> {
    let root = Root::with_ours()?;
    for unit in root.of_kind(".service") {
        let service = root.text(unit)?;
        let commands: Option<Vec<_>> = commands(&service).collect();
        let commands = commands.filter(|commands| !commands.is_empty());
        for (program, arguments) in commands.with_context(|| format!("{unit} runs nothing"))? {
            let name = Path::new(program)
                .file_name()
                .and_then(|name| name.to_str());
            let binary = binaries::release(name.context("a name")?)?;
            // What comes before it is understood first.
            let output = Command::new(binary)
                .args(&arguments)
                .arg("--help")
                .stdin(Stdio::null())
                .output()?;
            let said = text(&output.stderr);
            ensure!(output.status.success(), "{unit}: {arguments:?}: {said}");
        }
    }
    Ok(())
}

#[test]
fn services_are_hardly_exposed() -> anyhow::Result<()> {
    let root = Root::with_ours()?;
    for unit in root.of_kind(".service") {
        root.secure(unit)?;
    }
    Ok(())
}

#[test]
fn timers_elapse_when_they_should_and_have_a_service() -> anyhow::Result<()> {
    let root = Root::with_ours()?;
    let timers: Vec<_> = root.of_kind(".timer").collect();
    ensure!(timers == TIMES.map(|(timer, _)| timer), "{timers:?}");
    for (timer, times) in TIMES {
        let service = timer.replace(".timer", ".service");
        ensure!(root.units.contains(&service), "{timer} without a service");
        let unit = root.text(timer)?;
        let when: Vec<_> = values(&unit, "OnCalendar").collect();
        let [when] = when.as_slice() else {
            anyhow::bail!("{timer} elapses at {when:?}");
        };
        for (after, next) in times {
            let output = systemd_analyze()
                .args(["calendar", "--base-time", after, when])
                .output()?;
            let said = text(&output.stdout);
            let found = said.contains(&format!("{next} UTC"));
            ensure!(found, "{timer} after {after}: {said}");
        }
    }
    Ok(())
}

/// A daemon whose sockets systemd keeps, and does not start without a configuration.
#[test]
fn sockets_and_services_belong_together() -> anyhow::Result<()> {
    const CONDITION: &str = "/etc/chatmail/chatmail.ini";
    let root = Root::with_ours()?;
    let sockets: BTreeSet<_> = root.of_kind(".socket").collect();
    let mut named = BTreeSet::new();
    for unit in root.of_kind(".service") {
        let service = root.text(unit)?;
        let condition: Vec<_> = values(&service, "ConditionPathExists").collect();
        ensure!(condition == [CONDITION], "{unit} starts without it");
        let lists = ["Sockets", "Requires", "After"].map(|setting| {
            let names = values(&service, setting).flat_map(str::split_whitespace);
            names.collect::<BTreeSet<_>>()
        });
        let [own, required, before] = &lists;
        ensure!(own == required, "{unit} runs without its sockets");
        ensure!(own.is_subset(before), "{unit} starts before its sockets");
        for socket in own {
            let text = root.text(socket)?;
            let starts = values(&text, "Service").next();
            let starts = starts.unwrap_or(socket.trim_end_matches(".socket"));
            let starts = starts.trim_end_matches(".service");
            ensure!(starts == unit.trim_end_matches(".service"), "{socket}");
            let condition: Vec<_> = values(&text, "ConditionPathExists").collect();
            ensure!(condition == [CONDITION], "{socket} starts without it");
            named.insert((*socket).to_owned());
        }
    }
    ensure!(
        sockets.iter().copied().eq(named.iter().map(String::as_str)),
        "sockets of nobody among {sockets:?}"
    );
    Ok(())
}

/// The paths at which systemd listens are those that the daemons expect unless told otherwise.
#[test]
fn sockets_are_where_the_daemons_look_for_them() -> anyhow::Result<()> {
    let (config, _) = Config::parse("[params]\nmail_domain = chat.test\n", Path::new("x"))?;
    let unix = |listen: &Listen| match listen {
        Listen::Unix(path) => Some(path.clone()),
        Listen::Tcp(_) => None,
    };
    let expected: BTreeSet<_> = [
        unix(&config.filtermail_listen),
        unix(&config.filtermail_incoming_listen),
        unix(&config.filtermail_bounce_listen),
        unix(&config.mxdeliv_listen),
        Some(config.doveauth_socket),
        Some(config.lastlogin_socket),
        Some(config.metadata_socket),
        Some(config.policy_socket),
        Some(config.blocks_socket),
        Some(config.mxdeliv_lmtp_socket),
        Some(config.mxdeliv_return_socket),
        Some(config.mxdeliv_route_socket),
        Some(config.mxdeliv_admin_socket),
    ]
    .into_iter()
    .flatten()
    .collect();
    let root = Root::with_ours()?;
    let mut found = BTreeSet::new();
    for unit in root.of_kind(".socket") {
        let text = root.text(unit)?;
        found.extend(values(&text, "ListenStream").map(PathBuf::from));
    }
    assert_eq!(found, expected);
    Ok(())
}

/// What the others rest on.
#[test]
fn units_with_mistakes_and_without_a_sandbox_are_found() -> anyhow::Result<()> {
    let mut root = Root::new()?;
    let service = "[Service]\nExecStart=/usr/bin/something\n";
    root.install("good.service", service)?;
    root.verify("good.service")?;
    for (mistake, complaint) in [
        ("ProtectHom=yes\n", "Unknown key"),
        ("ProtectHome=perhaps\n", "Failed to parse"),
        ("SystemCallFilter=@nonsense\n", "Unknown system call group"),
        (
            "[Unit]\nRequires=nothing.service\n",
            "nothing.service not found",
        ),
    ] {
        root.install("bad.service", &format!("{service}{mistake}"))?;
        let error = root.verify("bad.service").err().context("no complaint")?;
        ensure!(error.to_string().contains(complaint), "{mistake}: {error}");
    }
    fs::remove_file(root.folder.path().join("usr/bin/something"))?;
    let error = root.verify("good.service").err().context("no complaint")?;
    ensure!(error.to_string().contains("not executable"), "{error}");

    let error = root.secure("good.service").err().context("not exposed")?;
    let error = error.to_string();
    ensure!(error.contains("Overall exposure level"), "{error}");
    Ok(())
}
