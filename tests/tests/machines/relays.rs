//! Two relays that the playbook makes of bare machines, one of each Debian that it knows.

use std::fs;
use std::path::Path;

use anyhow::ensure;
use serde_json::{Value, json};
use testbed::authority::Certificate;
use testbed::dns::Data;
use testbed::machine::{Lan, Machine, Playbooks};

/// A relay with a name that an authority vouches for, and one that vouches for itself; the releases of Debian that
/// they are on.
pub(crate) const NAMED: &str = "one.test";
pub(crate) const UNDERSCORE: &str = "_two.test";
pub(crate) const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// Two machines, and how the playbook gets to them.
pub(crate) struct Relays {
    pub(crate) lan: Lan,
    pub(crate) one: Machine,
    pub(crate) two: Machine,
    playbooks: Playbooks,
}

impl Relays {
    /// Boots both, with these settings on top of what the LAN asks for.
    pub(crate) fn boot(further: &Value) -> anyhow::Result<Self> {
        let lan = Lan::start()?;
        let one = lan.machine_with("one", lan.ip(11), SUITES[0])?;
        let two = lan.machine_with("two", lan.ip(12), SUITES[1])?;
        lan.dns().change(|zone| {
            zone.set(NAMED, 60, &[Data::A(one.address())])?;
            zone.set(UNDERSCORE, 60, &[Data::A(two.address())])
        })?;
        let this = Self {
            playbooks: Playbooks::new(&lan)?,
            lan,
            one,
            two,
        };
        this.certify()?;
        this.settle(further)?;
        Ok(this)
    }

    /// As on a server whose certificate something else renews.
    fn certify(&self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let (chain, key) = (folder.path().join("chain"), folder.path().join("key"));
        let authority = self.lan.authority();
        authority.write(Certificate::Right, vec![NAMED.to_owned()], &chain, &key)?;
        self.one
            .write_file("/etc/ssl/relay.pem", &fs::read(chain)?, 0o644)?;
        self.one
            .write_file("/etc/ssl/relay.key", &fs::read(key)?, 0o600)?;
        for machine in [&self.one, &self.two] {
            machine.trust(authority)?;
        }
        Ok(())
    }

    /// Settings of both, of which the LAN is not the reason.
    fn settle(&self, further: &Value) -> anyhow::Result<()> {
        // Both are on a machine that is busy with more than tests.
        let ini = json!({ "max_load_1m": 0, "notification_url": "" });
        let mut named = ini.clone();
        named["tls_external_cert_and_key"] = "/etc/ssl/relay.pem /etc/ssl/relay.key".into();
        for (machine, domain, ini) in [(&self.one, NAMED, named), (&self.two, UNDERSCORE, ini)] {
            let mut settings = further.clone();
            settings["chatmail_ini"] = ini;
            self.playbooks.set(machine, domain, settings)?;
        }
        Ok(())
    }

    /// Runs the playbook for both, and gives what it printed.
    pub(crate) fn play(&self, package: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        self.playbooks.play("playbook.yml", package, arguments)
    }

    /// The error with the last of what the machines' mail servers said.
    pub(crate) fn told(&self, error: anyhow::Error) -> anyhow::Error {
        let mut error = format!("{error:#}");
        for machine in [&self.one, &self.two] {
            let names = "postfix dovecot doveauth filtermail mxdeliv-bridge expiry-cron";
            let journal = ["journalctl", "--no-pager", "--lines=300"].into_iter();
            let journal = journal.chain(names.split(' ').flat_map(|name| ["-t", name]));
            let said = machine.run_ok(&journal.collect::<Vec<_>>());
            let units = ["postfix.service", "postfix@-.service", "dovecot.service"];
            let status = ["systemctl", "status", "--no-pager", "--lines=20"].into_iter();
            let status = machine.run(&status.chain(units).collect::<Vec<_>>());
            error = format!(
                "{error}\n--- {}\n{}\n{}",
                machine.name(),
                said.unwrap_or_default(),
                status.map_or_else(
                    |error| error.to_string(),
                    |status| String::from_utf8_lossy(&status.stdout).into_owned()
                )
            );
        }
        anyhow::anyhow!(error)
    }

    /// Publishes what the relays say of their keys.
    pub(crate) fn publish(&self) -> anyhow::Result<()> {
        let zone = self.one.run_ok(&["cat", "/etc/chatmail/zone.txt"])?;
        let other = self.two.run_ok(&["cat", "/etc/chatmail/zone.txt"])?;
        let records: Vec<_> = zone
            .lines()
            .chain(other.lines())
            .filter(|line| line.contains(" IN TXT "))
            .collect();
        ensure!(records.len() >= 6, "{zone}{other}");
        self.lan.dns().change(|zone| {
            for domain in [NAMED, UNDERSCORE] {
                zone.set(domain, 60, &[Data::Mx(10, domain.to_owned())])?;
            }
            let mut records = records.iter();
            records.try_for_each(|record| zone.set_line(record))
        })
    }
}

/// Mail from this machine to the domain went over HTTPS.
pub(crate) fn by_https(machine: &Machine, domain: &str) -> anyhow::Result<()> {
    let said = machine.run_ok(&["mxdeliv-bridge", "peers", "--json", domain])?;
    let rows = serde_json::Deserializer::from_str(&said).into_iter();
    let rows = rows.collect::<Result<Vec<Value>, _>>()?;
    let by_https = |row: &Value| row["path"]["transport"] == "mxdeliv";
    ensure!(!rows.is_empty() && rows.iter().all(by_https), "{said}");
    Ok(())
}
