//! Each command, as a table and as JSON, and what is said when it cannot be done.

use rstest::rstest;
use serde_json::json;

use crate::bridge::Bridge;

#[rstest]
#[case(&["peers"])]
#[case(&["peers", "x.org", "--json"])]
#[case(&["queue"])]
#[case(&["probe", "x.org"])]
#[case(&["endpoint", "list"])]
#[case(&["endpoint", "set", "x.org", "smtp"])]
#[case(&["endpoint", "unset", "x.org"])]
#[case(&["block", "list"])]
#[case(&["block", "add", "x.org"])]
#[case(&["block", "remove", "x.org"])]
fn without_a_daemon_it_is_said_how_to_start_it(#[case] arguments: &[&str]) {
    let bridge = Bridge::away("");
    let (out, err) = bridge.run(69, arguments);
    assert_eq!(out, "");
    assert!(err.contains("systemctl start mxdeliv-bridge"), "{err}");
    assert!(err.contains("admin.sock"), "{err}");
}

#[rstest]
#[case(&["fly"])]
#[case(&["probe"])]
#[case(&["endpoint", "set", "x.org"])]
#[case(&["block", "add", "not an entry"])]
#[case(&["peers", "--fast"])]
fn wrong_usage_has_a_status_of_its_own(#[case] arguments: &[&str]) {
    let (out, err) = Bridge::away("").run(64, arguments);
    assert!(out.is_empty() && err.starts_with("error: "), "{out}{err}");
}

#[test]
fn help_teaches_by_examples() {
    let bridge = Bridge::away("");
    for arguments in [
        &["peers"][..],
        &["queue"],
        &["probe"],
        &["endpoint", "set"],
        &["block", "add"],
    ] {
        let (help, _) = bridge.run(0, &[arguments, &["--help"]].concat());
        let example = format!("\n    mxdeliv-bridge {}", arguments.join(" "));
        assert!(help.contains(&example), "{help}");
        assert!(help.contains("Exit status: 0"), "{help}");
    }
}

#[rstest]
#[case(&["peers", "not a domain"])]
#[case(&["probe", "x..org"])]
#[case(&["endpoint", "set", "x.org", "http://x.org"])]
#[case(&["endpoint", "set", "x.org", "smtp", "--lax-tls"])]
#[case(&["endpoint", "set", "bob@x.org", "smtp"])]
#[case(&["endpoint", "unset", "[192.0.2.1"])]
fn what_the_daemon_finds_wrong_is_wrong_usage(#[case] arguments: &[&str]) {
    let bridge = Bridge::start("");
    let (out, err) = bridge.run(64, arguments);
    assert!(out.is_empty() && err.starts_with("error: "), "{out}{err}");
    assert_eq!(bridge.run(0, &["endpoint", "list"]).0, "");
}

#[test]
fn decisions_hold_until_they_are_unset_also_after_a_restart() {
    let mut bridge = Bridge::start("");
    let set = |arguments: &[&str]| {
        let (out, _) = bridge.run(0, &[&["endpoint", "set"], arguments].concat());
        out
    };
    assert_eq!(set(&["x.org", "smtp"]), "set x.org smtp\n");
    set(&["192.0.2.1", "https://192.0.2.1:8443", "--lax-tls"]);
    set(&["y.org", "https://mx.y.org"]);
    let decided = |domain: &str, endpoint: &str, lax: bool| json!({ "domain": domain, "endpoint": endpoint, "lax_tls": lax });
    let mut expected = vec![
        decided("[192.0.2.1]", "https://192.0.2.1:8443", true),
        decided("x.org", "smtp", false),
        decided("y.org", "https://mx.y.org", false),
    ];
    assert_eq!(bridge.json(&["endpoint", "list"]), expected);
    bridge.restart();
    assert_eq!(bridge.json(&["endpoint", "list"]), expected);
    let (table, _) = bridge.run(0, &["endpoint", "list"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0], "DOMAIN       ENDPOINT                TLS");
    assert_eq!(
        lines[1],
        "[192.0.2.1]  https://192.0.2.1:8443  any certificate"
    );
    assert_eq!(lines[2], "x.org        smtp                    -");

    let [peer] = &bridge.json(&["peers", "x.org"])[..] else {
        panic!("not one peer")
    };
    assert_eq!(peer["path"]["decided"], json!("smtp"));
    assert_eq!(peer["path"]["transport"], json!("smtp"));

    let (out, _) = bridge.run(0, &["endpoint", "unset", "x.org"]);
    assert_eq!(out, "removed x.org\n");
    let (out, _) = bridge.run(1, &["endpoint", "unset", "x.org"]);
    assert_eq!(out, "missing x.org\n");
    expected.remove(1);
    assert_eq!(bridge.json(&["endpoint", "list"]), expected);
}

/// Messages as `postqueue -j` prints them.
const QUEUE: &str = r#"cat <<'END'
{"queue_name": "deferred", "queue_id": "4A", "arrival_time": 1700000000, "message_size": 2048, "forced_expire": false, "sender": "alice@chat.example", "recipients": [{"address": "bob@x.org", "delay_reason": "host mx.x.org[192.0.2.1] said: 450 <bob@x.org>: bob is busy"}, {"address": "dave@y.org"}]}
{"queue_name": "active", "queue_id": "4B", "arrival_time": 1700000100, "message_size": 1024, "forced_expire": false, "sender": "", "recipients": [{"address": "eve@x.org"}]}
END"#;

#[test]
fn the_queue_is_shown_by_destination() {
    let bridge = Bridge::start("");
    assert_eq!(bridge.run(0, &["queue"]).0, "");
    bridge.set_queue(QUEUE);
    let rows = bridge.json(&["queue"]);
    let reason = "host mx.x.org[192.0.2.1] said: 450 …: … is busy";
    let x = json!({
        "domain": "x.org", "messages": 2, "recipients": 2, "oldest": 1_700_000_000,
        "octets": 3072, "reason": reason,
    });
    let y = json!({
        "domain": "y.org", "messages": 1, "recipients": 1, "oldest": 1_700_000_000,
        "octets": 2048, "reason": null,
    });
    assert_eq!(rows, [x, y]);
    let (table, _) = bridge.run(0, &["queue"]);
    let lines: Vec<Vec<_>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["DESTINATION", "MESSAGES", "OLDEST", "SIZE", "REASON"]
    );
    assert_eq!(
        (&lines[1][..2], &lines[1][5..7]),
        (&["x.org", "2"][..], &["3.0", "KiB"][..])
    );
    assert!(table.contains(reason) && !table.contains('@'));
    assert_eq!(lines[2].last(), Some(&"-"));
    assert_eq!(bridge.json(&["peers", "x.org"])[0]["queued"], json!(2));
}

#[test]
fn a_queue_that_cannot_be_read_is_said_to_be() {
    let bridge = Bridge::start("");
    bridge.set_queue("echo 'postqueue: fatal: mail system is down' >&2; exit 69");
    let (out, err) = bridge.run(69, &["queue"]);
    assert_eq!(out, "");
    assert!(err.contains("mail system is down"), "{err}");
    // The peers are shown all the same, without it.
    let [peer] = &bridge.json(&["peers", "x.org"])[..] else {
        panic!("not one peer")
    };
    assert_eq!(peer["queued"], json!(null));
    bridge.set_queue("echo '{}'");
    let (_, err) = bridge.run(70, &["queue"]);
    assert!(
        err.contains("1 messages of the queue could not be read"),
        "{err}"
    );
}

#[test]
fn a_peer_without_data_has_no_figures() {
    let bridge = Bridge::start("");
    let (table, _) = bridge.run(0, &["peers", "x.org"]);
    let line: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    let none = ["-", "-", "-", "-", "-", "-"];
    assert_eq!((line[0], &line[2..8], line[8]), ("x.org", &none[..], "0"));
    assert!(!table.contains('%'), "{table}");
}
