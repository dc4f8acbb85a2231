//! Whoever runs the playbooks, from this machine.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use testbed::machine::{Lan, Machine, Playbooks};
use testbed::package::{Compression, build};

/// The playbooks, for the machines of a LAN.
pub(crate) struct Operator {
    playbooks: Playbooks,
    package: PathBuf,
    _folder: TempDir,
}

impl Operator {
    /// For these machines, which are up, with a package made of what is built; the relay has this domain.
    pub(crate) fn new(lan: &Lan, machines: &[&Machine], domain: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let playbooks = Playbooks::new(lan)?;
        for machine in machines {
            playbooks.set(machine, domain, json!({ "base_upgrades": false }))?;
        }
        Ok(Self {
            playbooks,
            package: build("", Compression::Fast, folder.path())?,
            _folder: folder,
        })
    }

    /// Runs a playbook, and gives what it printed.
    ///
    /// # Errors
    /// It failed; the message has what it said.
    pub(crate) fn plays(&self, playbook: &str, arguments: &[&str]) -> anyhow::Result<String> {
        self.playbooks.play(playbook, &self.package, arguments)
    }
}
