//! `expiry-cron report` with accounts in PostgreSQL: numbers of accounts are those of the rows, sizes those of the mailboxes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::process::Output;

use chatmail::postgres::PostgresAccounts;
use common::{DAY, NOW, Tree};
use postgres_server::Server;

/// A relay with this database, whose backend `one` is here; 150 octets of mail are in mailboxes.
fn tree(url: &str) -> Tree {
    let tree = Tree::with(&format!(
        "database_url = {url}\nbackend_name = one\ndatabase_timeout = 100"
    ));
    // What stands in files is of before, and of nobody.
    tree.account("a@x.org", 0)
        .file("a@x.org/cur/1", 100, 0)
        .file("b@x.org/new/2", 50, 0);
    tree
}

/// The same with tables, and accounts by name, days since their last login, and backend.
fn tree_with(url: &str, accounts: &[(&str, i64, &str)]) -> Tree {
    let tree = tree(url);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let postgres = PostgresAccounts::from_config(&tree.config()).unwrap();
    runtime
        .block_on(postgres.unwrap().postgres().prepare())
        .unwrap();
    for (name, days, backend) in accounts {
        let day = NOW / DAY - days;
        let insert = format!(
            "INSERT INTO accounts (address, password, last_login, backend) \
            VALUES ('{name}@x.org', '{{PLAIN}}x', {day}, nullif('{backend}', ''))"
        );
        Server::shared().sql(Server::name(url), &insert);
    }
    tree
}

fn report(tree: &Tree, arguments: &[&str]) -> Output {
    let now = NOW.to_string();
    tree.command(&[&["report", "--now", &now], arguments].concat())
}

fn text(octets: Vec<u8>) -> String {
    String::from_utf8(octets).unwrap()
}

#[test]
fn accounts_are_the_rows_of_this_backend() {
    let url = Server::shared().database();
    let tree = tree_with(
        &url,
        &[
            ("today", 0, "one"),
            ("yesterday", 1, "one"),
            ("ci-test", 0, "one"),
            ("ci", 9, "one"),
            ("nobodys", 29, ""),
            ("timeless", NOW / DAY, "one"),
            ("elsewhere", 0, "two"),
        ],
    );
    let output = report(&tree, &["--json"]);
    assert_eq!(
        (output.status.code(), text(output.stderr)),
        (Some(0), String::new())
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["mailboxes"], 2);
    assert_eq!(json["storage"]["messages"], 150);
    // Of all mailboxes.
    assert_eq!(json["messages"][0]["count"], 2);
    let accounts = &json["accounts"];
    assert_eq!(
        (&accounts["all"], &accounts["ci"], &accounts["user"]),
        (&6.into(), &1.into(), &5.into())
    );
    let active: Vec<_> = accounts["active"].as_array().unwrap().iter().collect();
    let active: Vec<_> = active
        .iter()
        .map(|one| one["accounts"].as_u64().unwrap())
        .collect();
    // Yesterday began more than a day ago.
    assert_eq!(active, [1, 3, 4, 4, 4, 4, 4]);

    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().to_str().unwrap();
    assert_eq!(
        report(&tree, &["--textfile", target]).status.code(),
        Some(0)
    );
    let metrics = std::fs::read_to_string(folder.path().join("fsreport.prom")).unwrap();
    for line in [
        "chatmail_storage_bytes{kind=\"messages\"} 150",
        "chatmail_accounts{kind=\"all\"} 6",
        "chatmail_accounts{kind=\"ci\"} 1",
        "chatmail_accounts_active{days=\"30\"} 4",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
    let shown = text(report(&tree, &[]).stdout);
    assert!(
        shown.contains("  of tests (ci-)                  1\n"),
        "{shown}"
    );
}

#[test]
fn an_account_that_comes_into_the_database_is_used_as_lately_as_before() {
    for days in [0, 1, 2, 10, 11] {
        let counted = |tree: &Tree| {
            let output = report(tree, &["--json"]);
            let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            json["accounts"].clone()
        };
        let files = Tree::new();
        // The time of a password file is the beginning of the day of the last login.
        files.file("a@x.org/password", 120, days * DAY + NOW % DAY);
        let rows = tree_with(&Server::shared().database(), &[("a", days, "one")]);
        assert_eq!(counted(&files), counted(&rows), "{days} days ago");
    }
}

#[test]
fn without_the_database_there_is_a_report_without_accounts() {
    let tree = tree(&Server::shared().url("nosuch"));
    let output = report(&tree, &["--json"]);
    assert_eq!(output.status.code(), Some(70));
    let told = text(output.stderr);
    assert!(
        told.contains("accounts are not counted: PostgreSQL:"),
        "{told}"
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["accounts"], serde_json::Value::Null);
    assert_eq!(
        (&json["storage"]["messages"], &json["errors"]),
        (&150.into(), &0.into())
    );

    let shown = text(report(&tree, &[]).stdout);
    assert!(
        shown.ends_with("\nAccounts\n  not known: the database does not answer\n"),
        "{shown}"
    );

    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().to_str().unwrap();
    assert_eq!(
        report(&tree, &["--textfile", target]).status.code(),
        Some(70)
    );
    let metrics = std::fs::read_to_string(folder.path().join("fsreport.prom")).unwrap();
    assert!(metrics.contains("chatmail_storage_bytes"), "{metrics}");
    assert!(!metrics.contains("chatmail_accounts"), "{metrics}");
}

#[test]
fn sizes_by_the_age_of_logins_are_not_told_wrong() {
    let tree = tree(&Server::shared().url("nosuch"));
    let output = report(&tree, &["--min-login-age", "40"]);
    assert_eq!(
        (output.status.code(), text(output.stdout)),
        (Some(70), String::new())
    );
    let told = text(output.stderr);
    assert!(
        told.contains("--min-login-age is not possible with a database_url"),
        "{told}"
    );
}
