//! Realtime data of apps in chats: two real Delta Chat clients find each other through iroh-relay, behind nginx.
//!
//! Delta Chat's iroh trusts the public certificate authorities that are built into it and no others, so here it
//! is told of a relay without TLS: nginx's other server block, with the same locations. That they work over TLS
//! as well is shown by an upgrade made by hand.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use testbed::client::{Connection, Security};
use testbed::deltachat::webxdc::webxdc;
use testbed::deltachat::{Account, DeltaChat, Event, MessageId, PATIENCE, make_contact};
use testbed::host::addresses::Port;
use testbed::{Target, TestRelay};
use tokio::time::{Duration, Instant, sleep};

use crate::calls::relay_with_calls;
use crate::fixture::{counted, delta_chat_account, eventually};

/// Between two attempts to reach whoever is there.
const PAUSE: Duration = Duration::from_millis(200);

/// What iroh-relay has counted under a name.
async fn counts(target: &Target, name: &str) -> anyhow::Result<u64> {
    let metrics = SocketAddr::new(target.imap.host.parse()?, Port::IrohMetrics.number());
    counted(metrics, &format!("{name}_total ")).await
}

/// Connections that went on with another protocol and have ended, as nginx counts them.
fn upgrades(relay: &TestRelay) -> anyhow::Result<usize> {
    let log = fs::read_to_string(relay.log("nginx-access"))?;
    Ok(log
        .lines()
        .filter(|line| line.contains(" GET 101 "))
        .count())
}

/// Sends until the other side has it: realtime data is for those who are there, and nobody says when they are.
async fn exchange(
    from: (&Account, MessageId),
    to: &mut Account,
    data: &[u8],
) -> anyhow::Result<()> {
    let expected = serde_json::to_value(data)?;
    let wanted = |event: &Event| {
        event.kind == "WebxdcRealtimeData" && event.details.get("data") == Some(&expected)
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        from.0.send_realtime(from.1, data).await?;
        match to.wait("realtime data", PAUSE, wanted).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
    }
}

#[tokio::test]
async fn apps_exchange_realtime_data_by_way_of_the_relay() -> anyhow::Result<()> {
    let relay = relay_with_calls().await?;
    let target = &relay.target;
    let folder = tempfile::tempdir()?;
    let clients = DeltaChat::start(folder.path()).await?;
    let (_, mut alice) = delta_chat_account(&clients, target).await?;
    let (_, mut bob) = delta_chat_account(&clients, target).await?;
    let (chat, _) = make_contact(&mut alice, &mut bob, PATIENCE).await?;
    let path = folder.path().join("realtime.xdc");
    fs::write(&path, webxdc())?;
    let alices = alice.send_app(chat, &path).await?;
    let received = bob.receive(PATIENCE).await?;
    ensure!(received.view_type == "Webxdc", "{received:?}");
    let bobs = received.id;
    ensure!(counts(target, "relayserver_relay_accepts").await? == 0);

    alice.advertise_realtime(alices).await?;
    let advertised = |event: &Event| event.kind == "WebxdcRealtimeAdvertisementReceived";
    bob.wait("alice's advertisement", PATIENCE, advertised)
        .await?;
    bob.advertise_realtime(bobs).await?;
    alice
        .wait("bob's advertisement", PATIENCE, advertised)
        .await?;
    exchange((&alice, alices), &mut bob, b"over to you").await?;
    exchange((&bob, bobs), &mut alice, &[0, 255, 10, 13]).await?;

    // What the two told each other by mail is a key and the relay, no address: so they have met there. Once they
    // have, iroh may find a direct way, as it should; hence no word about which way the data itself has taken.
    let devices = counts(target, "relayserver_relay_accepts").await?;
    ensure!(devices >= 2, "{devices} devices at the relay");
    for packets in ["send_packets_recv", "send_packets_sent"] {
        let packets = counts(target, &format!("relayserver_{packets}")).await?;
        ensure!(packets > 0, "no packets from device to device");
    }

    // A relay that dies and comes back is found again, without anybody asking for it.
    let before = relay.signal("iroh-relay", Signal::SIGKILL)?;
    relay.wait_restarted("iroh-relay", before, PATIENCE)?;
    let deadline = Instant::now() + PATIENCE;
    // Until it listens there are no counts.
    while !matches!(counts(target, "relayserver_relay_accepts").await, Ok(2..)) {
        ensure!(Instant::now() < deadline, "the devices do not come back");
        sleep(PAUSE).await;
    }
    exchange((&alice, alices), &mut bob, b"still there").await?;
    drop((alice, bob, clients));
    // The way there was nginx, before and after.
    eventually("nginx's account of the connections", || {
        Ok(upgrades(&relay)? >= 4)
    })
    .await?;
    relay.stop()
}

/// Asks nginx over TLS to go on with another protocol: the lines of the answer's head.
async fn upgrade(target: &Target, fields: &str) -> anyhow::Result<Vec<String>> {
    let https = target.https.as_ref().context("no HTTPS port")?;
    let mut connection = Connection::open(https, Security::TLS).await?;
    let request = format!(
        "GET /relay HTTP/1.1\r\nHost: {}\r\n{fields}\r\n",
        target.domain
    );
    connection.write(request.as_bytes()).await?;
    let mut head = Vec::new();
    loop {
        let line = connection.read_line("the head of an answer").await?;
        let line = String::from_utf8(line.to_vec())?.trim_end().to_owned();
        if line.is_empty() {
            return Ok(head);
        }
        head.push(line.to_ascii_lowercase());
    }
}

#[tokio::test]
async fn the_way_to_iroh_relay_is_open_over_tls() -> anyhow::Result<()> {
    let relay = relay_with_calls().await?;
    let target = &relay.target;
    let head = upgrade(target, "Connection: upgrade\r\nUpgrade: iroh derp http\r\n").await?;
    ensure!(head[0].starts_with("http/1.1 101 "), "{head:?}");
    ensure!(
        head.contains(&"upgrade: iroh derp http".to_owned()),
        "{head:?}"
    );
    // The key and the answer to it are those of RFC 6455 section 1.3.
    let head = upgrade(
        target,
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    )
    .await?;
    ensure!(head[0].starts_with("http/1.1 101 "), "{head:?}");
    let accepted = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    ensure!(head.contains(&accepted.to_ascii_lowercase()), "{head:?}");
    // Who does not ask for it gets iroh-relay's refusal.
    let head = upgrade(target, "Connection: close\r\n").await?;
    ensure!(head[0].starts_with("http/1.1 400 "), "{head:?}");
    relay.stop()
}
