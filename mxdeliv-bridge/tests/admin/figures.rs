//! How mail by SMTP fares, from Postfix's log and filtermail's reports to what operators see.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;

use serde_json::{Value, json};

use crate::bridge::Bridge;

fn log(bridge: &Bridge, text: &str) {
    let path = bridge.path("mail.log");
    let mut log = File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    writeln!(log, "{text}").unwrap();
}

fn delivery(process: u32, recipient: &str, delays: &str, status: &str) -> String {
    format!(
        "Nov 20 20:28:00 mx postfix/smtp[{process}]: 4A: to=<{recipient}>, \
         relay=mx.x.org[192.0.2.1]:25, delay=1, delays={delays}, dsn=2.0.0, status={status}"
    )
}

fn report(bridge: &Bridge, text: &str) {
    let socket = UnixDatagram::unbound().unwrap();
    socket
        .send_to(text.as_bytes(), bridge.path("report.sock"))
        .unwrap();
}

/// The figures of one direction and transport of a peer.
fn way<'a>(rows: &'a [Value], domain: &str, direction: &str, transport: &str) -> Option<&'a Value> {
    let peer = rows.iter().find(|row| row["domain"] == *domain)?;
    let mut ways = peer["ways"].as_array()?.iter();
    ways.find(|way| way["direction"] == *direction && way["transport"] == *transport)
}

fn attempts(rows: &[Value], domain: &str, direction: &str) -> u64 {
    let way = way(rows, domain, direction, "smtp");
    way.map_or(0, |way| way["hour"]["attempts"].as_u64().unwrap())
}

#[test]
fn smtp_is_counted_by_who_knows_of_it_and_kept_over_a_restart() {
    let mut bridge = Bridge::start("");
    // Whatever is no delivery by SMTP, no report, or about ourselves, changes nothing.
    log(&bridge, &"\u{0}garbage @ <>\n".repeat(1000));
    log(
        &bridge,
        &delivery(1, "bob@chat.example", "0/0/1/1", "sent (250 ok)"),
    );
    for bad in ["", "{}", &"x".repeat(600), r#"{"domain":"y.org"}"#] {
        report(&bridge, bad);
    }
    report(
        &bridge,
        r#"{"domain":"chat.example","outcome":"accepted","milliseconds":1}"#,
    );
    log(
        &bridge,
        &delivery(1, "bob@x.org", "5/5/0.2/0.3", "sent (250 ok)"),
    );
    log(
        &bridge,
        &delivery(1, "eve@x.org", "5/5/0.2/0.3", "sent (250 ok)"),
    );
    let unknown = "bounced (host x.org said: 550 <bob@x.org>: \"bob\"@x.org bob@x.org)";
    log(&bridge, &delivery(2, "bob@x.org", "0/0/1/1", unknown));
    report(
        &bridge,
        r#"{"domain":"y.org","outcome":"accepted","milliseconds":100}"#,
    );
    report(
        &bridge,
        r#"{"domain":"y.org","outcome":"refused","milliseconds":100}"#,
    );
    let rows = bridge.json_when(&["peers"], |rows| {
        attempts(rows, "x.org", "out") == 2 && attempts(rows, "y.org", "in") == 2
    });

    let domains: Vec<_> = rows.iter().map(|row| row["domain"].clone()).collect();
    assert_eq!(domains, ["x.org", "y.org"]);
    let x = way(&rows, "x.org", "out", "smtp").unwrap();
    assert_eq!(x["hour"]["successes"], json!(1));
    assert_eq!(x["day"]["average_ms"], json!(500.0));
    let p95 = x["day"]["p95_ms"].as_f64().unwrap();
    assert!((450.0..=550.0).contains(&p95));
    assert_eq!(x["last_error"], json!("host x.org said: 550 …: … …"));
    let y = way(&rows, "y.org", "in", "smtp").unwrap();
    assert_eq!(
        (&y["hour"]["attempts"], &y["hour"]["successes"]),
        (&json!(2), &json!(1))
    );
    assert!(way(&rows, "x.org", "in", "smtp").is_none());

    bridge.restart();
    assert_eq!(bridge.json(&["peers"]), rows);
    // What was logged before it started is not counted again; what comes after is.
    std::fs::rename(bridge.path("mail.log"), bridge.path("mail.log.1")).unwrap();
    log(
        &bridge,
        &delivery(3, "bob@x.org", "0/0/1/1", "sent (250 ok)"),
    );
    bridge.json_when(&["peers"], |rows| attempts(rows, "x.org", "out") == 3);

    let (table, _) = bridge.run(0, &["peers"]);
    assert!(table.contains("out smtp  66.7% of 3"), "{table}");
    assert!(table.contains("in smtp   50% of 2"), "{table}");
    let (one, _) = bridge.run(0, &["peers", "y.org"]);
    assert_eq!(one.lines().count(), 2, "{one}");
}

#[test]
fn no_address_is_shown_or_kept() {
    let mut bridge = Bridge::start("");
    let hostile = [
        "deferred (host x.org said: 450 <secret@x.org> \"secret\"@x.org secret%40x.org secret=40x)",
        "bounced (user secret is unknown; mailto:secret@x.org,secret@[192.0.2.1])",
        "deferred (\"secret@x.org\" 'secret' (secret@x.org) secret)",
    ];
    for (process, status) in (1..).zip(hostile) {
        let domain = format!("secret@peer{process}.example");
        log(&bridge, &delivery(process, &domain, "0/0/1/1", status));
    }
    bridge.set_queue(
        r#"echo '{"arrival_time":1,"message_size":1,"recipients":[{"address":"secret@peer1.example","delay_reason":"for <secret@x.org>, secret and secret@x.org"}]}'"#,
    );
    bridge.json_when(&["peers"], |rows| rows.len() == 3);
    for arguments in [
        &["peers"][..],
        &["peers", "--json"],
        &["queue"],
        &["queue", "--json"],
    ] {
        let (out, _) = bridge.run(0, arguments);
        assert!(out.contains("peer1.example"), "{out}");
        assert!(!out.contains('@'), "{out}");
        let about = out.replace("secret=40x", "");
        assert!(!about.contains("secret"), "{out}");
    }
    bridge.stop();
    let mut file = std::fs::read(bridge.path("peers.sqlite")).unwrap();
    // What was written last may still be beside it.
    file.extend(std::fs::read(bridge.path("peers.sqlite-wal")).unwrap_or_default());
    assert!(file.windows(13).any(|octets| octets == b"peer1.example"));
    assert!(!file.windows(7).any(|octets| octets == b"secret@"));
    assert!(!file.windows(7).any(|octets| octets == b"@x.org "));
}
