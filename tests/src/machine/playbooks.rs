//! Whoever runs the playbooks for the machines of a [`Lan`]: an operator, at this machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Lan, Machine};
use crate::ansible::Ansible;

/// The playbooks, and an inventory of the machines that were up when it was made.
pub struct Playbooks {
    ansible: Ansible,
    folder: TempDir,
    common: Map<String, Value>,
}

impl Playbooks {
    /// For the machines that are up.
    ///
    /// # Errors
    /// Ansible cannot be installed, or files cannot be written.
    pub fn new(lan: &Lan) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(inventory(&folder), lan.inventory()?)?;
        fs::create_dir(folder.path().join("host_vars"))?;
        // What differs from an operator's settings because the LAN is the world.
        let common = json!({
            // Building it takes minutes: for tests that are about it.
            "dovecot_patched": false,
            "dns_forwarders": [lan.dns().server.ip()],
            "dns_validate": false,
            // unbound answers for this domain by itself unless it is told.
            "dns_resolver_lines": [format!("local-zone: \"{}.\" nodefault", super::DOMAIN)],
            "check_dns_servers": [lan.dns().server.ip()],
        });
        Ok(Self {
            ansible: Ansible::installed()?,
            folder,
            common: common.as_object().cloned().unwrap_or_default(),
        })
    }

    /// Makes a machine one for this mail domain, with these settings.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, machine: &Machine, mail_domain: &str, settings: Value) -> anyhow::Result<()> {
        let mut all = self.common.clone();
        all.insert("mail_domain".to_owned(), mail_domain.into());
        // It is one of those that the LAN's DNS knows.
        all.insert("dns_test_name".to_owned(), mail_domain.into());
        all.extend(settings.as_object().cloned().context("no settings")?);
        // These come before the playbook's own settings; what stands at a group of the inventory would not.
        let name = format!("host_vars/{}.json", machine.name());
        let path = self.folder.path().join(name);
        fs::write(path, serde_json::to_vec_pretty(&all)?)?;
        Ok(())
    }

    /// Gives all machines of the inventory these settings; those of [`set`](Self::set) come before them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_for_all(&self, settings: &Value) -> anyhow::Result<()> {
        let folder = self.folder.path().join("group_vars");
        fs::create_dir_all(&folder)?;
        fs::write(
            folder.join("machines.json"),
            serde_json::to_vec_pretty(settings)?,
        )?;
        Ok(())
    }

    /// Runs a playbook for all of them with this package, and gives what it printed.
    ///
    /// # Errors
    /// It failed; the message has what it said.
    pub fn play(
        &self,
        playbook: &str,
        package: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<String> {
        let package = format!("suite_package={}", package.display());
        let arguments = [&["-e", &package], arguments].concat();
        self.ansible
            .play(playbook, &inventory(&self.folder), arguments)
    }
}

fn inventory(folder: &TempDir) -> PathBuf {
    folder.path().join("inventory.ini")
}

/// How many tasks of a run changed something, for each machine in the order of their names.
///
/// # Errors
/// That is not what a run prints.
pub fn changes(said: &str) -> anyhow::Result<Vec<u32>> {
    let recap = said.split("PLAY RECAP").last().context("no recap")?;
    let counts = recap.split("changed=").skip(1).map(|rest| {
        let digits = rest.split_whitespace().next().context("a count")?;
        Ok(digits.parse()?)
    });
    counts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_each_machine() {
        let said = "TASK [x]\nchanged=9\nPLAY RECAP ***\none : ok=3 changed=0 failed=0\ntwo : ok=3 changed=12 x=1\n";
        assert_eq!(changes(said).unwrap(), [0, 12]);
    }
}
