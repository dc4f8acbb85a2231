//! Calls: the TURN server that clients are told of, asked by coturn's own client as a device would.
//!
//! That client tells a refusal from a success, but not which refusal: so each one stands beside a success that
//! differs from it in nothing but the credentials.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use aws_lc_rs::hmac;
use base64_simd::STANDARD as BASE64;
use nix::sys::signal::Signal;
use testbed::host::users::{MAIL_USER, Owner};
use testbed::{RelayOptions, Target, TestRelay, iroh_relay};
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::time::timeout;

use crate::fixture::{PATIENCE, Person};
use crate::metadata::get;

const TURN: &str = "/shared/vendor/deltachat/turn";

/// Messages of each run, and their octets.
const COUNT: usize = 5;
const LENGTH: usize = 321;

/// A relay with calls, which needs iroh-relay too.
pub(crate) async fn relay_with_calls() -> anyhow::Result<TestRelay> {
    iroh_relay::program().await?;
    TestRelay::start(RelayOptions::default().with_calls())
}

/// What a client is told.
#[derive(Clone, Debug)]
struct Offer {
    server: SocketAddr,
    user: String,
    password: String,
}

impl Offer {
    /// Asks the relay, as Delta Chat does: `HOST:PORT:USERNAME:PASSWORD`.
    async fn get(target: &Target) -> anyhow::Result<Self> {
        let mut imap = Person::new(target)?.log_in(target).await?;
        let offer = get(&mut imap, "\"\"", TURN).await?;
        let offer = offer.context("no TURN server")?;
        let parts: Vec<_> = offer.splitn(4, ':').collect();
        let [host, port, user, password] = parts[..] else {
            anyhow::bail!("not four parts: {}", parts.len());
        };
        Ok(Self {
            server: format!("{host}:{port}").parse()?,
            user: user.into(),
            password: password.into(),
        })
    }

    /// The credentials that end at a time, by the rule of TURN REST.
    fn ending(&self, secret: &str, end: u64) -> Self {
        let user = end.to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let password = BASE64.encode_to_string(hmac::sign(&key, user.as_bytes()));
        Self {
            user,
            password,
            ..self.clone()
        }
    }

    /// Has coturn's client send to a peer by way of the server.
    async fn send_to(&self, peer: SocketAddr, also: &[&str]) -> anyhow::Result<Output> {
        let credentials = ["-u", &self.user, "-w", &self.password];
        turn_client(self.server, peer, &[&credentials, also].concat()).await
    }
}

async fn turn_client(
    server: SocketAddr,
    peer: SocketAddr,
    arguments: &[&str],
) -> anyhow::Result<Output> {
    // Verbose, without a second channel for control data, over IPv4.
    let mut client = Command::new("turnutils_uclient");
    client
        .args(["-v", "-c", "-X"])
        .args(["-n", &COUNT.to_string(), "-l", &LENGTH.to_string()])
        .args(["-p", &server.port().to_string()])
        .args(["-e", &peer.ip().to_string()])
        .args(["-r", &peer.port().to_string()])
        .args(arguments)
        .arg(server.ip().to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, client.output()).await;
    output
        .context("turnutils_uclient does not end")?
        .context("running turnutils_uclient (Debian package: coturn)")
}

fn printed(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn arrived(output: &Output) -> anyhow::Result<()> {
    let text = printed(output);
    let all = format!("tot_send_msgs={COUNT}, tot_recv_msgs={COUNT}");
    ensure!(
        output.status.success() && text.contains(&all),
        "{}: {text}",
        output.status
    );
    Ok(())
}

fn refused(output: &Output) -> anyhow::Result<()> {
    let text = printed(output);
    let no = text.contains("Cannot complete Allocation") && !text.contains("Received relay addr");
    ensure!(!output.status.success() && no, "{}: {text}", output.status);
    Ok(())
}

/// The other side of a call, which sends back what comes, and remembers from where it came.
struct Peer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Peer {
    async fn start() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                list.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(from);
                // The sender may be gone.
                let _ = socket.send_to(&buffer[..length], from).await;
            }
        });
        Ok(Self { address, seen })
    }

    fn seen(&self) -> Vec<SocketAddr> {
        let seen = self.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

#[tokio::test]
async fn data_goes_through_the_turn_server_with_the_credentials_that_clients_get()
-> anyhow::Result<()> {
    let relay = relay_with_calls().await?;
    let offer = Offer::get(&relay.target).await?;
    let host: IpAddr = relay.target.imap.host.parse()?;
    ensure!(offer.server.ip() == host, "{offer:?}");
    let peer = Peer::start().await?;
    for transport in [&[][..], &["-t"]] {
        let before = peer.seen().len();
        arrived(&offer.send_to(peer.address, transport).await?)?;
        let seen = peer.seen();
        let seen = &seen[before..];
        ensure!(seen.len() >= COUNT, "{seen:?}");
        // What the peer sees of a client is a port of the relay.
        let relayed =
            |from: &&SocketAddr| from.ip() == host && (20_000..21_000).contains(&from.port());
        ensure!(seen.iter().all(|from| relayed(&from)), "{seen:?}");
    }

    // A server that dies loses the calls that it carries, and no credentials.
    let before = relay.signal("coturn", Signal::SIGKILL)?;
    relay.wait_restarted("coturn", before, PATIENCE)?;
    let again = async {
        while arrived(&offer.send_to(peer.address, &[]).await?).is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, again)
        .await
        .context("no server again")??;

    // Who calls whom is not written down.
    let log = std::fs::read_to_string(relay.log("coturn"))?;
    let peers_port = peer.address.port().to_string();
    for secret in [&offer.user, &offer.password, "127.0.0.1:", &peers_port] {
        ensure!(!log.contains(secret), "{secret} in the log: {log}");
    }
    relay.stop()
}

#[tokio::test]
async fn who_has_no_credentials_of_today_gets_nothing() -> anyhow::Result<()> {
    let relay = relay_with_calls().await?;
    let offer = Offer::get(&relay.target).await?;
    let peer = Peer::start().await?;

    refused(&turn_client(offer.server, peer.address, &[]).await?).context("no credentials")?;
    let wrong = Offer {
        password: BASE64.encode_to_string([7; 20]),
        ..offer.clone()
    };
    refused(&wrong.send_to(peer.address, &[]).await?).context("a wrong password")?;
    // A longer life than was given.
    let longer = Offer {
        user: (now()? + 30 * 24 * 60 * 60).to_string(),
        ..offer.clone()
    };
    refused(&longer.send_to(peer.address, &[]).await?).context("another end")?;
    let etc = relay.target.state_dir.join("etc");
    let secret = std::fs::read_to_string(etc.join("turn-secret"))?;
    let over = offer.ending(secret.trim(), now()? - 60);
    refused(&over.send_to(peer.address, &[]).await?).context("expired")?;
    ensure!(peer.seen().is_empty(), "{:?}", peer.seen());

    // The same by the same rule, before the end.
    let good = offer.ending(secret.trim(), now()? + 600);
    arrived(&good.send_to(peer.address, &[]).await?)?;
    arrived(&offer.send_to(peer.address, &[]).await?)?;

    // Each of the two that share the secret has it in a file of its own.
    for (file, reader) in [
        ("turn-secret", Owner::of(MAIL_USER)?),
        ("turnserver.conf", Owner::of("turnserver")?),
    ] {
        let file = std::fs::metadata(etc.join(file))?;
        let mode = file.permissions().mode() & 0o777;
        ensure!(
            (file.uid(), file.gid(), mode) == (0, reader.gid.as_raw(), 0o640),
            "{file:?}"
        );
    }
    relay.stop()
}

#[tokio::test]
async fn the_turn_server_is_no_way_into_a_private_network() -> anyhow::Result<()> {
    let relay = relay_with_calls().await?;
    let offer = Offer::get(&relay.target).await?;
    for private in ["10.0.0.1:53", "192.168.1.1:80", "169.254.169.254:80"] {
        let output = offer.send_to(private.parse()?, &[]).await?;
        let text = printed(&output);
        // An allocation there is, but none that reaches this peer.
        ensure!(
            text.contains("Received relay addr") && text.contains("403 (Forbidden IP)"),
            "{private}: {text}"
        );
    }
    let peer = Peer::start().await?;
    let output = offer.send_to(peer.address, &["-T"]).await?;
    let text = printed(&output);
    ensure!(text.contains("error 442"), "TCP to anywhere: {text}");
    relay.stop()
}
