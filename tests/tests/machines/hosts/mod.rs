//! The playbook makes a relay of several hosts: a front and a backend of each Debian that it knows, so that each
//! Dovecot passes sessions and mail on to each, and PostgreSQL on a machine of its own.

mod set_up;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testbed::client::{Envelope, Security, SmtpClient, TlsVersion};
use testbed::deltachat::{DeltaChat, make_contact};
use testbed::foreign::ForeignDomain;
use testbed::machine::{Machine, PATIENCE, changes};
use testbed::mail;
use testbed::target::Endpoint;

use self::set_up::{DATABASE_PASSWORD, DOMAIN, Hosts, TURN_SECRET};
use crate::people::{Person, on_the_lan};
use crate::provision::{journal_knows_nobody, login_link};

const MAILBOXES: &str = "/home/vmail/mail/chat.test";
const ALICE: &str = "alice0000@chat.test";
const BOB: &str = "bob000000@chat.test";
const CAROL: &str = "carol@elsewhere.test";
const PASSWORD: &str = "a long password";

/// LMTP, IMAP, and mailboxes on their way.
const OF_BACKENDS: [u16; 3] = [24, 143, 24245];

/// What nobody has to reach on a backend, whatever listens there.
const NOT_OF_BACKENDS: [u16; 6] = [25, 80, 443, 465, 587, 993];

/// How long whoever is let in may have to wait.
const CONNECT: Duration = Duration::from_secs(20);

/// Whether one connection can be had, as a program of Python's: host and port are its arguments.
const CONNECTS: &str =
    "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes: cargo testbed test --full"]
async fn machines_become_fronts_and_backends_of_one_relay() -> anyhow::Result<()> {
    let hosts = Hosts::boot()?;
    hosts.play(&[])?;
    let again = hosts.play(&[])?;
    ensure!(
        changes(&again)? == [0, 0, 0, 0],
        "a second run changes something: {again}"
    );
    hosts.publish()?;
    let tried = the_hosts_are_one_relay(&hosts).await;
    tried.map_err(|error| hosts.told(error))
}

async fn the_hosts_are_one_relay(hosts: &Hosts) -> anyhow::Result<()> {
    all_is_well(hosts)?;
    secrets_are_for_the_daemons(hosts)?;
    fronts_sign_alike(hosts)?;
    mail_goes_each_way(hosts)?;
    mail_comes_from_outside(hosts)?;
    only_peers_reach_mailboxes(hosts)?;
    let addresses = people_chat(hosts).await?;
    for machine in hosts.machines() {
        machine.run_ok(&["systemctl", "start", "expiry-cron.service"])?;
        let failed = machine.failed_units()?;
        ensure!(failed.is_empty(), "{}: {failed}", machine.name());
        journal_knows_nobody(machine, &addresses)?;
        journal_knows_nobody(machine, &[ALICE.to_owned(), BOB.to_owned()])?;
    }
    sessions_end(hosts)?;
    // Errors of fronts that do not reach it tell of whom.
    a_backend_comes_back(hosts)?;
    an_account_moves(hosts)
}

/// As far as `--tags check` looks at the machines; the LAN's DNS lacks records that the world's would have.
fn all_is_well(hosts: &Hosts) -> anyhow::Result<()> {
    let said = hosts.play(&["--tags", "check"]);
    let said = said.unwrap_or_else(|error| format!("{error:#}"));
    for what in [
        " is active",
        " is listened on",
        "the certificate is good",
        "chatmail.ini is right",
    ] {
        let lines = || said.lines().filter(|line| line.contains(what));
        let found = lines().filter(|line| line.contains("ok: ")).count();
        ensure!(found >= hosts.machines().count(), "{what}: {said}");
        ensure!(!lines().any(|line| line.contains("MISSING: ")), "{said}");
    }
    for host in hosts.machines() {
        let listed = host.run_ok(&["doveauth", "backends", "list"])?;
        assert_eq!(
            listed,
            "back1\tback1.test\t1\tactive\t0\nback2\tback2.test\t1\tactive\t0\n"
        );
    }
    for backend in &hosts.backends {
        for unit in [
            "postfix",
            "nginx",
            "filtermail",
            "mxdeliv-bridge",
            "filtermail.socket",
        ] {
            let active = backend.run(&["systemctl", "is-active", "--quiet", unit])?;
            ensure!(!active.status.success(), "{unit} of {}", backend.name());
        }
    }
    Ok(())
}

/// The password of the database is in one file, and there for those who need it.
fn secrets_are_for_the_daemons(hosts: &Hosts) -> anyhow::Result<()> {
    for host in hosts.machines() {
        let found = host.run(&[
            "grep",
            "-rlF",
            "-e",
            DATABASE_PASSWORD,
            "/etc",
            "/var/log",
            "/run",
        ])?;
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        assert_eq!(
            found,
            "/etc/chatmail/database-password\n",
            "{}",
            host.name()
        );
        let rights = host.run_ok(&["stat", "--format=%a %U %G", found.trim_end()])?;
        assert_eq!(rights, "640 root vmail\n");
    }
    let secrets =
        "cat /etc/chatmail/turn-secret; sed -n s/static-auth-secret=//p /etc/turnserver.conf";
    for host in hosts.machines() {
        let found = host.run(&["sh", "-c", secrets])?;
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        let is_front = hosts.fronts.iter().any(|front| front.name() == host.name());
        let times = if is_front { 2 } else { 1 };
        assert_eq!(
            found.trim_end(),
            TURN_SECRET.repeat(times),
            "{}",
            host.name()
        );
    }
    // All connections are encrypted.
    let select = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE usename = 'chatmail'";
    assert_eq!(hosts.sql(select)?, "t");
    Ok(())
}

fn fronts_sign_alike(hosts: &Hosts) -> anyhow::Result<()> {
    let keys = |front: &Machine| {
        front.run_ok(&[
            "sh",
            "-c",
            "cd /etc/dkimkeys && sha256sum *.private && stat -c '%a %U' *.private",
        ])
    };
    let [one, two] = &hosts.fronts;
    assert_eq!(keys(one)?, keys(two)?);
    // And say alike where mail goes.
    let policy = |front: &Machine| front.read_file("/var/www/chatmail/.well-known/mta-sts.txt");
    let text = String::from_utf8(policy(one)?)?;
    ensure!(
        text.contains("mx: front1.test\nmx: front2.test\n"),
        "{text}"
    );
    assert_eq!(text.as_bytes(), policy(two)?);
    Ok(())
}

/// Where there is something of a mailbox.
fn home(hosts: &Hosts, address: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for host in hosts.machines() {
        let there = host.run(&["test", "-e", &format!("{MAILBOXES}/{address}")])?;
        if there.status.success() {
            found.push(host.name().to_owned());
        }
    }
    Ok(found)
}

fn person<'a>(hosts: &'a Hosts, front: &'a Machine, address: &'a str) -> Person<'a> {
    Person {
        lan: &hosts.lan,
        machine: front,
        address,
        password: PASSWORD,
    }
}

/// Each front, for accounts on each backend: logins, and mail.
fn mail_goes_each_way(hosts: &Hosts) -> anyhow::Result<()> {
    for address in [ALICE, BOB] {
        for front in &hosts.fronts {
            ensure!(person(hosts, front, address).logs_in()?, "{}", front.name());
            let stranger = Person {
                password: "another password",
                ..person(hosts, front, address)
            };
            ensure!(!stranger.logs_in()?, "{}", front.name());
        }
    }
    for (from, to) in [(ALICE, BOB), (BOB, ALICE)] {
        let mut ids = Vec::new();
        for front in &hosts.fronts {
            ids.push(person(hosts, front, from).writes_to(to)?);
            for other in &hosts.fronts {
                person(hosts, other, to).has_exactly(&ids)?;
            }
        }
    }
    let homes = [home(hosts, ALICE)?, home(hosts, BOB)?];
    assert_eq!(homes, [["back1"], ["back2"]]);
    Ok(())
}

/// At port 25 of each front, for accounts on each backend.
fn mail_comes_from_outside(hosts: &Hosts) -> anyhow::Result<()> {
    let (_, domain) = CAROL.split_once('@').context("an address")?;
    let foreign = ForeignDomain::new(hosts.lan.dns(), domain)?;
    for address in [ALICE, BOB] {
        let known = person(hosts, &hosts.fronts[0], address).reads()?.len();
        for (index, front) in hosts.fronts.iter().enumerate() {
            let message = mail::encrypted(&CAROL.parse()?, &address.parse()?, 2000)?;
            let message = foreign.sign(&message)?;
            on_the_lan(&hosts.lan, async || {
                let endpoint = Endpoint::new(front.address().into(), 25);
                let security = Security::StartTls(TlsVersion::Any);
                let mut client = SmtpClient::connect(&endpoint, security).await?;
                client.hello().await?;
                let envelope = Envelope::new(CAROL, address);
                let sent = client.send(&envelope, &message.content()).await?;
                ensure!(sent.is_accepted(), "{}", sent.verdict());
                Ok(client.quit().await?)
            })?;
            front.wait_for("it is there", PATIENCE, |front| {
                Ok(person(hosts, front, address).reads()?.len() == known + index + 1)
            })?;
        }
    }
    Ok(())
}

/// The others of the relay reach what backends have for them, and nothing else; nobody else does.
fn only_peers_reach_mailboxes(hosts: &Hosts) -> anyhow::Result<()> {
    for backend in &hosts.backends {
        let peers = hosts
            .machines()
            .filter(|peer| peer.name() != backend.name());
        for peer in peers {
            let reach = |port: u16| {
                let command = [
                    "python3",
                    "-c",
                    CONNECTS,
                    &backend.host_name(),
                    &port.to_string(),
                ];
                anyhow::Ok(peer.run(&command)?.status.success())
            };
            for port in OF_BACKENDS {
                ensure!(reach(port)?, "{} to {port}", peer.name());
            }
            for port in NOT_OF_BACKENDS {
                ensure!(!reach(port)?, "{} to {port}", peer.name());
            }
        }
        for port in OF_BACKENDS.into_iter().chain(NOT_OF_BACKENDS) {
            let address = SocketAddr::new(IpAddr::V4(backend.address()), port);
            let reached = hosts
                .lan
                .network()
                .enter(|| TcpStream::connect_timeout(&address, CONNECT))?;
            ensure!(reached.is_err(), "a stranger reaches {port}");
        }
    }
    Ok(())
}

/// While a backend is away logins fail for the moment and mail waits.
fn a_backend_comes_back(hosts: &Hosts) -> anyhow::Result<()> {
    let [one, two] = &hosts.fronts;
    for (backend, front, address, other) in [
        (&hosts.backends[0], two, ALICE, BOB),
        (&hosts.backends[1], one, BOB, ALICE),
    ] {
        let known = person(hosts, front, address).reads()?.len();
        backend.power_off_hard()?;
        person(hosts, front, other).writes_to(address)?;
        let refused = person(hosts, front, address).logs_in();
        ensure!(refused.is_err(), "a login without a mailbox: {refused:?}");
        backend.boot()?;
        front.wait_for("mail that waited is there", PATIENCE, |front| {
            let inbox = person(hosts, front, address).reads();
            Ok(inbox.is_ok_and(|messages| messages.len() == known + 1))
        })?;
    }
    Ok(())
}

/// There and back, between backends of different versions.
fn an_account_moves(hosts: &Hosts) -> anyhow::Result<()> {
    let known = person(hosts, &hosts.fronts[0], ALICE).reads()?;
    let [one, two] = &hosts.backends;
    for (from, to) in [(one, two), (two, one)] {
        from.run_ok(&["doveauth", "accounts", "move", ALICE, to.name()])?;
        assert_eq!(home(hosts, ALICE)?, [to.name()]);
        for front in &hosts.fronts {
            assert_eq!(person(hosts, front, ALICE).reads()?, known);
        }
    }
    Ok(())
}

/// Told on any host, of either Debian, for accounts on each backend.
fn sessions_end(hosts: &Hosts) -> anyhow::Result<()> {
    for host in hosts.machines() {
        for address in [ALICE, BOB] {
            let person = person(hosts, &hosts.fronts[0], address);
            let sessions = person.is_thrown_out_by(|| {
                let block = ["doveauth", "accounts", "block", "--json", address];
                let told: Value = serde_json::from_str(&host.run_ok(&block)?)?;
                host.run_ok(&["doveauth", "accounts", "unblock", address])?;
                Ok(told["sessions"].clone())
            })?;
            assert_eq!(sessions, "ended", "{address} on {}", host.name());
        }
    }
    Ok(())
}

/// By whichever front the name leads to.
async fn people_chat(hosts: &Hosts) -> anyhow::Result<[String; 2]> {
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start_with_names(folder.path(), hosts.lan.dns()).await?;
    let mut people = Vec::new();
    for name in ["dora-at-1", "emil-at-2"] {
        let mut account = clients.add_account().await?;
        account.login_by_link(&login_link(DOMAIN, name)).await?;
        people.push(account);
    }
    let [dora, emil] = people.as_mut_slice() else {
        anyhow::bail!("not two");
    };
    let (to_emil, to_dora) = make_contact(dora, emil, PATIENCE).await?;
    dora.send_text(to_emil, "Hello Emil").await?;
    assert_eq!(emil.receive(PATIENCE).await?.text, "Hello Emil");
    emil.send_text(to_dora, "Hello Dora").await?;
    assert_eq!(dora.receive(PATIENCE).await?.text, "Hello Dora");
    let addresses = [dora.address().await?, emil.address().await?];
    let [doras, emils] = [home(hosts, &addresses[0])?, home(hosts, &addresses[1])?];
    ensure!(doras != emils, "{doras:?} {emils:?}");
    Ok(addresses)
}
