//! Whatever comes over a socket of ours: a definite reply or a closed connection, and the daemon
//! goes on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use chatmail::config::Listen;
use rand::RngCore as _;
use testbed::client::smtp::SmtpClient;
use testbed::{Target, TestRelay};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::fixture::{Correspondents, PATIENCE, Person, config, shared_relay};

/// The unix sockets of our daemons: doveauth's three dicts, then filtermail's milter.
fn unix_sockets(target: &Target) -> anyhow::Result<Vec<PathBuf>> {
    let config = config(target)?;
    let Listen::Unix(milter) = config.filtermail_listen else {
        anyhow::bail!("the milter does not listen on a unix socket")
    };
    Ok(vec![
        config.doveauth_socket,
        config.lastlogin_socket,
        config.policy_socket,
        milter,
    ])
}

/// Inputs that no daemon of ours waits for.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let mut random = vec![0; 100_000];
    rand::rng().fill_bytes(&mut random);
    let mut milter_body = 1_000_000u32.to_be_bytes().to_vec();
    milter_body.extend_from_slice(b"Bhalf of a body");
    vec![
        ("nothing", Vec::new()),
        ("random bytes", random),
        ("a line without end", vec![b'L'; 2 << 20]),
        ("NULs", vec![0; 100_000]),
        ("empty lines", vec![b'\n'; 100_000]),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        ("SMTP", b"EHLO client\r\nMAIL FROM:<a@b.test>\r\n".to_vec()),
        (
            "the longest milter packet",
            b"\xff\xff\xff\xffO\0\0\0\x06".to_vec(),
        ),
        ("an empty milter packet", b"\0\0\0\0".to_vec()),
        ("half a milter packet", milter_body),
        ("a milter packet out of order", b"\0\0\0\x01E".to_vec()),
        (
            "milter options that are too short",
            b"\0\0\0\x05O\0\0\0\x06".to_vec(),
        ),
        ("half a dict line", b"Lshared/userdb/".to_vec()),
        (
            "a dict from the future",
            b"H99\t0\t0\t\tauth\nLshared/userdb/x\tx\n".to_vec(),
        ),
        (
            "a commit of nothing",
            b"H3\t2\t0\t\tauth\nC7\nS7\tx\ty\nA\nB\nT\n".to_vec(),
        ),
        (
            "broken escapes",
            b"H3\t2\t0\t\tauth\nLshared/passdb/a\x01\n\x01\t\x01\n".to_vec(),
        ),
        ("an endless transaction", endless_transaction()),
    ]
}

fn endless_transaction() -> Vec<u8> {
    let mut lines = b"H3\t2\t0\t\tlastlogin\nB1\tx\n".to_vec();
    for number in 0..20_000 {
        lines.extend_from_slice(format!("S1\tshared/last-login/{number}\t1\n").as_bytes());
    }
    lines
}

/// Sends everything, ends our direction, and waits until the daemon has closed its own.
async fn closes<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    input: &[u8],
) -> anyhow::Result<()> {
    let conversation = async {
        // A daemon that has heard enough closes while we still talk.
        let sent = stream.write_all(input).await;
        if sent.is_ok() {
            let _ = stream.shutdown().await;
        }
        let mut replies = vec![0; 64 << 10];
        while stream.read(&mut replies).await.is_ok_and(|count| count > 0) {}
    };
    timeout(PATIENCE, conversation)
        .await
        .context("the connection stays open")
}

/// An error if a daemon has died or panicked, or if mail does not flow.
async fn still_serves(relay: &TestRelay, pids: &[i32]) -> anyhow::Result<()> {
    ensure!(daemon_pids(relay)? == pids, "a daemon was started anew");
    for daemon in ["filtermail", "doveauth"] {
        let log = std::fs::read_to_string(relay.log(daemon))?;
        ensure!(!log.contains("panicked"), "{daemon} panicked:\n{log}");
    }
    Correspondents::new(&relay.target).await?.send_good(0).await
}

fn daemon_pids(relay: &TestRelay) -> anyhow::Result<Vec<i32>> {
    ["filtermail", "doveauth"]
        .into_iter()
        .map(|daemon| relay.pid(daemon))
        .collect()
}

#[tokio::test]
async fn garbage_on_every_unix_socket() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let pids = daemon_pids(&relay)?;
    for socket in unix_sockets(&relay.target)? {
        for (what, input) in garbage() {
            let place = || format!("{what} on {}", socket.display());
            closes(open(&socket).await?, &input)
                .await
                .with_context(place)?;
        }
    }
    still_serves(&relay, &pids).await
}

#[tokio::test]
async fn garbage_on_the_metrics_ports() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let pids = daemon_pids(&relay)?;
    let config = config(&relay.target)?;
    for address in [config.filtermail_metrics, config.doveauth_metrics] {
        let address = address.context("no metrics")?;
        for (what, input) in garbage() {
            let place = || format!("{what} on {address}");
            closes(TcpStream::connect(address).await?, &input)
                .await
                .with_context(place)?;
        }
    }
    still_serves(&relay, &pids).await
}

/// Connections that say nothing, or half of something, and stay: others must not wait for them.
#[tokio::test]
async fn silent_connections_hold_up_nobody() -> anyhow::Result<()> {
    let relay = shared_relay()?;
    let pids = daemon_pids(&relay)?;
    let mut silent = Vec::new();
    for socket in unix_sockets(&relay.target)? {
        for number in 0..100 {
            let mut stream = open(&socket).await?;
            if number % 2 == 0 {
                stream.write_all(b"\0\0\0\x0d").await?;
            }
            silent.push(stream);
        }
    }
    still_serves(&relay, &pids).await?;
    drop(silent);
    still_serves(&relay, &pids).await
}

async fn open(socket: &Path) -> anyhow::Result<UnixStream> {
    let stream = UnixStream::connect(socket).await;
    stream.with_context(|| format!("connecting to {}", socket.display()))
}

#[tokio::test]
async fn ten_thousand_recipients_get_a_reply_each() -> anyhow::Result<()> {
    const RECIPIENTS: usize = 10_000;
    let relay = shared_relay()?;
    let pids = daemon_pids(&relay)?;
    let target = &relay.target;
    let alice = Person::new(target)?;
    let mut client = alice.submission(target).await?;
    let mail = format!("MAIL FROM:<{}>", alice.address);
    client.command(&mail).await?.expect(250, "MAIL")?;

    let commands: String = (0..RECIPIENTS)
        .map(|number| format!("RCPT TO:<r{number:08}@{}>\r\n", target.domain))
        .collect();
    // Postfix hangs up after too many refusals, which may be before it has read everything.
    let sent = client.raw(commands.as_bytes()).await;
    let taken = replies_to_recipients(&mut client, RECIPIENTS).await?;
    ensure!(sent.is_ok() || taken < RECIPIENTS, "{sent:?}");
    ensure!(
        taken >= 100,
        "only {taken} recipients, the least that RFC 5321 asks for"
    );
    still_serves(&relay, &pids).await
}

/// Reads replies until all are there or the relay hangs up, and counts the recipients it took.
async fn replies_to_recipients(client: &mut SmtpClient, count: usize) -> anyhow::Result<usize> {
    let mut taken = 0;
    for _ in 0..count {
        match client.reply("the reply to RCPT").await {
            Ok(reply) if reply.is_positive() => taken += 1,
            Ok(reply) if reply.code == 421 => return Ok(taken),
            Ok(reply) => ensure!(reply.is_temporary(), "{reply}"),
            Err(error) if error.is_disconnect() => return Ok(taken),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(taken)
}
