//! The block list: the command line that changes it, and the daemon that answers from it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each program uses a part of it")]
mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use chatmail::Address;
use chatmail::policy::{PolicyClient, PolicyError};
use common::{Relay, Store};
use rstest::rstest;
use serde_json::{Value, json};

/// `doveauth blocks` on the list of a relay.
fn blocks(relay: &Relay, arguments: &[&str]) -> Command {
    relay.command(&[&["blocks"], arguments].concat())
}

/// Runs it with something to read.
fn with_input(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// What it prints; it must end like this.
fn ended(output: &Output, status: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{out}{err}");
    (out, err)
}

fn run(relay: &Relay, status: i32, arguments: &[&str]) -> String {
    ended(&blocks(relay, arguments).output().unwrap(), status).0
}

/// The entries that `list` prints.
fn listed(relay: &Relay) -> Vec<String> {
    let entry = |line: &str| line.split('\t').next().unwrap().to_owned();
    run(relay, 0, &["list"]).lines().map(entry).collect()
}

struct Asker(PolicyClient);

impl Asker {
    fn of(relay: &Relay) -> Self {
        Self(PolicyClient::new(relay.path("policy")))
    }

    /// `-` is nobody.
    async fn ask(&self, client: &str, sender: &str) -> Result<bool, PolicyError> {
        let client = (client != "-").then(|| client.parse().unwrap());
        let sender: Option<Address> = (sender != "-").then(|| sender.parse().unwrap());
        self.0.is_blocked(client, sender.as_ref()).await
    }

    async fn is_blocked(&self, client: &str, sender: &str) -> bool {
        self.ask(client, sender).await.unwrap()
    }
}

#[rstest]
#[tokio::test]
async fn a_running_daemon_knows_each_change_at_once(
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "");
    let asker = Asker::of(&relay);
    for (entry, client, sender) in [
        ("mallory@spam.example", "-", "mallory@spam.example"),
        (
            "mallory@spam.example",
            "203.0.113.1",
            "Mallory+tag@Spam.example",
        ),
        ("spam.example", "-", "anybody@spam.example"),
        ("192.0.2.0/24", "192.0.2.77", "-"),
        ("192.0.2.0/24", "192.0.2.77", "alice@example.org"),
        ("192.0.2.0/24", "-", "alice@[192.0.2.77]"),
        ("2001:db8::/32", "2001:db8::1", "-"),
        ("a/b@spam.example", "-", "a/b@spam.example"),
        ("-/-@spam.example", "192.0.2.1", "-/-@spam.example"),
    ] {
        for _ in 0..2 {
            assert!(!asker.is_blocked(client, sender).await, "{entry}");
            run(&relay, 0, &["add", "--", entry]);
            assert!(asker.is_blocked(client, sender).await, "{entry}");
            assert!(!asker.is_blocked("-", "-").await, "{entry}");
            assert!(!asker.is_blocked("198.51.100.1", "bob@example.org").await);
            run(&relay, 0, &["remove", "--", entry]);
        }
        assert!(!asker.is_blocked(client, sender).await, "{entry}");
    }
}

#[rstest]
#[tokio::test]
async fn the_dict_answers_in_json(#[values(Store::Files, Store::Postgres)] store: Store) {
    let relay = Relay::on(store, "");
    run(&relay, 0, &["add", "spam.example"]);
    let mut filtermail = relay.connect("policy").await;
    for (key, answer) in [
        ("-/a/b@spam.example", "O{\"blocked\":true}"),
        ("192.0.2.1/-", "O{\"blocked\":false}"),
        ("", "N"),
        ("-", "N"),
        ("192.0.2.1", "N"),
        ("nobody/-", "N"),
        ("-/nobody", "N"),
    ] {
        let line = format!("Lshared/blocked/{key}\t");
        assert_eq!(filtermail.ask(&line).await, answer, "{key}");
    }
}

#[rstest]
#[tokio::test]
async fn a_blocked_account_is_one_whose_address_is_named(
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "");
    let client = PolicyClient::new(relay.path("policy"));
    let login = b"Lshared/passdb/a password\"bob@x.org\tbob@x.org\n";
    let first = relay.ask("auth", login).await;
    let blocked = async |address: &str| {
        let policy = client.lookup(&address.parse().unwrap()).await.unwrap();
        assert_eq!(policy.exists, !address.starts_with("eve"));
        policy.blocked
    };
    assert!(!blocked("bob@x.org").await);
    run(&relay, 0, &["add", "x.org", "0.0.0.0/0", "eve@x.org"]);
    assert!(!blocked("bob@x.org").await);
    run(&relay, 0, &["add", "Bob@x.org"]);
    assert!(blocked("bob@x.org").await && blocked("bob+tag@x.org").await);
    // There is no such account, and that is all there is to say of it.
    assert!(!blocked("eve@x.org").await);
    assert_eq!(relay.ask("auth", login).await, first);
    run(&relay, 0, &["remove", "bob@x.org"]);
    assert!(!blocked("bob@x.org").await);
}

#[tokio::test]
async fn a_broken_list_is_a_temporary_failure_of_what_needs_it() {
    let relay = Relay::start("");
    let asker = Asker::of(&relay);
    let login = b"Lshared/passdb/a password\"bob@x.org\tbob@x.org\n";
    let first = relay.ask("auth", login).await;
    let file = relay.path("tables/chatmail.sqlite");
    fs::create_dir(file.parent().unwrap()).unwrap();
    for garbage in [&b""[..], b"garbage", &[0; 5000]] {
        fs::write(&file, garbage).unwrap();
        for (client, sender) in [
            ("-", "mallory@spam.example"),
            ("192.0.2.1", "-"),
            ("-", "-"),
        ] {
            let answer = asker.ask(client, sender).await;
            assert!(matches!(answer, Err(PolicyError::Dict(_))), "{answer:?}");
        }
        let policy = asker.0.lookup(&"bob@x.org".parse().unwrap()).await;
        assert!(matches!(policy, Err(PolicyError::Dict(_))), "{policy:?}");
        assert_eq!(relay.ask("auth", login).await, first);
        for arguments in [&["list"][..], &["add", "x.org"], &["remove", "x.org"]] {
            let output = blocks(&relay, arguments).output().unwrap();
            let (out, err) = ended(&output, 70);
            assert!(out.is_empty() && err.contains("chatmail.sqlite"), "{err}");
        }
        assert_eq!(fs::read(&file).unwrap(), garbage);
    }
    fs::remove_file(&file).unwrap();
    assert!(!asker.is_blocked("-", "mallory@spam.example").await);
    run(&relay, 0, &["add", "spam.example"]);
    assert!(asker.is_blocked("-", "mallory@spam.example").await);
}

#[tokio::test]
async fn the_list_is_kept_without_a_daemon() {
    let relay = Relay::start("");
    assert_eq!(run(&relay, 0, &["list"]), "");
    assert_eq!(run(&relay, 1, &["remove", "x.org"]), "missing x.org\n");
    assert!(!relay.path("tables").exists());
    let note = ["add", "--note", "sends \"offers\"", "Spam.Example"];
    assert_eq!(run(&relay, 0, &note), "added spam.example\n");
    let more = ["add", "spam.example", "a@x.org", "192.0.2.0/24"];
    let outcomes = "unchanged spam.example\nadded a@x.org\nadded 192.0.2.0/24\n";
    assert_eq!(run(&relay, 0, &more), outcomes);
    assert_eq!(
        run(&relay, 0, &["add", "--note", "x", "a@x.org"]),
        "noted a@x.org\n"
    );

    let list = run(&relay, 0, &["list"]);
    let lines: Vec<Vec<_>> = list
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let shown: Vec<_> = lines.iter().map(|line| (line[0], line[2])).collect();
    let expected = [
        ("192.0.2.0/24", ""),
        ("a@x.org", "x"),
        ("spam.example", note[2]),
    ];
    assert_eq!(shown, expected);
    assert!(
        lines
            .iter()
            .all(|line| line[1].len() == "2026-01-31T12:00:00Z".len())
    );

    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let list = run(&relay, 0, &["list", "--json"]);
    let list: Vec<_> = list.lines().map(parse).collect();
    let added = lines[2][1];
    let last =
        json!({ "entry": "spam.example", "kind": "domain", "added": added, "note": note[2] });
    assert_eq!((list.len(), &list[2]), (3, &last));

    let removed = run(&relay, 1, &["remove", "--json", "spam.example", "y.org"]);
    let removed: Vec<_> = removed.lines().map(parse).collect();
    let outcome = |entry, outcome| json!({ "entry": entry, "kind": "domain", "outcome": outcome });
    assert_eq!(
        removed,
        [
            outcome("spam.example", "removed"),
            outcome("y.org", "missing")
        ]
    );
    assert_eq!(listed(&relay), ["192.0.2.0/24", "a@x.org"]);
    // The last one to close the file leaves nothing beside it.
    let files = fs::read_dir(relay.path("tables")).unwrap();
    assert_eq!(files.count(), 1);
}

#[rstest]
#[tokio::test]
async fn entries_come_from_standard_input_too(
    #[values(Store::Files, Store::Postgres)] store: Store,
) {
    let relay = Relay::on(store, "");
    let input = "# a list\n\n  Spam.Example  \r\n192.0.2.1\n#more\nb@x.org";
    let output = with_input(blocks(&relay, &["add", "a@x.org", "-"]), input);
    let (out, _) = ended(&output, 0);
    assert_eq!(
        out,
        "added a@x.org\nadded spam.example\nadded 192.0.2.1\nadded b@x.org\n"
    );

    let wrong = "c@x.org\n\n192.0.2.7/24\n";
    let output = with_input(blocks(&relay, &["add", "-"]), wrong);
    let (out, err) = ended(&output, 2);
    assert_eq!(out, "");
    let reason = "line 3 of standard input, `192.0.2.7/24`: not a network: \
        the address is inside the network and does not name it; write 192.0.2.0/24";
    assert_eq!(err, format!("error: {reason}; nothing was changed\n"));
    assert_eq!(listed(&relay).len(), 4);

    let all = listed(&relay).join("\n");
    ended(&with_input(blocks(&relay, &["remove", "-"]), &all), 0);
    assert_eq!(listed(&relay).len(), 0);
}

#[rstest]
#[case(&["add"])]
#[case(&["add", "x.org", "not an entry"])]
#[case(&["add", "x.org", "bücher.example"])]
#[case(&["add", "--note", "two\nlines", "x.org"])]
#[case(&["remove", "x.org", "192.0.2.300"])]
#[case(&["remove", "--note", "why", "x.org"])]
#[case(&["list", "x.org"])]
#[case(&[])]
#[tokio::test]
async fn what_is_wrong_changes_nothing(#[case] arguments: &[&str]) {
    let relay = Relay::start("");
    assert_eq!(run(&relay, 2, arguments), "");
    assert!(!relay.path("tables").exists());
}

#[tokio::test]
async fn help_teaches_by_examples() {
    let relay = Relay::start("");
    for command in ["list", "add", "remove"] {
        let help = run(&relay, 0, &[command, "--help"]);
        let example = format!("\n    doveauth blocks {command}");
        assert!(
            help.contains(&example) && help.contains("Exit status: 0"),
            "{help}"
        );
    }
}

/// More than SQLite keeps in memory: it writes some of it before all of it is there.
fn many() -> String {
    let long = "long-name-".repeat(5);
    (0..90_000)
        .map(|number| format!("{long}{number}@spam.example\n"))
        .collect()
}

#[rstest]
#[case::before_it_writes(0)]
#[case::as_it_writes(1)]
#[case::later(1_000_000)]
#[case::much_later(5_000_000)]
#[tokio::test]
async fn a_command_that_is_killed_leaves_the_old_list_or_the_new(#[case] written: u64) {
    let relay = Relay::start("");
    let asker = Asker::of(&relay);
    run(&relay, 0, &["add", "old.example"]);
    // The daemon has the file open, so that the log stays.
    assert!(asker.is_blocked("-", "a@old.example").await);
    let input = relay.path("many");
    fs::write(&input, many()).unwrap();
    let log = relay.path("tables/chatmail.sqlite-wal");
    let length = || fs::metadata(&log).map_or(0, |log| log.len());
    let wanted = length() + written;
    let mut child = blocks(&relay, &["add", "-"])
        .stdin(fs::File::open(&input).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // In the middle of its writing, unless it is through before we look again.
    while length() < wanted && child.try_wait().unwrap().is_none() {
        assert!(asker.is_blocked("-", "a@old.example").await);
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let found = listed(&relay).len();
    assert!([1, 90_001].contains(&found), "{found} entries");
    assert!(asker.is_blocked("-", "a@old.example").await);
    let last = format!("{}89999@spam.example", "long-name-".repeat(5));
    assert_eq!(asker.is_blocked("-", &last).await, found > 1);
    run(&relay, 0, &["add", "new.example"]);
    assert!(asker.is_blocked("-", "a@new.example").await);
}

#[rstest]
#[case::not_even_the_file(1)]
#[case::not_all_entries(2000)]
#[tokio::test]
async fn a_file_that_may_not_grow_is_an_error_and_changes_nothing(#[case] kilobytes: u32) {
    let relay = Relay::start("");
    let asker = Asker::of(&relay);
    if kilobytes > 1 {
        run(&relay, 0, &["add", "old.example"]);
    }
    let before = listed(&relay);
    let add = blocks(&relay, &["add", "-"]);
    let mut limited = Command::new("bash");
    limited
        // Writing on is an error then, and no signal.
        .args([
            "-c",
            &format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$0\" \"$@\""),
        ])
        .arg(add.get_program())
        .args(add.get_args())
        .env_remove("JOURNAL_STREAM");
    let input = relay.path("many");
    fs::write(&input, many()).unwrap();
    let output = limited
        .stdin(fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    let (out, err) = ended(&output, 70);
    assert_eq!(out, "");
    assert!(
        err.contains("block list: ") && err.contains("chatmail.sqlite"),
        "{err}"
    );
    assert_eq!(listed(&relay), before);
    assert_eq!(asker.is_blocked("-", "a@old.example").await, kilobytes > 1);
    run(&relay, 0, &["add", "new.example"]);
    assert!(asker.is_blocked("-", "a@new.example").await);
    // No half-made file either.
    let is_half_made = |name: &Path| name.to_string_lossy().contains(".new.");
    let mut files = fs::read_dir(relay.path("tables")).unwrap();
    assert!(!files.any(|file| is_half_made(&file.unwrap().path())));
}

#[tokio::test]
async fn a_list_that_may_not_be_written_is_an_error() {
    let relay = Relay::start("");
    run(&relay, 0, &["add", "old.example"]);
    let (folder, file) = (relay.path("tables"), relay.path("tables/chatmail.sqlite"));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    mode(&file, 0o444).unwrap();
    mode(&folder, 0o555).unwrap();
    let mut command = blocks(&relay, &["add", "new.example"]);
    if nix::unistd::geteuid().is_root() {
        // root may write anywhere: as somebody else, who may read the configuration.
        mode(&relay.path(""), 0o755).unwrap();
        chown(relay.path("chatmail.ini"), Some(65_534), None).unwrap();
        command.uid(65_534).gid(65_534);
    }
    let (out, err) = ended(&command.output().unwrap(), 70);
    assert_eq!(out, "");
    assert!(
        err.contains("block list: ") && err.contains("chatmail.sqlite"),
        "{err}"
    );
    mode(&folder, 0o755).unwrap();
    mode(&file, 0o600).unwrap();
    assert_eq!(listed(&relay), ["old.example"]);
}

#[tokio::test]
async fn logs_tell_how_long_the_list_is_and_not_who_is_on_it() {
    common::log::keep();
    let relay = Relay::start("");
    let asker = Asker::of(&relay);
    run(
        &relay,
        0,
        &["add", "xyzzy@spam.example", "xyzzy.example", "203.0.113.77"],
    );
    assert!(asker.is_blocked("203.0.113.77", "xyzzy@spam.example").await);
    fs::write(relay.path("tables/chatmail.sqlite"), "garbage").unwrap();
    assert!(
        asker
            .ask("203.0.113.77", "xyzzy@spam.example")
            .await
            .is_err()
    );
    relay.stop().await;
    let log = common::log::kept();
    assert!(
        log.contains("block list: 1 addresses, 1 domains, 1 networks"),
        "{log}"
    );
    assert!(log.contains("file is not a database"), "{log}");
    assert!(
        !log.contains("xyzzy") && !log.contains("203.0.113"),
        "{log}"
    );
}
