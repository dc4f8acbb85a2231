//! The daemon as Dovecot, filtermail and broken clients meet it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use chatmail::policy::{Policy, PolicyClient};
use common::{Relay, Store};
use doveauth::Drained;
use rstest::rstest;
use serde_json::Value;

fn object(reply: &str) -> Value {
    serde_json::from_str(reply.strip_prefix('O').unwrap()).unwrap()
}

/// What Dovecot sends for a login.
fn passdb(password: &str, address: &str) -> String {
    format!("Lshared/passdb/{password}\"{address}\t{address}")
}

#[rstest]
#[case("H2\t2\t0\t\tauth", "Lshared/userdb/bob@x.org")]
#[case("H3\t2\t0\t\tauth", "Lshared/userdb/bob@x.org\tbob@x.org")]
#[case("H4\t0\t0\t\tauth", "Lshared/userdb/bob@x.org\tbob@x.org")]
#[tokio::test]
async fn every_version_of_dovecot_is_answered(
    #[case] hello: &str,
    #[case] lookup: &str,
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "");
    let mut dovecot = relay.connect("auth").await;
    dovecot.send(format!("{hello}\n").as_bytes()).await;
    assert_eq!(dovecot.ask(lookup).await, "N");
    let created = object(&dovecot.ask(&passdb("a password", "bob@x.org")).await);
    assert_eq!(created["addr"], "bob@x.org");
    assert_eq!(
        created["home"],
        relay.path("mail/bob@x.org").to_str().unwrap()
    );
    assert_eq!(created["uid"], nix::unistd::geteuid().to_string());
    assert_eq!(created["gid"], nix::unistd::getegid().to_string());
    assert!(
        created["password"]
            .as_str()
            .unwrap()
            .starts_with("{SHA512-CRYPT}$6$")
    );
    assert_eq!(object(&dovecot.ask(lookup).await), created);
    assert_eq!(
        object(&dovecot.ask(&passdb("another", "BOB@X.org")).await),
        created
    );
}

#[rstest]
#[case("a/password")]
#[case("a password\x01twith tab")]
#[case(r#"a \"quoted\" \'password\' \\"#)]
#[case("line\x01nbreak\x01r and \x011")]
#[tokio::test]
async fn a_password_may_hold_anything(
    #[case] password: &str,
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "");
    let reply = relay
        .ask("auth", (passdb(password, "bob@x.org") + "\n").as_bytes())
        .await;
    assert_eq!(object(&reply)["addr"], "bob@x.org");
}

#[rstest]
#[tokio::test]
async fn a_password_need_not_be_text(#[values(Store::Files, Store::Postgres)] store: Store) {
    let relay = Relay::on(store, "");
    let request = b"Lshared/passdb/\xff\xfe\xfd\xfc\xff\xfe\xfd\xfc\xff\"bob@x.org\tbob@x.org\n";
    assert_eq!(
        object(&relay.ask("auth", request).await)["addr"],
        "bob@x.org"
    );
}

#[rstest]
#[case("shared/passdb/short\"bob@x.org")]
#[case("shared/passdb/a password\"bob@y.org")]
#[case("shared/passdb/a password\"../bob@x.org")]
#[case("shared/passdb/a password\"..@x.org")]
#[case("shared/passdb/a password\"bob\x010@x.org")]
#[case("shared/passdb/a password\"bob@[192.0.2.1]")]
#[case("shared/passdb/a password\"bob")]
#[case("shared/passdb/a password\"")]
#[case("shared/passdb/a password")]
#[case("shared/userdb/bob@x.org")]
#[case("shared/userdb/../x")]
#[case("shared/other/bob@x.org")]
#[case("")]
#[tokio::test]
async fn what_is_not_allowed_is_not_found(
    #[case] key: &str,
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "");
    assert_eq!(
        relay.ask("auth", format!("L{key}\tbob\n").as_bytes()).await,
        "N\n"
    );
    assert!(relay.is_empty().await);
}

#[tokio::test]
async fn a_broken_store_fails_and_is_not_a_refusal() {
    let relay = Relay::start("");
    fs::write(relay.path("mail/bob@x.org"), "a file").unwrap();
    let lookup = passdb("a password", "bob@x.org") + "\nLshared/userdb/bob@x.org\n";
    let reply = relay.ask("auth", lookup.as_bytes()).await;
    let lines: Vec<_> = reply.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with('F') && !line.contains("bob")),
        "{reply}"
    );
    assert!(
        relay
            .ask("policy", b"Lshared/policy/bob@x.org\n")
            .await
            .starts_with('F')
    );
    let login = b"B1\tbob@x.org\nS1\tshared/last-login/bob@x.org\t1700000000\nC1\n";
    assert!(relay.ask("last-login", login).await.starts_with("F1\t"));
}

#[rstest]
#[tokio::test]
async fn all_accounts_are_listed_in_pieces(#[values(Store::Files, Store::Postgres)] store: Store) {
    let relay = Relay::on(store, "");
    match store {
        Store::Files => {
            for number in 0..5000 {
                let home = relay.path(&format!("mail/a{number:07}@x.org"));
                fs::create_dir(&home).unwrap();
                fs::write(home.join("password"), "{PLAIN}x").unwrap();
            }
        }
        Store::Postgres => {
            assert!(relay.is_empty().await);
            relay.sql(
                "INSERT INTO accounts SELECT 'a' || lpad(number::text, 7, '0') || '@x.org', '{PLAIN}x', 1 \
                FROM generate_series(0, 4999) AS number",
            );
        }
    }
    let reply = relay
        .ask("auth", b"H3\t2\t0\t\tauth\nI0\t0\tshared/userdb/\t\n")
        .await;
    let mut rows: Vec<_> = reply.strip_suffix("\n\n").unwrap().split('\n').collect();
    rows.sort_unstable();
    assert_eq!(rows.len(), 5000);
    assert_eq!(rows[4999], "Oshared/userdb/a0004999@x.org\t");

    let three = relay.ask("auth", b"I0\t3\tshared/userdb/\t\n").await;
    assert_eq!(three.lines().count(), 4);
    assert_eq!(
        relay.ask("auth", b"I0\t0\tshared/elsewhere/\t\n").await,
        "\n"
    );
    let sorted = relay.ask("auth", b"I2\t0\tshared/userdb/\t\nLx\t\n").await;
    assert_eq!(sorted, "Fsorted iteration is not served\nN\n");
}

#[rstest]
#[tokio::test]
async fn answers_come_in_the_order_of_the_questions(
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "");
    let mut request = String::new();
    for number in 0..300 {
        request += &format!(
            "Lshared/userdb/nobody\t\n{}\n",
            passdb("short", "bob@x.org")
        );
        if number % 100 == 50 {
            request += &format!("{}\n", passdb("a password", &format!("bob{number}@x.org")));
        }
    }
    let reply = relay.ask("auth", request.as_bytes()).await;
    let found: Vec<_> = reply
        .lines()
        .enumerate()
        .filter(|(_, line)| *line != "N")
        .map(|(at, _)| at)
        .collect();
    assert_eq!(reply.lines().count(), 603);
    assert_eq!(found, [102, 303, 504]);
}

#[tokio::test]
async fn logins_are_noted_by_day_also_when_replayed() {
    let relay = Relay::start("");
    relay
        .ask(
            "auth",
            (passdb("a password", "bob@x.org") + "\n").as_bytes(),
        )
        .await;
    let file = fs::File::open(relay.path("mail/bob@x.org/password")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let modified = || {
        let modified = file.metadata().unwrap().modified().unwrap();
        modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };

    let mut dovecot = relay.connect("last-login").await;
    dovecot.send(b"H4\t0\t0\t\tlastlogin\n").await;
    let login = |time: u64| {
        format!("B1\tbob@x.org\t0\nT1\t{time}\t0\nS1\tshared/last-login/bob@x.org\t{time}\nC1")
    };
    for _ in 0..2 {
        assert_eq!(dovecot.ask(&login(1_700_000_000)).await, "O1");
        assert_eq!(modified(), 1_699_920_000);
    }
    assert_eq!(dovecot.ask(&login(1_600_000_000)).await, "O1");
    assert_eq!(modified(), 1_699_920_000);
    assert_eq!(dovecot.ask(&login(99_999_999_999)).await, "O1");
    assert!(modified() <= SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs());

    let stranger = "B2\t\nS2\tshared/last-login/eve@x.org\t1700000000\nC2";
    assert_eq!(dovecot.ask(stranger).await, "O2");
    assert!(!relay.path("mail/eve@x.org").exists());
    let rolled_back = "B1\t\nS1\tshared/last-login/bob@x.org\tnonsense\nR1\nC1";
    assert_eq!(dovecot.ask(rolled_back).await, "F1\tunknown transaction");
    assert_eq!(
        dovecot.ask("Lshared/last-login/bob@x.org\tbob@x.org").await,
        "N"
    );
}

#[rstest]
#[case("S1\tshared/last-login/bob@x.org\tnow")]
#[case("S1\tshared/last-login/bob@x.org\t-1")]
#[case("S1\tshared/last-login/bob@x.org\t18446744073709551615")]
#[case("S1\tpriv/last-login/bob@x.org\t1700000000")]
#[case("U1\tshared/last-login/bob@x.org")]
#[case("A1\tshared/last-login/bob@x.org\t1")]
#[tokio::test]
async fn other_changes_fail(
    #[case] change: &str,
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "");
    let request = format!("B1\tbob\n{change}\nC1\n");
    assert!(
        relay
            .ask("last-login", request.as_bytes())
            .await
            .starts_with("F1\t")
    );
    assert!(
        relay
            .ask("auth", request.as_bytes())
            .await
            .starts_with("F1\t")
    );
}

#[tokio::test]
async fn policies_are_told_to_our_own_daemons() {
    let relay = Relay::start("max_mailbox_size = 1k");
    let client = PolicyClient::new(relay.path("policy"));
    let bob = "bob@x.org".parse().unwrap();
    assert_eq!(client.lookup(&bob).await.unwrap(), Policy::default());
    relay
        .ask(
            "auth",
            (passdb("a password", "bob@x.org") + "\n").as_bytes(),
        )
        .await;
    let fresh = Policy {
        exists: true,
        ..Policy::default()
    };
    assert_eq!(client.lookup(&bob).await.unwrap(), fresh);
    fs::remove_file(relay.path("mail/bob@x.org/enforceE2EEincoming")).unwrap();
    fs::write(relay.path("mail/bob@x.org/maildirsize"), "1024S\n1024 1\n").unwrap();
    let full = Policy {
        cleartext: true,
        over_quota: true,
        ..fresh
    };
    assert_eq!(client.lookup(&bob).await.unwrap(), full);

    let json = relay.ask("policy", b"Lshared/policy/nonsense\t\n").await;
    let nobody = r#"{"exists":false,"cleartext":false,"blocked":false,"over_quota":false}"#;
    assert_eq!(json, format!("O{nobody}\n"));
    assert_eq!(
        relay.ask("policy", b"Lshared/other/bob@x.org\t\n").await,
        "N\n"
    );
}

#[rstest]
#[case(b"garbage\n", "unknown command")]
#[case(b"\n", "empty line")]
#[case(b"\xff\xfe\xfd\n", "unknown command")]
#[case(b"GET / HTTP/1.1\r\n\r\n", "unknown command")]
#[case(b"H9\t0\t0\t\tauth\n", "unsupported protocol version")]
#[case(b"S1\n", "a field is missing")]
#[case(b"Cx\n", "a number was expected")]
#[case(b"B1\nB1\n", "transaction begun twice")]
#[tokio::test]
async fn garbage_is_refused_and_ends_the_connection(#[case] garbage: &[u8], #[case] why: &str) {
    let relay = Relay::start("");
    for socket in ["auth", "last-login", "policy"] {
        let mut client = relay.connect(socket).await;
        client.send(&[b"Lx\t\n", garbage, b"Lx\t\n"].concat()).await;
        assert_eq!(
            client.until_closed().await,
            format!("N\nF{why}\n"),
            "{socket}"
        );
        assert_eq!(relay.ask(socket, b"Lx\t\n").await, "N\n");
    }
}

#[tokio::test]
async fn a_line_over_64_kib_ends_the_connection() {
    let relay = Relay::start("");
    let line = |length: usize| [b"L".as_slice(), &vec![b'x'; length - 1], b"\n"].concat();
    assert_eq!(relay.ask("auth", &line(64 * 1024)).await, "N\n");
    let mut client = relay.connect("auth").await;
    client.send(&line(64 * 1024 + 1)).await;
    assert_eq!(client.until_closed().await, "Fline too long\n");
    // Without an end as well, and without waiting for one.
    let mut client = relay.connect("auth").await;
    client.send(&vec![b'x'; 200_000]).await;
    assert!(client.until_closed().await.starts_with("Fline too long"));
}

#[tokio::test]
async fn an_unfinished_line_is_not_a_command() {
    let relay = Relay::start("");
    let unfinished = passdb("a password", "bob@x.org");
    assert_eq!(relay.ask("auth", unfinished.as_bytes()).await, "");
    assert!(!relay.path("mail/bob@x.org").exists());
}

#[rstest]
#[tokio::test]
async fn a_stop_answers_what_was_asked(#[values(Store::Files, Store::Postgres)] store: Store) {
    let mut relay = Relay::on(store, "");
    let mut idle = relay.connect("auth").await;
    assert_eq!(idle.ask("Lx\t").await, "N");
    let mut busy = relay.connect("auth").await;
    assert_eq!(busy.ask("Lx\t").await, "N");
    let creations: String = (0..20)
        .map(|number| passdb("a password", &format!("bob{number}@x.org")) + "\n")
        .collect();
    busy.send(creations.as_bytes()).await;
    assert!(busy.line().await.starts_with("O{"));
    relay.begin_stop();
    let answers = busy.until_closed().await;
    assert_eq!(
        answers
            .lines()
            .filter(|line| line.starts_with("O{"))
            .count(),
        19
    );
    assert_eq!(idle.until_closed().await, "");
    assert_eq!(relay.stop().await, Drained::All);
}

#[tokio::test]
async fn two_thousand_idle_connections_are_no_burden() {
    let relay = Relay::start("");
    // Each takes two descriptors of this process.
    let (_, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let mut idle = Vec::new();
    for _ in 0..2000 {
        idle.push(relay.connect("auth").await);
    }
    assert_eq!(relay.ask("auth", b"Lx\t\n").await, "N\n");
    assert_eq!(idle[1999].ask("Lx\t").await, "N");
    drop(idle);
    assert_eq!(relay.stop().await, Drained::All);
}

#[tokio::test]
async fn sockets_are_for_those_who_need_them() {
    let relay = Relay::start("");
    let mode = |name| fs::metadata(relay.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("auth"), mode("last-login"), mode("policy")),
        (0o660, 0o660, 0o666)
    );
}

#[rstest]
#[tokio::test]
async fn first_logins_at_once_over_many_connections(
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "");
    let mut connections = Vec::new();
    for _ in 0..50 {
        connections.push(relay.connect("auth").await);
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        let login = passdb(&format!("a password {number}"), "bob@x.org") + "\n";
        connection.send(login.as_bytes()).await;
    }
    let mut replies = Vec::new();
    for connection in &mut connections {
        replies.push(connection.line().await);
    }
    assert!(replies[0].starts_with("O{"));
    assert!(replies.iter().all(|reply| *reply == replies[0]));
}

#[tokio::test]
async fn logs_tell_of_creations_and_refusals_and_keep_passwords_out() {
    common::log::keep();
    let relay = Relay::start("max_creations_per_minute = 1");
    let ask = |request: String| {
        let relay = &relay;
        async move { relay.ask("auth", format!("{request}\n").as_bytes()).await }
    };
    assert!(
        ask(passdb("xyzzy-password", "plugh1@x.org"))
            .await
            .starts_with("O{")
    );
    assert!(
        ask(passdb("xyzzy-password", "plugh1@x.org"))
            .await
            .starts_with("O{")
    );
    assert_eq!(ask(passdb("xyzzy-password", "plugh2@x.org")).await, "N\n");
    assert_eq!(ask(passdb("xyzzy", "plugh3@x.org")).await, "N\n");
    fs::write(relay.path("mail/plugh4@x.org"), "a file").unwrap();
    assert!(
        ask(passdb("xyzzy-password", "plugh4@x.org"))
            .await
            .starts_with('F')
    );
    assert!(
        ask(format!("?{}", passdb("xyzzy-password", "plugh5@x.org")))
            .await
            .starts_with('F')
    );
    relay.stop().await;

    let log = common::log::kept();
    let named: Vec<_> = log.lines().filter(|line| line.contains("plugh")).collect();
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(
        named[0].ends_with("Created address: plugh1@x.org"),
        "{named:?}"
    );
    for expected in [
        "refused a login: rate",
        "refused a login: password too short",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    assert!(log.contains("cannot read a password file") && log.contains("unknown command"));
    assert!(!log.contains("xyzzy"));
}
