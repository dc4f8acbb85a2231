//! Whoever runs the playbooks, from this machine.

use std::path::PathBuf;

use tempfile::TempDir;
use testbed::ansible::Ansible;
use testbed::machine::Lan;
use testbed::package::{Compression, build};

/// The playbooks, for the machines of a LAN.
pub(crate) struct Operator {
    ansible: Ansible,
    folder: TempDir,
    inventory: PathBuf,
}

impl Operator {
    /// For the machines that are up, with a package made of what is built; the relay has this domain.
    pub(crate) fn new(lan: &Lan, domain: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let package = build("", Compression::Fast, folder.path())?;
        let inventory = folder.path().join("inventory.ini");
        // Given on the command line, since group_vars/all.yml comes before an inventory's groups. unbound answers for
        // the domain `test` by itself unless it is told.
        let settings = format!(
            "mail_domain: {domain}\nsuite_package: {}\nbase_upgrades: false\ndns_validate: false\n\
             dns_forwarders: ['{}']\ndns_test_name: {domain}\n\
             dns_resolver_lines: ['local-zone: \"test.\" nodefault']\n",
            package.display(),
            lan.ip(1)
        );
        std::fs::write(folder.path().join("settings.yml"), settings)?;
        std::fs::write(&inventory, lan.inventory()?)?;
        Ok(Self {
            ansible: Ansible::installed()?,
            folder,
            inventory,
        })
    }

    /// Runs a playbook, and gives what it printed.
    ///
    /// # Errors
    /// It failed; the message has what it said.
    pub(crate) fn plays(&self, playbook: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let settings = format!("@{}", self.folder.path().join("settings.yml").display());
        let arguments = [&["-e", &settings], arguments].concat();
        self.ansible.play(playbook, &self.inventory, arguments)
    }
}

/// How many tasks changed something on the last machine of a recap.
pub(crate) fn changes(said: &str) -> Option<&str> {
    let recap = said.lines().rev().find(|line| line.contains("changed="))?;
    let (_, rest) = recap.split_once("changed=")?;
    rest.split_whitespace().next()
}
