//! `expiry-cron report`: the numbers, for people, programs and Prometheus.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::{NOW, Tree};

const MEBIBYTE: u64 = 1 << 20;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.account("a@x.org", 0)
        .file("a@x.org/cur/1", 3 * MEBIBYTE, 0)
        .file("a@x.org/new/2", 200 * 1024, 0)
        .file("a@x.org/.Folder/cur/3", 10, 0)
        .file("a@x.org/dovecot.index", 1000, 0)
        .account("b@x.org", 35)
        .file("b@x.org/cur/1", 5, 0)
        .account("ci-test@x.org", 2)
        .file("without-account@x.org/cur/1", 7, 0)
        .file("nobody/cur/1", 999, 0);
    tree
}

fn report(arguments: &[&str]) -> String {
    let now = NOW.to_string();
    let output = tree().command(&[&["report", "--now", &now], arguments].concat());
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn json_has_all_numbers() {
    let json: serde_json::Value = serde_json::from_str(&report(&["--json"])).unwrap();
    let messages = 3 * MEBIBYTE + 200 * 1024 + 10 + 5 + 7;
    let expected = serde_json::json!({
        "mailboxes": 4,
        "storage": { "messages": messages, "other": 1000 + 3 * 120 },
        "messages": [
            { "min_size": 0, "count": 4, "bytes": messages - 7 },
            { "min_size": 100 * 1024, "count": 2, "bytes": 3 * MEBIBYTE + 200 * 1024 },
            { "min_size": 512 * 1024, "count": 1, "bytes": 3 * MEBIBYTE },
            { "min_size": MEBIBYTE, "count": 1, "bytes": 3 * MEBIBYTE },
            { "min_size": 2 * MEBIBYTE, "count": 1, "bytes": 3 * MEBIBYTE },
            { "min_size": 5 * MEBIBYTE, "count": 0, "bytes": 0 },
            { "min_size": 10 * MEBIBYTE, "count": 0, "bytes": 0 },
        ],
        "accounts": {
            "all": 3,
            "ci": 1,
            "user": 2,
            "active": [
                { "days": 1, "accounts": 1 },
                { "days": 10, "accounts": 1 },
                { "days": 30, "accounts": 1 },
                { "days": 40, "accounts": 2 },
                { "days": 80, "accounts": 2 },
                { "days": 100, "accounts": 2 },
                { "days": 150, "accounts": 2 },
            ],
        },
        "errors": 0,
    });
    assert_eq!(json, expected);
}

#[test]
fn sizes_can_be_told_of_some_messages_only() {
    let count = |arguments: &[&str]| {
        let json = report(&[&["--json"], arguments].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["messages"][0]["count"].as_u64().unwrap()
    };
    assert_eq!(count(&["--mdir", "cur"]), 3);
    assert_eq!(count(&["--mdir", "new"]), 1);
    assert_eq!(count(&["--mdir", "tmp"]), 0);
    assert_eq!(count(&["--min-login-age", "30"]), 1);
    assert_eq!(count(&["--max", "0"]), 0);
}

#[test]
fn the_text_has_bars() {
    let text = report(&[]);
    for line in [
        "Storage in 4 mailboxes\n",
        "  messages                  3.1 MiB   99.9 %  ████████████████████████\n",
        "  from 1 MiB           1    3.0 MiB   93.8 %  ███████████████████████\n",
        "  of tests (ci-)                  1\n",
        "  used in the last day            1   50.0 %  ████████████\n",
        "  in the last 40 days             2  100.0 %  ████████████████████████\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn prometheus_gets_the_names_of_a_classic_relay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fsreport.prom");
    for target in [folder.path(), &path] {
        let printed = report(&["--textfile", target.to_str().unwrap()]);
        assert_eq!(printed, "");
        let text = fs::read_to_string(&path).unwrap();
        for line in [
            "# TYPE chatmail_storage_bytes gauge",
            "chatmail_storage_bytes{kind=\"messages\"} 3350550",
            "chatmail_storage_bytes{kind=\"extra\"} 1360",
            "chatmail_storage_bytes{kind=\"total\"} 3351910",
            "chatmail_messages_bytes{min_size=\"102400\"} 3350528",
            "chatmail_messages_count{min_size=\"0\"} 4",
            "chatmail_messages_count{min_size=\"10485760\"} 0",
            "chatmail_accounts{kind=\"all\"} 3",
            "chatmail_accounts{kind=\"ci\"} 1",
            "chatmail_accounts{kind=\"user\"} 2",
            "chatmail_accounts_active{days=\"1\"} 1",
            "chatmail_accounts_active{days=\"40\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        // Nothing half written lies about.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    let tree = tree();
    let output = tree.command(&["report", "--textfile", "/nonexistent/folder/x.prom"]);
    assert_eq!(output.status.code(), Some(70));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("cannot write /nonexistent/folder/x.prom"),
        "{told}"
    );
}
