//! The playbook: how long it takes to make a relay of a bare machine, how long it takes when there is nothing to do,
//! and how much memory our daemons have while nobody uses the relay.
//!
//! The machine shares this one's processors with Ansible. Packages come from a warm cache.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::process_memory::bytes;
use super::stats::Sample;
use super::{Figure, Goal, Report};
use crate::dns::Data;
use crate::machine::{Lan, Machine, Playbooks, changes};
use crate::package::{Compression, build};

/// It vouches for itself: an authority's certificate takes that authority's time.
const DOMAIN: &str = "_relay.test";

/// Runs that change nothing.
const AGAIN: usize = 3;

/// Before memory is looked at.
const IDLE: Duration = Duration::from_secs(30);

/// Our daemons.
const DAEMONS: [&str; 3] = ["filtermail", "doveauth", "mxdeliv-bridge"];

/// Measures.
pub(super) fn run(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let package = build("", Compression::Fast, folder.path())?;
    // The first machine's packages come from afar.
    Relay::boot()?.play(&package)?;

    let relay = Relay::boot()?;
    let (bare, _) = relay.play(&package)?;
    let mut again = Vec::new();
    for _ in 0..AGAIN {
        let (taken, said) = relay.play(&package)?;
        ensure!(changes(&said)? == [0], "it changes something: {said}");
        again.push(taken);
    }
    std::thread::sleep(IDLE);
    let memory = relay.memory()?;
    let again = Sample::milliseconds(again).median() / 1000.0;
    let figure = |name: &str, value, unit, goal| {
        Figure::new(format!("provision/{name}"), value, unit, None, goal)
    };
    report.figures([
        figure("bare-machine", bare.as_secs_f64(), "s", Goal::Below(240.0)),
        figure("nothing-to-do", again, "s", Goal::Below(20.0)),
        figure("idle-daemons", memory, "MiB", Goal::Below(40.0)),
    ]);
    Ok(())
}

struct Relay {
    playbooks: Playbooks,
    machine: Machine,
    _lan: Lan,
}

impl Relay {
    /// A bare machine that is to become one.
    fn boot() -> anyhow::Result<Self> {
        let lan = Lan::start()?;
        let machine = lan.machine("relay", lan.ip(11))?;
        lan.dns().set(DOMAIN, 60, &[Data::A(machine.address())])?;
        let playbooks = Playbooks::new(&lan)?;
        // Others may keep this machine busy meanwhile.
        let settings = json!({ "chatmail_ini": { "max_load_1m": 0 } });
        playbooks.set(&machine, DOMAIN, settings)?;
        Ok(Self {
            playbooks,
            machine,
            _lan: lan,
        })
    }

    /// Runs the playbook, and gives how long it took and what it printed.
    fn play(&self, package: &Path) -> anyhow::Result<(Duration, String)> {
        let begun = Instant::now();
        let said = self.playbooks.play("playbook.yml", package, &[])?;
        Ok((begun.elapsed(), said))
    }

    /// Mebibytes of our daemons; what they share counts once (PSS).
    fn memory(&self) -> anyhow::Result<f64> {
        let mut used = 0;
        for daemon in DAEMONS {
            let show = ["systemctl", "show", "--property=MainPID", "--value", daemon];
            let pid = self.machine.run_ok(&show)?;
            let file = format!("/proc/{}/smaps_rollup", pid.trim());
            let rollup = self.machine.run_ok(&["cat", &file])?;
            used += bytes(&rollup, "Pss:").with_context(|| format!("{file} has no PSS"))?;
        }
        Ok(used as f64 / f64::from(1 << 20))
    }
}
