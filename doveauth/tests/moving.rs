//! Accounts move between mailbox directories and PostgreSQL while people log in.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use common::{Connection, Relay};
use postgres_server::Server;
use serde_json::Value;

/// Hashes that logins were answered with, by address.
type Seen = Arc<Mutex<HashMap<String, String>>>;

/// What `doveauth` says to arguments with the configuration in this file of a relay.
fn doveauth(relay: &Relay, file: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_doveauth"))
        .arg("--config")
        .arg(relay.path(file))
        .args(arguments)
        .env_remove("JOURNAL_STREAM")
        .output()
        .unwrap()
}

fn ended(output: &Output, status: i32) -> String {
    let text = String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(status), "{text}");
    text
}

/// Writes a configuration for commands: that of a relay with a database.
fn with_database(relay: &Relay, url: &str) {
    let settings = fs::read_to_string(relay.path("chatmail.ini")).unwrap();
    let text = format!("{settings}database_url = {url}\n");
    fs::write(relay.path("moving.ini"), text).unwrap();
}

/// Logs in with a password of its own. What was answered before has to be answered again; who is told to try again
/// has not got the address.
async fn login(connection: &mut Connection, name: &str, who: &str, seen: &Seen) -> bool {
    let address = format!("{name}@x.org");
    let password = format!("password of {who}");
    let answer = connection
        .ask(&format!("Lshared/passdb/{password}\"{address}\t{address}"))
        .await;
    let Some(fields) = answer.strip_prefix('O') else {
        assert!(answer.starts_with('F'), "{answer}");
        return false;
    };
    let fields: Value = serde_json::from_str(fields).unwrap();
    let hash = fields["password"].as_str().unwrap().to_owned();
    let before = seen
        .lock()
        .unwrap()
        .entry(address)
        .or_insert(hash.clone())
        .clone();
    assert_eq!(before, hash, "two people have {name}");
    true
}

/// People log in on both relays, to addresses of which some are new, until told to stop.
async fn people(
    relays: [&Relay; 2],
    round: &str,
    seen: &Seen,
    stop: Arc<std::sync::atomic::AtomicBool>,
) {
    let work = relays.iter().enumerate().map(|(number, relay)| {
        let stop = Arc::clone(&stop);
        async move {
            let mut connection = relay.connect("auth").await;
            let mut turn = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let name = format!("{round}{}", turn % 200);
                login(&mut connection, &name, &number.to_string(), seen).await;
                turn += 1;
            }
        }
    });
    let [one, other]: [_; 2] = work.collect::<Vec<_>>().try_into().ok().unwrap();
    tokio::join!(one, other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_gets_the_address_of_another_while_accounts_move() {
    let url = Server::shared().database();
    let sql = |statement: &str| Server::shared().sql(Server::name(&url), statement);
    let files = Relay::start("backend_name = here");
    with_database(&files, &url);
    let rows = Relay::start(&format!("database_url = {url}\nbackend_name = here"));
    let seen = Seen::default();
    let mut connection = files.connect("auth").await;
    for number in 0..30 {
        assert!(login(&mut connection, &format!("old{number}"), "before", &seen).await);
    }
    // As a run leaves it that was killed at its beginning. The daemon has made the tables.
    assert_eq!(
        rows.ask("auth", b"Lshared/userdb/bob@x.org\tbob@x.org\n")
            .await,
        "N\n"
    );
    sql("INSERT INTO moves DEFAULT VALUES");

    for command in ["import", "export"] {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let moved = async {
            let path = files.path("moving.ini");
            let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_doveauth"))
                .arg("--config")
                .arg(path)
                .args(["accounts", command])
                .env_remove("JOURNAL_STREAM")
                .output()
                .await;
            // Some logins more, with the store that is open now.
            let (new, old) = match command {
                "import" => (&rows, &files),
                _ => (&files, &rows),
            };
            let mut after = new.connect("auth").await;
            assert!(login(&mut after, &format!("{command}ed"), "after", &seen).await);
            let mut closed = old.connect("auth").await;
            assert!(!login(&mut closed, "anybody", "after", &seen).await);
            stop.store(true, std::sync::atomic::Ordering::SeqCst);
            ended(&output.unwrap(), 0)
        };
        let ((), said) = tokio::join!(
            people([&files, &rows], command, &seen, Arc::clone(&stop)),
            moved
        );
        assert!(said.contains("accounts: "), "{said}");
        let target = match command {
            "import" => &rows,
            _ => &files,
        };
        let mut connection = target.connect("auth").await;
        let all: Vec<String> = seen.lock().unwrap().keys().cloned().collect();
        for address in all {
            let name = address.strip_suffix("@x.org").unwrap();
            assert!(login(&mut connection, name, "somebody else", &seen).await);
        }
    }
}

#[tokio::test]
async fn everything_of_an_account_comes_and_goes_and_so_do_the_small_tables() {
    let url = Server::shared().database();
    let sql = |statement: &str| Server::shared().sql(Server::name(&url), statement);
    let relay = Relay::start("backend_name = here\nregistration = invite");
    with_database(&relay, &url);
    let on_files = |arguments: &[&str]| ended(&doveauth(&relay, "chatmail.ini", arguments), 0);
    let on_rows = |arguments: &[&str]| ended(&doveauth(&relay, "moving.ini", arguments), 0);
    for (name, content, cleartext) in [
        ("bob", "{PLAIN}x\n", false),
        ("eve", "{BLOCKED}{PLAIN}y", true),
        ("locked", "by hand", false),
    ] {
        let home = relay.path(&format!("mail/{name}@x.org"));
        fs::create_dir(&home).unwrap();
        fs::write(home.join("password"), content).unwrap();
        if !cleartext {
            fs::write(home.join("enforceE2EEincoming"), "").unwrap();
        }
        let file = fs::File::open(home.join("password")).unwrap();
        let day = std::time::Duration::from_secs(100 * 86_400);
        file.set_modified(std::time::UNIX_EPOCH + day).unwrap();
    }
    on_files(&["accounts", "create", "gone@x.org"]);
    on_files(&["accounts", "delete", "gone@x.org"]);
    on_files(&["blocks", "add", "--note", "why", "spam.example"]);
    on_files(&["invites", "create", "--uses", "3", "--note", "party"]);

    let said = on_rows(&["accounts", "import"]);
    assert!(
        said.contains("accounts: 3, new in the database: 3"),
        "{said}"
    );
    let said = on_rows(&["accounts", "import"]);
    assert!(
        said.contains("accounts: 3, new in the database: 0"),
        "{said}"
    );
    let listed = sql(
        "SELECT address, convert_from(password, 'UTF8'), blocked, cleartext, last_login FROM accounts ORDER BY 1",
    );
    let expected =
        "bob@x.org|{PLAIN}x\n|f|f|100\neve@x.org|{PLAIN}y|t|t|100\nlocked@x.org|by hand|f|f|100";
    assert_eq!(listed, expected);
    assert_eq!(on_rows(&["blocks", "list"]), on_files(&["blocks", "list"]));
    assert_eq!(
        on_rows(&["invites", "list"]),
        on_files(&["invites", "list"])
    );
    assert_eq!(sql("SELECT count(*) FROM moves"), "0");
    let closed = doveauth(&relay, "chatmail.ini", &["accounts", "create", "new@x.org"]);
    assert!(ended(&closed, 70).contains("accounts are in PostgreSQL"));

    // What changes in the database comes back, and tombstones of either side hold on the other.
    on_rows(&["accounts", "create", "new@x.org"]);
    on_rows(&["accounts", "delete", "bob@x.org"]);
    on_rows(&["accounts", "unblock", "eve@x.org"]);
    on_rows(&["blocks", "remove", "spam.example"]);
    let said = on_rows(&["accounts", "export"]);
    assert!(said.contains("accounts: 3"), "{said}");
    let names = |said: String| {
        let mut names: Vec<_> = said.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    let expected = ["eve@x.org", "locked@x.org", "new@x.org"];
    assert_eq!(names(on_files(&["accounts", "list"])), expected);
    let eve = relay.path("mail/eve@x.org");
    assert_eq!(fs::read(eve.join("password")).unwrap(), b"{PLAIN}y");
    assert!(!eve.join("enforceE2EEincoming").exists());
    assert_eq!(on_files(&["blocks", "list"]), "");
    assert!(on_files(&["invites", "list"]).contains("3/3"));
    let link = on_files(&["invites", "create", "--json"]);
    let made: Value = serde_json::from_str(link.lines().next().unwrap()).unwrap();
    let token = made["token"].as_str().unwrap();
    for name in ["gone", "bob"] {
        let question = format!("Lshared/passdb/{token}-a password\"{name}@x.org\t{name}@x.org\n");
        assert_eq!(
            relay.ask("auth", question.as_bytes()).await,
            "N\n",
            "{name}"
        );
    }
}

#[tokio::test]
async fn accounts_that_are_not_in_the_database_keep_the_daemon_from_starting() {
    let url = Server::shared().database();
    let relay = Relay::start("backend_name = here");
    with_database(&relay, &url);
    ended(
        &doveauth(&relay, "chatmail.ini", &["accounts", "create", "bob@x.org"]),
        0,
    );
    let text = fs::read_to_string(relay.path("moving.ini")).unwrap();
    let (config, _) = chatmail::Config::parse(&text, "moving.ini".as_ref()).unwrap();
    let refused = doveauth::Daemon::bind(&config).err().unwrap();
    assert!(matches!(refused, doveauth::StartError::NotImported));
    // A front has no mailboxes, and one that has none of its own has nothing to move.
    let front = text.replace("backend_name = here", "backend_name =");
    fs::write(relay.path("moving.ini"), front).unwrap();
    let refused = doveauth(&relay, "moving.ini", &["accounts", "import"]);
    assert!(ended(&refused, 2).contains("this host has no mailboxes"));
}
