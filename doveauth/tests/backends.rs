//! A relay of several hosts: accounts in PostgreSQL, mailboxes on backends, sessions sent to them by fronts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use common::Relay;
use common::questions::{login, userdb};
use postgres_server::Server;
use serde_json::Value;

/// The fields of an answer.
fn fields(answer: &str) -> Value {
    serde_json::from_str(answer.strip_prefix('O').unwrap()).unwrap()
}

fn host(url: &str, name: &str) -> Relay {
    Relay::start(&format!("database_url = {url}\nbackend_name = {name}"))
}

/// What a command on a host says, and how it ends.
fn backends(relay: &Relay, arguments: &[&str]) -> (i32, String) {
    relay.operator(&[&["backends"], arguments].concat())
}

#[tokio::test]
async fn accounts_go_to_backends_by_weight_and_fronts_say_where() {
    let url = Server::shared().database();
    let (front, one, two) = (host(&url, ""), host(&url, "one"), host(&url, "two"));
    assert_eq!(
        backends(&front, &["add", "one", "192.0.2.1"]),
        (0, "added one\n".into())
    );
    let added = backends(&front, &["add", "--weight", "2", "two", "192.0.2.2"]);
    assert_eq!(added, (0, "added two\n".into()));
    for number in 0..9 {
        let name = format!("user{number}");
        let made = fields(&front.ask("auth", login(&name).as_bytes()).await);
        assert_eq!(made["proxy"], "y");
        let home = made["host"].as_str().unwrap();
        let (here, there) = match home {
            "192.0.2.1" => (&one, &two),
            "192.0.2.2" => (&two, &one),
            other => panic!("no backend has the address {other}"),
        };
        for question in [login(&name), userdb(&name)] {
            let answer = fields(&here.ask("auth", question.as_bytes()).await);
            assert!(answer.get("proxy").is_none() && answer.get("host").is_none());
            assert_eq!(
                answer["home"],
                here.path(&format!("mail/{name}@x.org")).to_str().unwrap()
            );
            assert_eq!(answer["password"], made["password"]);
        }
        for other in [there, &front] {
            let answer = fields(&other.ask("auth", login(&name).as_bytes()).await);
            assert_eq!(
                (&answer["proxy"], &answer["host"]),
                (&"y".into(), &home.into())
            );
            // Nothing is delivered where the mailbox is not.
            let answer = other.ask("auth", userdb(&name).as_bytes()).await;
            assert!(answer.starts_with('F'), "{answer}");
        }
    }
    let (status, listed) = backends(&front, &["list"]);
    let expected = "one\t192.0.2.1\t1\tactive\t3\ntwo\t192.0.2.2\t2\tactive\t6\n";
    assert_eq!((status, listed.as_str()), (0, expected));
    // Mailbox directories are Dovecot's business, and a front has none.
    assert!(!front.path("mail").exists());
    let names = std::fs::read_dir(one.path("mail")).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.all(|name| !name.contains('@')));
}

#[tokio::test]
async fn a_drained_backend_gets_no_accounts_and_one_with_accounts_stays() {
    let url = Server::shared().database();
    let front = host(&url, "");
    assert_eq!(
        backends(&front, &["drain", "one"]),
        (1, "missing one\n".into())
    );
    assert_eq!(
        backends(&front, &["remove", "one"]),
        (1, "missing one\n".into())
    );
    assert_eq!(backends(&front, &["add", "one", "not a host"]).0, 2);
    backends(&front, &["add", "one", "192.0.2.1"]);
    backends(&front, &["add", "two", "192.0.2.2"]);
    assert_eq!(
        backends(&front, &["drain", "two"]),
        (0, "drained two\n".into())
    );
    for name in ["bob", "eve", "carol"] {
        let made = fields(&front.ask("auth", login(name).as_bytes()).await);
        assert_eq!(made["host"], "192.0.2.1");
    }
    let (status, said) = backends(&front, &["remove", "one"]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("3 accounts"), "{said}");
    assert_eq!(
        backends(&front, &["remove", "two"]),
        (0, "removed two\n".into())
    );

    backends(&front, &["drain", "one"]);
    let answer = front.ask("auth", login("dave").as_bytes()).await;
    assert!(
        answer.starts_with('F') && answer.contains("no backend takes accounts"),
        "{answer}"
    );
    assert_eq!(front.ask("auth", userdb("dave").as_bytes()).await, "N\n");
    let there = fields(&front.ask("auth", login("bob").as_bytes()).await);
    assert_eq!(there["host"], "192.0.2.1");
    assert_eq!(
        backends(&front, &["add", "one", "192.0.2.9"]),
        (0, "changed one\n".into())
    );
    let made = fields(&front.ask("auth", login("dave").as_bytes()).await);
    assert_eq!(made["host"], "192.0.2.9");
}

#[tokio::test]
async fn the_first_backend_adopts_the_accounts_of_a_relay_of_one_host() {
    let url = Server::shared().database();
    let relay = host(&url, "one");
    let made = fields(&relay.ask("auth", login("bob").as_bytes()).await);
    assert!(made.get("proxy").is_none());
    backends(&relay, &["add", "two", "192.0.2.2"]);
    let (_, listed) = backends(&relay, &["list"]);
    assert!(listed.contains("1 accounts are of no backend"), "{listed}");
    backends(&relay, &["add", "--adopt", "one", "192.0.2.1"]);
    let (_, listed) = backends(&relay, &["list"]);
    assert_eq!(
        listed,
        "one\t192.0.2.1\t1\tactive\t1\ntwo\t192.0.2.2\t1\tactive\t0\n"
    );
    let front = host(&url, "");
    let there = fields(&front.ask("auth", login("bob").as_bytes()).await);
    assert_eq!(there["host"], "192.0.2.1");
}

/// Each host has what it needs to make the account when it hears that there is none.
#[tokio::test]
async fn of_first_logins_on_several_hosts_at_once_exactly_one_wins() {
    let url = Server::shared().database();
    let hosts = [host(&url, "one"), host(&url, "two"), host(&url, "")];
    backends(&hosts[0], &["add", "one", "192.0.2.1"]);
    for round in 0..10 {
        let mut connections = Vec::new();
        for relay in &hosts {
            for number in 0..4 {
                let name = format!("user{round}");
                let question = login(&name).replace("a password", &format!("password {number}"));
                let connection = relay.connect("auth").await;
                connections.push((connection, question));
            }
        }
        for (connection, question) in &mut connections {
            connection.send(question.as_bytes()).await;
        }
        let mut hashes = Vec::new();
        for (connection, _) in &mut connections {
            let answer = fields(&connection.line().await);
            hashes.push(answer["password"].as_str().unwrap().to_owned());
        }
        hashes.dedup();
        assert_eq!(hashes.len(), 1);
    }
    let count = "SELECT count(*), sum(accounts) FROM accounts, (SELECT sum(accounts) AS accounts FROM backend_accounts) c";
    let count = Server::shared().sql(
        Server::name(&url),
        &count.replace(
            "sum(accounts) FROM accounts",
            "min(c.accounts) FROM accounts",
        ),
    );
    assert_eq!(count, "10|10");
}
