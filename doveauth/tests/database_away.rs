//! The database is away, silent, slow or full: who logs in gets a definite answer, and never "wrong password".

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use std::sync::Arc;

use common::Relay;
use common::questions::{login, policy, userdb};
use postgres_server::Server;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// What holds while the database gives no answers, for whatever reason.
async fn known_users_work_and_nobody_else(relay: &Relay) {
    for question in [login("bob"), userdb("bob")] {
        let answer = relay.ask("auth", question.as_bytes()).await;
        assert!(answer.starts_with('O'), "{question}{answer}");
    }
    let answer = relay.ask("policy", policy("bob").as_bytes()).await;
    assert!(
        answer.contains("\"exists\":true") && answer.contains("\"cleartext\":false"),
        "{answer}"
    );
    for question in [login("newcomer"), userdb("newcomer")] {
        let answer = relay.ask("auth", question.as_bytes()).await;
        assert!(
            answer.starts_with('F') && !answer.contains("newcomer"),
            "{question}{answer}"
        );
    }
    let answer = relay.ask("policy", policy("newcomer").as_bytes()).await;
    assert!(answer.starts_with('F'), "{answer}");
    let noted = relay
        .ask(
            "last-login",
            b"B1\tbob@x.org\nS1\tshared/last-login/bob@x.org\t1700000000\nC1\n",
        )
        .await;
    assert!(noted.starts_with("F1"), "{noted}");
}

/// Waits until a question is answered by the database again: by itself, without a restart of the daemon.
async fn until_it_is_back(relay: &Relay) {
    for _ in 0..200 {
        let answer = relay.ask("auth", userdb("nobody").as_bytes()).await;
        if answer == "N\n" {
            return;
        }
        assert!(answer.starts_with('F'), "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the database is not found again");
}

/// Waits until bob has an account that is known here, however long a busy machine takes for his first login.
async fn until_bob_is_known(relay: &Relay) {
    until_it_is_back(relay).await;
    for (socket, question) in [("auth", login("bob")), ("policy", policy("bob"))] {
        let mut answer = String::new();
        for _ in 0..200 {
            answer = relay.ask(socket, question.as_bytes()).await;
            if answer.starts_with('O') {
                break;
            }
        }
        assert!(answer.starts_with('O'), "{question}{answer}");
    }
}

#[tokio::test]
async fn a_crashed_database_and_its_return() {
    let mut server = Server::start(&[]);
    let url = server.database();
    let relay = Relay::start(&format!("database_url = {url}\nbackend_name = here"));
    for name in ["bob", "eve", "mallory"] {
        let made = relay.ask("auth", login(name).as_bytes()).await;
        assert!(made.starts_with('O'), "{made}");
    }
    assert!(
        relay
            .ask("policy", policy("bob").as_bytes())
            .await
            .starts_with('O')
    );
    for (command, name) in [("delete", "eve"), ("block", "mallory")] {
        let done = relay.operator(&["accounts", command, &format!("{name}@x.org")]);
        assert_eq!(done.0, 0, "{}", done.1);
        assert_eq!(relay.ask("auth", login(name).as_bytes()).await, "N\n");
    }
    server.stop();
    known_users_work_and_nobody_else(&relay).await;
    // They do not live on through what was known of them.
    for name in ["eve", "mallory"] {
        let answer = relay.ask("auth", login(name).as_bytes()).await;
        assert!(answer.starts_with('F'), "{answer}");
    }
    server.start_again();
    until_it_is_back(&relay).await;
    for (name, expected) in [
        ("bob", 'O'),
        ("newcomer", 'O'),
        ("eve", 'N'),
        ("mallory", 'N'),
    ] {
        let answer = relay.ask("auth", login(name).as_bytes()).await;
        assert!(answer.starts_with(expected), "{name}: {answer}");
    }
}

#[tokio::test]
async fn without_grace_nobody_gets_in() {
    let mut server = Server::start(&[]);
    let url = server.database();
    let relay = Relay::start(&format!(
        "database_url = {url}\nbackend_name = here\nauth_grace = 0"
    ));
    assert!(
        relay
            .ask("auth", login("bob").as_bytes())
            .await
            .starts_with('O')
    );
    server.stop();
    for question in [login("bob"), userdb("bob")] {
        assert!(
            relay
                .ask("auth", question.as_bytes())
                .await
                .starts_with('F')
        );
    }
    assert!(
        relay
            .ask("policy", policy("bob").as_bytes())
            .await
            .starts_with('F')
    );
}

/// A network between us and the server, which can go dead without a word.
struct Network {
    dead: watch::Sender<bool>,
    folder: tempfile::TempDir,
}

impl Network {
    fn new(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let (dead, seen) = watch::channel(false);
        let target = Arc::new(server.socket());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = UnixStream::connect(&*target).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, seen.clone()));
                tokio::spawn(carry(from_server, to_client, seen.clone()));
            }
        });
        Self { dead, folder }
    }
}

async fn carry(
    from: tokio::net::unix::OwnedReadHalf,
    mut to: tokio::net::unix::OwnedWriteHalf,
    mut dead: watch::Receiver<bool>,
) {
    let mut room = vec![0; 65_536];
    loop {
        from.readable().await.unwrap();
        dead.wait_for(|dead| !dead).await.unwrap();
        match from.try_read(&mut room) {
            Ok(0) => return,
            Ok(length) => {
                if to.write_all(&room[..length]).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[tokio::test]
async fn a_database_that_says_nothing() {
    let server = Server::start(&[]);
    let url = server.database();
    let network = Network::new(&server);
    let folder = network.folder.path().display();
    let settings = format!(
        "database_url = host={folder} user=postgres dbname={}",
        Server::name(&url)
    );
    // The server's own limit is above ours here, so that it is ours which ends the question.
    let relay = Relay::start(&format!(
        "{settings} options='-c statement_timeout=100s'\nbackend_name = here\ndatabase_timeout = 5"
    ));
    until_bob_is_known(&relay).await;
    network.dead.send_replace(true);
    known_users_work_and_nobody_else(&relay).await;
    network.dead.send_replace(false);
    until_it_is_back(&relay).await;
}

#[tokio::test]
async fn a_database_that_is_too_slow() {
    let server = Server::start(&[]);
    let url = server.database();
    let relay = Relay::start(&format!(
        "database_url = {url}\nbackend_name = here\ndatabase_timeout = 5"
    ));
    until_bob_is_known(&relay).await;
    let mut other = tokio::process::Command::new("psql")
        .args(["-qX", "-U", "postgres", "-h"])
        .arg(server.folder())
        .arg(Server::name(&url))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = other.stdin.take().unwrap();
    let lock = b"BEGIN; LOCK TABLE accounts, generations; SELECT 'locked';\n";
    input.write_all(lock).await.unwrap();
    let mut said = tokio::io::BufReader::new(other.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("locked") {
        line.clear();
        tokio::io::AsyncBufReadExt::read_line(&mut said, &mut line)
            .await
            .unwrap();
    }
    known_users_work_and_nobody_else(&relay).await;
    drop(input);
    other.wait().await.unwrap();
    until_it_is_back(&relay).await;
}

#[tokio::test]
async fn a_database_without_connections_left() {
    let server = Server::start(&[]);
    let url = server.database();
    server.sql("postgres", "CREATE ROLE few LOGIN CONNECTION LIMIT 1");
    server.sql(
        "postgres",
        &format!("ALTER DATABASE {} OWNER TO few", Server::name(&url)),
    );
    let url = url.replace("user=postgres", "user=few");
    let settings = format!("database_url = {url}\nbackend_name = here\ndatabase_connections = 1");
    let first = Relay::start(&settings);
    // What it does when it starts takes the one connection, too.
    until_bob_is_known(&first).await;
    let second = Relay::start(&settings);
    let answer = second.ask("auth", login("bob").as_bytes()).await;
    assert!(
        answer.starts_with('F') && answer.contains("too many connections"),
        "{answer}"
    );
    first.stop().await;
    server.sql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'few'",
    );
    until_it_is_back(&second).await;
    assert!(
        second
            .ask("auth", login("bob").as_bytes())
            .await
            .starts_with('O')
    );
}

#[tokio::test]
async fn the_block_list_is_one_for_all_hosts_and_holds_while_the_database_is_away() {
    let mut server = Server::start(&[]);
    let url = server.database();
    let front = Relay::start(&format!("database_url = {url}"));
    let here = format!("database_url = {url}\nbackend_name = here");
    let other = Relay::start(&here);
    let question = b"Lshared/blocked/-/mallory@spam.example\tx\n";
    let asked = async |relay: &Relay| relay.ask("policy", question).await;
    let before = asked(&front).await;
    let done = other.operator(&["blocks", "add", "spam.example"]);
    assert_eq!(done.0, 0, "{}", done.1);
    let after = asked(&front).await;
    assert!(
        before.contains("false") && after.contains("true"),
        "{before}{after}"
    );
    server.stop();
    assert_eq!(asked(&front).await, after);
    // One that has not read it does not know.
    let newcomer = Relay::start(&here);
    assert!(asked(&newcomer).await.starts_with('F'));
}
