//! `block`: with the real doveauth, in this process.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use chatmail::Config;
use chatmail::policy::PolicyClient;
use nix::unistd::{User, geteuid};
use serde_json::json;
use tokio::sync::oneshot;

use crate::bridge::{Bridge, PATIENCE};

/// Starts doveauth beside a bridge; it ends when the sender is dropped.
fn start_doveauth(bridge: &Bridge) -> oneshot::Sender<()> {
    let at = |name: &str| bridge.path(name).display().to_string();
    let text = format!(
        "[params]\nmail_domain = chat.example\nmailboxes_dir = {}\ndoveauth_socket = {}\n\
         lastlogin_socket = {}\nmetadata_socket = {}\npolicy_socket = {}\nblocks_socket = {}\n\
         database_path = {}\nnotification_queue_path = {}\nmail_user = {}\ndoveauth_metrics =\n",
        at("mail"),
        at("auth.sock"),
        at("lastlogin.sock"),
        at("metadata.sock"),
        at("policy.sock"),
        at("blocks.sock"),
        at("chatmail.sqlite"),
        at("notifications.sqlite"),
        User::from_uid(geteuid()).unwrap().unwrap().name,
    );
    let (config, _) = Config::parse(&text, Path::new("doveauth.ini")).unwrap();
    let daemon = doveauth::Daemon::bind(&config).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(daemon.run(async { drop(stopped.await) }, PATIENCE));
    stop
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_doveauth_is_shown_and_changed() {
    let bridge = Bridge::start("");
    let _doveauth = start_doveauth(&bridge);
    let policy = PolicyClient::new(bridge.path("policy.sock"));
    let mallory = "mallory@spam.example".parse().unwrap();
    let is_blocked = async || policy.is_blocked(None, Some(&mallory)).await.unwrap();

    assert_eq!(bridge.run(0, &["block", "list"]).0, "");
    let add = [
        "block",
        "add",
        "--note",
        "sends offers",
        "Spam.example",
        "a@x.org",
    ];
    let (out, _) = bridge.run(0, &add);
    assert_eq!(out, "added spam.example\nadded a@x.org\n");
    assert!(is_blocked().await);
    let (out, _) = bridge.run(0, &["block", "add", "spam.example", "192.0.2.0/24"]);
    assert_eq!(out, "unchanged spam.example\nadded 192.0.2.0/24\n");
    let (out, _) = bridge.run(0, &["block", "add", "--note", "x", "a@x.org"]);
    assert_eq!(out, "noted a@x.org\n");

    let (list, _) = bridge.run(0, &["block", "list"]);
    let lines: Vec<Vec<_>> = list
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let shown: Vec<_> = lines.iter().map(|line| (line[0], line[2])).collect();
    let expected = [
        ("192.0.2.0/24", ""),
        ("a@x.org", "x"),
        ("spam.example", "sends offers"),
    ];
    assert_eq!(shown, expected);
    let last = json!({
        "entry": "spam.example", "kind": "domain", "added": lines[2][1], "note": "sends offers",
    });
    assert_eq!(bridge.json(&["block", "list"])[2], last);

    let (out, _) = bridge.run(1, &["block", "remove", "spam.example", "y.org", "--json"]);
    let outcome = |entry, outcome| json!({ "entry": entry, "kind": "domain", "outcome": outcome });
    let expected = [
        outcome("spam.example", "removed"),
        outcome("y.org", "missing"),
    ];
    let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    assert_eq!(out.lines().map(parse).collect::<Vec<_>>(), expected);
    assert!(!is_blocked().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_come_from_standard_input_too_and_not_too_many() {
    let bridge = Bridge::start("");
    let _doveauth = start_doveauth(&bridge);
    let with_input = |status: i32, input: &str| {
        let mut command = bridge.command(&["block", "add", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    with_input(0, "# a list\nspam.example\n\n192.0.2.1\n");
    let err = with_input(64, "x.org\nnot an entry\n");
    assert!(err.contains("line 2 of standard input"), "{err}");
    let many: String = (0..257).map(|n| format!("spam{n}.example\n")).collect();
    let err = with_input(64, &many);
    assert!(err.contains("doveauth blocks"), "{err}");
    assert_eq!(bridge.json(&["block", "list"]).len(), 2);
}

#[test]
fn without_doveauth_it_is_said_what_to_do() {
    let bridge = Bridge::start("");
    for arguments in [&["block", "list"][..], &["block", "add", "x.org"]] {
        let (out, err) = bridge.run(69, arguments);
        assert_eq!(out, "");
        assert!(err.contains("systemctl status doveauth"), "{err}");
        assert!(err.contains("blocks.sock"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_doveauth_cannot_use_is_a_failure() {
    let bridge = Bridge::start("");
    let _doveauth = start_doveauth(&bridge);
    std::fs::write(bridge.path("chatmail.sqlite"), "garbage").unwrap();
    for arguments in [&["block", "list"][..], &["block", "add", "x.org"]] {
        let (out, err) = bridge.run(70, arguments);
        assert_eq!(out, "");
        assert!(err.contains("doveauth says: block list: "), "{err}");
    }
}
