//! The playbook makes relays of bare machines, one of each Debian that it knows, and real clients chat between them,
//! whatever happens to the machines.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use testbed::authority::Certificate;
use testbed::deltachat::{Account, ChatId, DeltaChat, make_contact};
use testbed::dns::Data;
use testbed::iroh_relay;
use testbed::machine::{Lan, Machine, Playbooks, changes};
use testbed::package::{Compression, build};

/// A relay with a name that an authority vouches for, and one that vouches for itself; the releases of Debian that
/// they are on.
const NAMED: &str = "one.test";
const UNDERSCORE: &str = "_two.test";
const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// A step of a client that may come upon a machine that boots.
const PATIENCE: Duration = Duration::from_secs(120);

/// Messages that are sent each way while something happens to a machine.
const TRAFFIC: usize = 8;

/// The LAN's end at which the clients are: no journal may hold it.
const CLIENT: &str = "10.77.0.1";

/// Two machines, and how the playbook gets to them.
struct Relays {
    lan: Lan,
    one: Machine,
    two: Machine,
    playbooks: Playbooks,
}

impl Relays {
    fn boot() -> anyhow::Result<Self> {
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
        this.settle()?;
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
    fn settle(&self) -> anyhow::Result<()> {
        // Both are on a machine that is busy with more than tests.
        let ini = json!({ "max_load_1m": 0, "notification_url": "" });
        let mut named = ini.clone();
        named["tls_external_cert_and_key"] = "/etc/ssl/relay.pem /etc/ssl/relay.key".into();
        for (machine, domain, ini) in [(&self.one, NAMED, named), (&self.two, UNDERSCORE, ini)] {
            let settings = json!({
                "monitoring_enabled": true,
                "calls_enabled": true,
                "calls_iroh_relay_binary": iroh_relay::built()?,
                "chatmail_ini": ini,
            });
            self.playbooks.set(machine, domain, settings)?;
        }
        Ok(())
    }

    /// Runs the playbook for both, and gives what it printed.
    fn play(&self, package: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        self.playbooks.play("playbook.yml", package, arguments)
    }

    /// The error with the last of what the machines' mail servers said.
    fn told(&self, error: anyhow::Error) -> anyhow::Error {
        let mut error = format!("{error:#}");
        for machine in [&self.one, &self.two] {
            let names = "postfix dovecot doveauth filtermail mxdeliv-bridge expiry-cron";
            let journal = ["journalctl", "--no-pager", "--lines=300"].into_iter();
            let journal = journal.chain(names.split(' ').flat_map(|name| ["-t", name]));
            let said = machine.run_ok(&journal.collect::<Vec<_>>());
            error = format!(
                "{error}\n--- {}\n{}",
                machine.name(),
                said.unwrap_or_default()
            );
        }
        anyhow::anyhow!(error)
    }

    /// Publishes what the relays say of their keys.
    fn publish(&self) -> anyhow::Result<()> {
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

/// Two people who know each other, each at a relay.
struct Pair {
    alice: Account,
    bob: Account,
    to_bob: ChatId,
    to_alice: ChatId,
    sent: usize,
}

impl Pair {
    async fn meet(clients: &DeltaChat) -> anyhow::Result<Self> {
        let mut people = Vec::new();
        for link in [
            login_link(NAMED, "alice-at1"),
            format!("dcaccount:{UNDERSCORE}"),
        ] {
            let mut account = clients.add_account().await?;
            account.login_by_link(&link).await?;
            people.push(account);
        }
        let (Some(mut bob), Some(mut alice)) = (people.pop(), people.pop()) else {
            bail!("not two");
        };
        let (to_bob, to_alice) = make_contact(&mut alice, &mut bob, PATIENCE).await?;
        Ok(Self {
            alice,
            bob,
            to_bob,
            to_alice,
            sent: 0,
        })
    }

    /// Some messages each way, one after the other, while something happens; all of them arrive.
    async fn chat_while<T>(
        &mut self,
        what: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T>
    where
        T: Send,
    {
        let mut texts = Vec::new();
        let happened = std::thread::scope(|scope| {
            let happening = scope.spawn(what);
            let talking = async {
                let mut pause = tokio::time::interval(Duration::from_millis(1200));
                while texts.len() < TRAFFIC || !happening.is_finished() {
                    pause.tick().await;
                    self.sent += 1;
                    let text = format!("message {}", self.sent);
                    self.alice.send_text(self.to_bob, &text).await?;
                    self.bob.send_text(self.to_alice, &text).await?;
                    texts.push(text);
                }
                anyhow::Ok(())
            };
            let talked =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(talking));
            let happened = happening.join();
            talked.and(happened.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        for person in [&mut self.bob, &mut self.alice] {
            // Which of two messages comes first, nobody promises.
            let mut missing = texts.clone();
            while !missing.is_empty() {
                let received = person.receive(PATIENCE).await;
                let received = received.with_context(|| format!("{missing:?} of {texts:?}"))?;
                missing.retain(|text| *text != received.text);
            }
        }
        Ok(happened)
    }
}

/// Delta Chat takes names on trust only if it may not check them.
fn login_link(domain: &str, name: &str) -> String {
    format!(
        "dclogin:{name}@{domain}?p=a-password-for-tests&v=1&ih={domain}&ip=993&is=ssl&sh={domain}&sp=465&ss=ssl&ic=3"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes: cargo testbed test --full"]
async fn two_bare_machines_become_relays_and_stay_so() -> anyhow::Result<()> {
    iroh_relay::program().await?;
    let packages = [tempfile::tempdir()?, tempfile::tempdir()?];
    let package = build("", Compression::Fast, packages[0].path())?;
    let newer = build("+newer", Compression::Fast, packages[1].path())?;
    let relays = Relays::boot()?;

    let began = Instant::now();
    relays.play(&package, &[])?;
    eprintln!(
        "two bare machines: {:.0} s of playbook",
        began.elapsed().as_secs_f64()
    );
    relays.publish()?;
    let began = Instant::now();
    let again = relays.play(&package, &[])?;
    eprintln!("nothing to do: {:.0} s", began.elapsed().as_secs_f64());
    ensure!(
        changes(&again)? == [0, 0],
        "a second run changes something: {again}"
    );
    for (machine, suite) in [&relays.one, &relays.two].into_iter().zip(SUITES) {
        ensure!(
            machine.failed_units()?.is_empty(),
            "{}",
            machine.failed_units()?
        );
        let release = machine.run_ok(&["cat", "/etc/os-release"])?;
        let codename = format!("VERSION_CODENAME={suite}");
        ensure!(release.lines().any(|line| line == codename), "{release}");
    }

    if let Err(error) = people_chat(&relays, &newer).await {
        return Err(relays.told(error));
    }
    Ok(())
}

async fn people_chat(relays: &Relays, newer: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start_with_names(folder.path(), relays.lan.dns()).await?;
    let mut pair = Pair::meet(&clients).await?;
    pair.chat_while(|| Ok(())).await?;
    by_https(&relays.one, UNDERSCORE)?;
    by_https(&relays.two, NAMED)?;

    pair.chat_while(|| relays.two.reboot()).await?;
    pair.chat_while(|| relays.play(newer, &["--tags", "suite"]).map(drop))
        .await?;
    for machine in [&relays.one, &relays.two] {
        let show = [
            "dpkg-query",
            "--show",
            "--showformat=${Version}",
            "chatmail-suite",
        ];
        let version = machine.run_ok(&show)?;
        ensure!(version.ends_with("+newer"), "{version}");
        timers_run(machine)?;
    }
    let addresses = [pair.alice.address().await?, pair.bob.address().await?];
    for machine in [&relays.one, &relays.two] {
        journal_knows_nobody(machine, &addresses)?;
    }
    Ok(())
}

/// Mail from this machine to the domain went over HTTPS.
fn by_https(machine: &Machine, domain: &str) -> anyhow::Result<()> {
    let said = machine.run_ok(&["mxdeliv-bridge", "peers", "--json", domain])?;
    let rows = serde_json::Deserializer::from_str(&said).into_iter();
    let rows = rows.collect::<Result<Vec<Value>, _>>()?;
    let by_https = |row: &Value| row["path"]["transport"] == "mxdeliv";
    ensure!(!rows.is_empty() && rows.iter().all(by_https), "{said}");
    Ok(())
}

fn timers_run(machine: &Machine) -> anyhow::Result<()> {
    for unit in ["expiry-cron", "expiry-cron-report"] {
        machine.run_ok(&["systemctl", "is-active", &format!("{unit}.timer")])?;
        machine.run_ok(&["systemctl", "start", &format!("{unit}.service")])?;
    }
    machine.run_ok(&[
        "test",
        "-s",
        "/var/lib/prometheus/node-exporter/fsreport.prom",
    ])?;
    ensure!(
        machine.failed_units()?.is_empty(),
        "{}",
        machine.failed_units()?
    );
    Ok(())
}

/// No journal, and no other log, holds the address of a client or of a mailbox. The one exception is the line for
/// a new account, which operators' programs count. Who logs in by SSH is an operator.
fn journal_knows_nobody(machine: &Machine, addresses: &[String; 2]) -> anyhow::Result<()> {
    let journal = machine.run_ok(&["journalctl", "--no-pager", "--output=short"])?;
    let mailboxes = |line: &str| {
        addresses
            .iter()
            .any(|address| line.contains(address.as_str()))
    };
    for line in journal.lines() {
        let operator = [" sshd[", " sshd-session[", " python3["];
        let operator = operator.iter().any(|name| line.contains(name));
        let created = line.contains("Created address: ");
        ensure!(
            operator
                || !line
                    .split(|c: char| !(c.is_ascii_digit() || c == '.'))
                    .any(|word| word.trim_matches('.') == CLIENT),
            "{}: {line}",
            machine.name()
        );
        ensure!(created || !mailboxes(line), "{}: {line}", machine.name());
    }
    let names = [
        "grep",
        "--recursive",
        "--files-with-matches",
        "--fixed-strings",
    ];
    for needle in addresses.iter().map(String::as_str).chain(["10.77.0.1]"]) {
        let found =
            machine.run(&[&names[..], &["-e", needle, "/var/log", "/run/postfix-log"]].concat())?;
        let files = String::from_utf8_lossy(&found.stdout).into_owned();
        let files: Vec<_> = files
            .lines()
            .filter(|file| !file.contains("/journal/"))
            .collect();
        ensure!(
            files.is_empty(),
            "{}: {needle} in {files:?}",
            machine.name()
        );
    }
    Ok(())
}
