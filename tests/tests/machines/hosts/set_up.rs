//! Five bare machines, what the playbook is told of them, and a database as an operator would set it up.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tempfile::TempDir;
use testbed::authority::Certificate;
use testbed::dns::Data;
use testbed::machine::{Lan, Machine, Playbooks};
use testbed::package::{Compression, build};

/// The domain of the relay's addresses.
pub(super) const DOMAIN: &str = "chat.test";

/// It has what means something in an URL, in chatmail.ini and in PostgreSQL's own password files.
pub(super) const DATABASE_PASSWORD: &str = "p:w/@%20 with \\ and # ; \"marks'";

/// How long it may take to have PostgreSQL.
const INSTALLATION: Duration = Duration::from_secs(600);

/// What backends make credentials of, and fronts check them with.
pub(super) const TURN_SECRET: &str = "all of them know it";

const DATABASE_URL: &str = "postgresql://chatmail@db.test/chatmail?sslmode=require";

/// As README.md of the playbook has it: the certificate is there, and the role's password is read from the input.
const DATABASE: &str = r#"set -eu
apt-get update --quiet >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends postgresql >/dev/null
cd /etc/postgresql/*/main
cat >conf.d/chatmail.conf <<END
listen_addresses = '*'
ssl_cert_file = '/etc/ssl/relay.pem'
ssl_key_file = '/etc/ssl/private/relay.key'
END
chown root:ssl-cert /etc/ssl/private/relay.key
echo 'hostssl chatmail chatmail 10.77.0.0/24 scram-sha-256' >>pg_hba.conf
systemctl restart postgresql
cd /
runuser -u postgres -- createuser chatmail
runuser -u postgres -- createdb --owner=chatmail chatmail
runuser -u postgres -- psql --quiet --set=ON_ERROR_STOP=1 --command="ALTER ROLE chatmail PASSWORD \$p\$$1\$p\$"
"#;

/// The machines, and how the playbook gets to them.
pub(super) struct Hosts {
    pub(super) lan: Lan,
    pub(super) fronts: [Machine; 2],
    pub(super) backends: [Machine; 2],
    database: Machine,
    playbooks: Playbooks,
    package: PathBuf,
    _folder: TempDir,
}

impl Hosts {
    /// Boots all of them.
    pub(super) fn boot() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let package = build("", Compression::Fast, folder.path())?;
        let lan = Lan::start()?;
        let database = lan.machine_with("db", lan.ip(31), "bookworm")?;
        certify(&lan, &database, &["db.test"])?;
        let boot = |name, last, suite| lan.machine_with(name, lan.ip(last), suite);
        let fronts = [
            boot("front1", 11, "bookworm")?,
            boot("front2", 12, "trixie")?,
        ];
        let backends = [boot("back1", 21, "bookworm")?, boot("back2", 22, "trixie")?];
        set_up_database(&database)?;
        lan.dns().change(|zone| {
            let addresses = fronts.each_ref().map(|front| Data::A(front.address()));
            let exchangers = fronts
                .each_ref()
                .map(|front| Data::Mx(10, front.host_name()));
            zone.set(DOMAIN, 60, &addresses)?;
            zone.set(DOMAIN, 60, &exchangers)
        })?;
        let this = Self {
            playbooks: Playbooks::new(&lan)?,
            lan,
            fronts,
            backends,
            database,
            package,
            _folder: folder,
        };
        this.settle()?;
        Ok(this)
    }

    /// The fronts and backends.
    pub(super) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.fronts.iter().chain(&self.backends)
    }

    /// Runs the playbook for them, and gives what it printed.
    pub(super) fn play(&self, arguments: &[&str]) -> anyhow::Result<String> {
        // The inventory has all machines of the LAN.
        let arguments = [&["--limit", "!db"], arguments].concat();
        self.playbooks
            .play("playbook.yml", &self.package, &arguments)
    }

    /// Runs a statement in the database, and gives what it returns.
    pub(super) fn sql(&self, statement: &str) -> anyhow::Result<String> {
        let psql = ["runuser", "-u", "postgres", "--", "psql", "-qAt", "-c"];
        let said = self
            .database
            .run_ok(&[&psql[..], &[statement, "chatmail"]].concat())?;
        Ok(said.trim_end().to_owned())
    }

    /// Publishes what the fronts say of their keys.
    pub(super) fn publish(&self) -> anyhow::Result<()> {
        let zone = self.fronts[1].run_ok(&["cat", "/etc/chatmail/zone.txt"])?;
        for line in [
            "chat.test. 3600 IN MX 10 front1.test.",
            "a:front2.test a:front1.test",
        ] {
            ensure!(zone.contains(line), "{zone}");
        }
        let mut records = zone.lines().filter(|line| line.contains(" IN TXT "));
        self.lan
            .dns()
            .change(|zone| records.try_for_each(|record| zone.set_line(record)))
    }

    /// The error with the last of what the machines' mail servers said.
    pub(super) fn told(&self, error: anyhow::Error) -> anyhow::Error {
        let mut error = format!("{error:#}");
        for machine in self.machines() {
            let names = "postfix dovecot doveauth filtermail mxdeliv-bridge expiry-cron";
            let identifiers = names.split(' ').flat_map(|name| ["-t", name]);
            let command = ["journalctl", "--no-pager", "--lines=40"].into_iter();
            let command: Vec<_> = command.chain(identifiers).collect();
            let said = machine.run_ok(&command).unwrap_or_default();
            error.push_str(&format!("\n{}:\n{said}", machine.name()));
        }
        anyhow::anyhow!(error)
    }

    /// Tells the playbook of the machines, as an inventory would.
    fn settle(&self) -> anyhow::Result<()> {
        let peers: Vec<_> = self.machines().map(|machine| machine.address()).collect();
        self.playbooks.set_for_all(&json!({
            "relay_peers": peers,
            "relay_database_password": DATABASE_PASSWORD,
            "relay_doveadm_password": "only backends know it",
            "calls_enabled": true,
            "calls_turn_secret": TURN_SECRET,
            "base_firewall": true,
            "base_upgrades": false,
            "chatmail_ini": {
                "database_url": DATABASE_URL,
                "tls_external_cert_and_key": "/etc/ssl/relay.pem /etc/ssl/private/relay.key",
                // They are on a machine that is busy with more than tests.
                "max_load_1m": 0,
                "notification_url": "",
            },
        }))?;
        for front in &self.fronts {
            let name = front.host_name();
            certify(&self.lan, front, &[DOMAIN, &name])?;
            let settings = json!({ "relay_part": "front", "relay_host": name });
            self.playbooks.set(front, DOMAIN, settings)?;
        }
        for backend in &self.backends {
            let name = backend.host_name();
            certify(&self.lan, backend, &[&name])?;
            let settings = json!({
                "relay_part": "backend", "relay_host": name, "relay_lan_address": backend.address(),
            });
            self.playbooks.set(backend, DOMAIN, settings)?;
        }
        self.machines()
            .try_for_each(|machine| machine.trust(self.lan.authority()))
    }
}

fn set_up_database(machine: &Machine) -> anyhow::Result<()> {
    let command = ["sh", "-c", DATABASE, "database", DATABASE_PASSWORD];
    let done = machine.run_for(INSTALLATION, &command)?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "the database: {said}");
    Ok(())
}

/// Gives a machine a certificate for these names, as something else than the playbook does on other machines.
fn certify(lan: &Lan, machine: &Machine, names: &[&str]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (chain, key) = (folder.path().join("chain"), folder.path().join("key"));
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    lan.authority()
        .write(Certificate::Right, names, &chain, &key)?;
    machine.write_file("/etc/ssl/relay.pem", &fs::read(chain)?, 0o644)?;
    machine.write_file("/etc/ssl/private/relay.key", &fs::read(key)?, 0o640)
}
