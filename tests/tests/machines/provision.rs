//! The playbook makes relays of bare machines, one of each Debian that it knows, and real clients chat between them,
//! whatever happens to the machines.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use testbed::deltachat::{Account, ChatId, DeltaChat, make_contact};
use testbed::iroh_relay;
use testbed::machine::{Machine, changes};
use testbed::package::{Compression, build};

use crate::relays::{NAMED, Relays, SUITES, UNDERSCORE, by_https};

/// A step of a client that may come upon a machine that boots.
const PATIENCE: Duration = Duration::from_secs(120);

/// Messages that are sent each way while something happens to a machine.
const TRAFFIC: usize = 8;

/// The LAN's end at which the clients are: no journal may hold it.
const CLIENT: &str = "10.77.0.1";

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
pub(crate) fn login_link(domain: &str, name: &str) -> String {
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
    let settings = json!({
        "monitoring_enabled": true,
        "calls_enabled": true,
        "calls_iroh_relay_binary": iroh_relay::built()?,
    });
    let relays = Relays::boot(&settings)?;

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

    the_check_finds_all_on_the_machines(&relays, &package)?;
    if let Err(error) = people_chat(&relays, &newer).await {
        return Err(relays.told(error));
    }
    Ok(())
}

/// `--tags check`, as far as it looks at the machines: the LAN's DNS lacks records that the world's would have.
fn the_check_finds_all_on_the_machines(relays: &Relays, package: &Path) -> anyhow::Result<()> {
    const ON_THE_MACHINES: [&str; 5] = [
        " is active",
        " is listened on",
        "the certificate is good",
        "chatmail.ini is right",
        "DKIM ",
    ];
    let said = relays.play(package, &["--tags", "check"]);
    let said = said.unwrap_or_else(|error| format!("{error:#}"));
    for what in ON_THE_MACHINES {
        let lines = || said.lines().filter(|line| line.contains(what));
        let found = lines().filter(|line| line.contains("ok: ")).count();
        ensure!(found >= SUITES.len(), "{what}: {said}");
        ensure!(!lines().any(|line| line.contains("MISSING: ")), "{said}");
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
pub(crate) fn journal_knows_nobody(
    machine: &Machine,
    addresses: &[String; 2],
) -> anyhow::Result<()> {
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
