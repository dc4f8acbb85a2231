//! An operator ends sessions from any host of a relay of several machines.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chatmail::{Address, Config};
use serde_json::Value;
use testbed::Target;
use testbed::client::ImapClient;
use testbed::cluster::Cluster;
use testbed::relay::ServerSetting;
use tokio::io::AsyncWriteExt as _;

use crate::accounts_command::{is_ended, is_refused};
use crate::cluster::{shared_cluster, two_people, unhurried};
use crate::fixture::{Person, eventually};

/// What an operator was told, on standard output and on standard error.
struct Told {
    line: Value,
    complaint: String,
}

/// `doveauth accounts` about one account, on a host.
async fn accounts(
    cluster: &Cluster,
    host: &Target,
    command: &str,
    address: &Address,
) -> anyhow::Result<Told> {
    let mut doveauth = cluster.command(host, "doveauth")?;
    doveauth.args(["accounts", command, "--json", &address.to_string()]);
    doveauth.stdin(Stdio::null());
    let output = tokio::process::Command::from(doveauth).output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout)?;
    let line = serde_json::from_str(&text)
        .with_context(|| format!("{command} on {}: {text}{complaint}", host.name))?;
    Ok(Told { line, complaint })
}

/// The same, after which sessions must be in this state.
async fn accounts_with(
    cluster: &Cluster,
    host: &Target,
    command: &str,
    address: &Address,
    sessions: &str,
) -> anyhow::Result<Value> {
    let Told { line, complaint } = accounts(cluster, host, command, address).await?;
    let found = line["sessions"].as_str().unwrap_or("-");
    ensure!(
        found == sessions,
        "sessions after {command} on {}: {found}, not {sessions}; {complaint}",
        host.name
    );
    Ok(line)
}

/// A session of somebody that only waits.
async fn waits(front: &Target, person: &Person) -> anyhow::Result<ImapClient> {
    let mut inbox = person.inbox(front).await?;
    drop(inbox.idle().await?);
    Ok(inbox)
}

/// One by way of each front.
async fn all_wait(cluster: &Cluster, person: &Person) -> anyhow::Result<Vec<ImapClient>> {
    let mut sessions = Vec::new();
    for front in &cluster.fronts {
        sessions.push(waits(front, person).await?);
    }
    Ok(sessions)
}

async fn all_are_ended(sessions: Vec<ImapClient>) -> anyhow::Result<()> {
    for session in sessions {
        is_ended(session).await?;
    }
    Ok(())
}

#[test]
fn an_operator_on_any_host_ends_sessions_wherever_they_are() -> anyhow::Result<()> {
    let cluster = shared_cluster()?;
    cluster.run(async || {
        for host in cluster.fronts.iter().chain(&cluster.backends) {
            let (one, two) = two_people(&cluster).await?;
            for mut person in [one, two] {
                let address = person.address.clone();
                let sessions = all_wait(&cluster, &person).await?;
                let changed = accounts_with(&cluster, host, "passwd", &address, "ended").await?;
                all_are_ended(sessions).await?;
                is_refused(&cluster.fronts[0], &person).await?;
                let password = changed["password"].as_str().context("no password")?;
                person.password = password.to_owned();

                let sessions = all_wait(&cluster, &person).await?;
                accounts_with(&cluster, host, "block", &address, "ended").await?;
                all_are_ended(sessions).await?;
                accounts_with(&cluster, host, "block", &address, "none").await?;
                accounts_with(&cluster, host, "unblock", &address, "-").await?;

                let sessions = all_wait(&cluster, &person).await?;
                accounts_with(&cluster, host, "delete", &address, "ended").await?;
                all_are_ended(sessions).await?;
                is_refused(&cluster.fronts[1], &person).await?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_front_ends_sessions_on_backends_and_can_do_nothing_else_there() -> anyhow::Result<()> {
    let cluster = shared_cluster()?;
    let (front, backend) = (&cluster.fronts[0], &cluster.backends[0]);
    let doveadm = &backend.imap.host;
    let passwords = [front, backend].map(|host| -> anyhow::Result<String> {
        let (config, _) = Config::load(&host.chatmail_ini)?;
        Ok(std::fs::read_to_string(config.doveadm_password_file)?)
    });
    let [fronts, backends] = passwords;
    let (fronts, backends) = (fronts?, backends?);
    ensure!(fronts != backends, "a front has the backends' password");
    let network = front.network.as_ref().context("no network")?;
    let said = |password: &str, command: &str| {
        let secret = base64_simd::STANDARD.encode_to_string(format!("\0doveadm\0{password}"));
        let words = format!("VERSION\tdoveadm-server\t1\t0\nPLAIN\t{secret}\n\t\t{command}\n");
        let mut openssl = network.command(Path::new("openssl"));
        openssl.args([
            "s_client",
            "-quiet",
            "-connect",
            &format!("{doveadm}:24245"),
        ]);
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped());
        openssl.stderr(Stdio::null());
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            let mut child = tokio::process::Command::from(openssl)
                .kill_on_drop(true)
                .spawn()?;
            let mut input = child.stdin.take().context("no input")?;
            input.write_all(words.as_bytes()).await?;
            // What hangs up by itself has refused; else there is an answer and then silence.
            let mut output = child.stdout.take().context("no output")?;
            let mut said = Vec::new();
            let reads = tokio::io::copy(&mut output, &mut said);
            let _ = tokio::time::timeout(Duration::from_secs(5), reads).await;
            anyhow::Ok(String::from_utf8_lossy(&said).into_owned())
        })
    };
    let kicked = said(&fronts, "kick\tnobody@example.org")?;
    ensure!(kicked == "-\n+\n\n-NOTFOUND\n", "{kicked:?}");
    for command in ["who", "user\t*", "dsync-server", "kick -x", "exec\tsh"] {
        let refused = said(&fronts, command)?;
        ensure!(refused == "-\n+\n", "{command}: {refused:?}");
    }
    // Not even with the other password, should it ever have that, from where it is.
    let refused = said(&backends, "who")?;
    ensure!(refused == "-\n-\n", "{refused:?}");
    Ok(())
}

/// The name of the process that has the only session of somebody on a backend; `None` when there is none.
fn process_of(backend: &Target, person: &Person) -> anyhow::Result<Option<String>> {
    let (config, _) = Config::load(&backend.chatmail_ini)?;
    let (program, options) = config
        .doveadm_command
        .0
        .split_first()
        .context("no doveadm")?;
    let mut doveadm = std::process::Command::new(program);
    doveadm.args(options).args(["-f", "tab", "who", "-1"]);
    let output = doveadm.arg(person.address.to_string()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines().map(|line| line.split('\t'));
    let Some(mut names) = lines.next() else {
        return Ok(None);
    };
    let column = names.position(|name| name == "pid").context("no pid")?;
    let Some(pid) = lines.next().and_then(|mut line| line.nth(column)) else {
        return Ok(None);
    };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    Ok(name.ok().map(|name| name.trim_end().to_owned()))
}

async fn hibernates(backend: &Target, person: &Person) -> anyhow::Result<()> {
    eventually("a session hibernates", || {
        Ok(process_of(backend, person)?.as_deref() == Some("imap-hibernate"))
    })
    .await
}

#[test]
#[ignore = "it takes minutes: cargo testbed test --full"]
fn sessions_that_hibernate_end_and_a_backend_that_is_away_is_named() -> anyhow::Result<()> {
    let soon = ServerSetting::dovecot("imap_hibernate_timeout = 1 s");
    let cluster = Cluster::start(&unhurried().with_server_setting(soon))?;
    let front = &cluster.fronts[0];
    let [back1, back2] = cluster.backends.as_slice() else {
        anyhow::bail!("not two backends")
    };
    cluster.run(async || {
        // From elsewhere, and there.
        for host in [front, back1] {
            let (alice, bob) = two_people(&cluster).await?;
            let (other, _) = two_people(&cluster).await?;
            let session = waits(front, &alice).await?;
            let others = waits(front, &other).await?;
            hibernates(back1, &alice).await?;
            hibernates(back1, &other).await?;
            accounts_with(&cluster, host, "block", &alice.address, "ended").await?;
            is_ended(session).await?;
            accounts_with(&cluster, host, "block", &alice.address, "none").await?;
            // Whose session was in the same process connects again.
            drop(others);
            other.inbox(front).await?.command("NOOP").await?;
            bob.inbox(front).await?.command("NOOP").await?;
        }

        let (_, bob) = two_people(&cluster).await?;
        let (_, carol) = two_people(&cluster).await?;
        let sessions = [waits(front, &bob).await?, waits(front, &carol).await?];
        hibernates(back2, &bob).await?;
        hibernates(back2, &carol).await?;
        cluster.unplug(&back2.name)?;
        for (command, person) in [("block", &bob), ("delete", &carol)] {
            let told = accounts(&cluster, front, command, &person.address).await?;
            assert_eq!(told.line["sessions"], "unknown", "{}", told.line);
            let complaint = told.complaint;
            for words in [
                "were not ended: backend back2",
                "no answer within",
                "run this again",
            ] {
                ensure!(complaint.contains(words), "{complaint}");
            }
            ensure!(
                !complaint.contains(&person.address.to_string()),
                "{complaint}"
            );
        }
        cluster.plug_in(&back2.name)?;
        // It has changed all the same, and is brought to its end.
        accounts_with(&cluster, front, "block", &bob.address, "ended").await?;
        accounts_with(&cluster, front, "delete", &carol.address, "none").await?;
        for session in sessions {
            is_ended(session).await?;
        }
        is_refused(front, &bob).await
    })?;
    cluster.stop()
}
