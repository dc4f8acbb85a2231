//! The real program: what it prints and how it ends, two at a time, and killed on the way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{DAY, NOW, Tree};
use rand::Rng as _;

fn now() -> String {
    NOW.to_string()
}

fn lines(output: &std::process::Output) -> (String, serde_json::Value) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let (sentence, json) = text.trim_end().split_once('\n').unwrap();
    (sentence.to_owned(), serde_json::from_str(json).unwrap())
}

#[test]
fn a_run_prints_a_sentence_and_json() {
    let tree = Tree::new();
    tree.account("a@x.org", 1)
        .message("a@x.org/cur/1", 21)
        .message("a@x.org/cur/2", 1)
        .file("a@x.org/maildirsize", 9, 0);
    let before = tree.names();
    let dry = tree.command(&["run", "--now", &now()]);
    assert_eq!(dry.status.code(), Some(0));
    let (sentence, json) = lines(&dry);
    let begin = "Would remove 0 out of 1 mailboxes and 2 out of 2 files in existing mailboxes in";
    assert!(sentence.starts_with(begin), "{sentence}");
    assert_eq!(
        (&json["dry_run"], &json["removed_messages"]),
        (&true.into(), &1.into())
    );
    assert_eq!(tree.names(), before);
    assert!(dry.stderr.is_empty());

    let done = tree.command(&[
        "run",
        "--remove",
        "--verbose",
        "--now",
        "2096-10-02T07:06:40Z",
    ]);
    assert_eq!(done.status.code(), Some(0));
    let (sentence, json) = lines(&done);
    assert!(sentence.starts_with("Removed 0 out of 1"), "{sentence}");
    assert_eq!(json["removed_files"], 2);
    let told = String::from_utf8(done.stderr).unwrap();
    let expected = "removing a@x.org/maildirsize\nremoving 2096-09-11 a@x.org/cur/1\n";
    assert_eq!(told, expected);
}

#[test]
fn at_a_terminal_there_is_a_bar() {
    let tree = Tree::new();
    for number in 0..30 {
        tree.message(&format!("user{number}@x.org/cur/1"), 1);
    }
    let shown_by = |arguments: &[&str]| {
        let pty = nix::pty::openpty(None, None).unwrap();
        let mut terminal = fs::File::from(pty.master);
        let reading = std::thread::spawn(move || {
            let mut shown = Vec::new();
            // A terminal whose other end is closed is an error to its reader.
            let _ = terminal.read_to_end(&mut shown);
            String::from_utf8_lossy(&shown).into_owned()
        });
        let mut command = tree.unstarted(arguments);
        let output = command.env("TERM", "xterm").stderr(pty.slave).output();
        drop(command);
        assert_eq!(output.unwrap().status.code(), Some(0));
        reading.join().unwrap()
    };
    let shown = shown_by(&["run"]);
    assert!(shown.contains("of 30 mailboxes"), "{shown:?}");
    let shown = shown_by(&["run", "--max", "7"]);
    assert!(shown.contains("of 7 mailboxes"), "{shown:?}");
    // Steps and a bar would disturb each other.
    let shown = shown_by(&["run", "--verbose"]);
    assert!(!shown.contains("mailboxes"), "{shown:?}");
}

#[test]
fn max_is_a_number_of_mailboxes() {
    let tree = Tree::new();
    for number in 0..50 {
        tree.message(&format!("user{number}@x.org/cur/1"), 21)
            .message(&format!("other{number}/cur/1"), 21);
    }
    let (_, json) = lines(&tree.command(&["run", "--max", "20", "--now", &now()]));
    assert_eq!(
        (&json["mailboxes"], &json["removed_messages"]),
        (&20.into(), &20.into())
    );
    let (_, json) = lines(&tree.command(&["run", "--max", "0", "--now", &now()]));
    assert_eq!(json["mailboxes"], 0);
}

#[test]
fn the_time_zone_changes_nothing() {
    let tree = Tree::new();
    tree.file("a@x.org/cur/1", 1, 20 * DAY + 1)
        .file("a@x.org/cur/2", 1, 20 * DAY);
    for zone in ["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "XYZ+24"] {
        let mut command = tree.unstarted(&["run", "--now", &now()]);
        let (_, json) = lines(&command.env("TZ", zone).output().unwrap());
        assert_eq!(json["removed_messages"], 1, "{zone}");
    }
}

#[test]
fn wrong_arguments_and_configurations_are_told() {
    let tree = Tree::new();
    for (arguments, code) in [
        (&["run", "--now", "yesterday"][..], 2),
        (&["run", "--max", "-1"], 2),
        (&["quota", "many", "a@x.org"], 2),
        (&["--config", "/nonexistent", "run"], 78),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_expiry-cron"));
        if code == 2 {
            command.arg("--config").arg(tree.ini());
        }
        let output = command.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_second_run_says_that_another_is_at_it() {
    let tree = Tree::new();
    tree.account("a@x.org", 100);
    let arguments = ["run", "--remove", "--now", &now(), "--login-window", "600"];
    let mut first = tree
        .unstarted(&arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| tree.path("a@x.org/password.expiring").exists());

    let second = tree.command(&arguments);
    assert_eq!(second.status.code(), Some(75));
    let told = String::from_utf8(second.stderr).unwrap();
    assert!(told.contains("another run is at it"), "{told}");
    // A dry run disturbs nobody.
    assert_eq!(tree.command(&["run"]).status.code(), Some(0));

    // Told to stop, the first one takes back what it has begun.
    let pid = nix::unistd::Pid::from_raw(first.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(75));
    let mut shown = String::new();
    first
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut shown)
        .unwrap();
    assert!(shown.contains("stopped before the end"), "{shown}");
    assert!(tree.path("a@x.org/password").exists());
    let third = tree.command(&["run", "--remove", "--now", &now(), "--login-window", "0"]);
    assert_eq!(third.status.code(), Some(0));
    assert!(!tree.path("a@x.org").exists());
}

fn wait_for(so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < deadline, "not in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_clock_that_leaps_deletes_nothing_the_first_night() {
    let tree = Tree::new();
    tree.account("a@x.org", 0);
    // The real clock is years behind the tree, whose files are of 2096.
    let code = |output: std::process::Output| output.status.code();
    assert_eq!(
        code(tree.command(&["run", "--remove", "--login-window", "0"])),
        Some(0)
    );
    let path = tree.outside("tables/tables");
    let table = rusqlite::Connection::open(path).unwrap();
    let eight_days = "UPDATE job_runs SET began = began - 8 * 86400";
    assert_eq!(table.execute(eight_days, []).unwrap(), 1);
    tree.message("a@x.org/cur/old", 0);
    common::set_time(&tree.path("a@x.org/cur/old"), 1_000_000_000);

    let leap = tree.command(&["run", "--remove", "--login-window", "0"]);
    let told = String::from_utf8(leap.stderr.clone()).unwrap();
    assert_eq!(code(leap), Some(75));
    assert!(told.contains("8 days ahead"), "{told}");
    assert!(tree.path("a@x.org/cur/old").exists());
    // An operator who knows better says so, and the next night it is believed anyway.
    assert_eq!(
        code(tree.command(&["run", "--remove", "--login-window", "0"])),
        Some(0)
    );
    assert!(!tree.path("a@x.org/cur/old").exists());
}

/// Half of the accounts unused, a third of the messages old, some mailboxes over their quota.
fn varied() -> Tree {
    let tree = Tree::with("max_mailbox_size = 2000");
    for number in 0..40_i64 {
        let mailbox = format!("user{number}@x.org");
        tree.account(&mailbox, if number % 2 == 0 { 100 } else { 1 })
            .file(&format!("{mailbox}/maildirsize"), 9, 0)
            .file(&format!("{mailbox}/dovecot.index.log"), 90, 0);
        for message in 0..30 {
            let days = message % 30;
            let folder = ["cur", "new", ".Folder/cur", ".Folder/new"];
            let folder = folder[usize::try_from(message % 4).unwrap()];
            let arrived = NOW - days * DAY;
            let size = 100 + number;
            let name = format!("{mailbox}/{folder}/{arrived}.M{message}P1.h,S={size}");
            tree.message(&name, days);
        }
    }
    tree
}

#[test]
fn killed_at_any_point_and_run_again_the_result_is_the_same() {
    const KILLS: usize = 30;
    let arguments = ["run", "--remove", "--now", &now(), "--login-window", "0"];
    let whole = varied();
    let begun = Instant::now();
    assert_eq!(whole.command(&arguments).status.code(), Some(0));
    let took = begun.elapsed();
    let expected: BTreeSet<_> = whole.names();
    assert!(expected.iter().any(|name| name.contains("user1@")));

    let mut random = rand::rng();
    let mut killed = 0;
    for _ in 0..3 {
        let tree = varied();
        for _ in 0..KILLS / 3 {
            let mut running = tree
                .unstarted(&arguments)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(took.mul_f64(random.random_range(0.0..1.0)));
            running.kill().unwrap();
            killed += usize::from(running.wait().unwrap().code().is_none());
            // Whatever it has left, no half of an account is there that somebody could take.
            for name in fs::read_dir(tree.path("")).unwrap() {
                let home = name.unwrap().path();
                let states = ["password", "password.expiring", "password.expired"];
                let found = states.iter().filter(|name| home.join(name).exists());
                assert!(found.count() <= 1, "{}", home.display());
            }
        }
        let last = tree.command(&arguments);
        let told = String::from_utf8_lossy(&last.stderr);
        assert_eq!(last.status.code(), Some(0), "{told}");
        let found = tree.names();
        let different: Vec<_> = found.symmetric_difference(&expected).collect();
        assert!(different.is_empty(), "{different:?}");
    }
    assert!(killed > 0, "each run was over before it was killed");
    println!("{killed} of {KILLS} runs were killed");
}

#[test]
fn its_units_get_a_network_if_the_database_is_there_and_not_else() {
    let drop_ins = |settings: &str| {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().to_str().unwrap();
        let output = Tree::with(settings).command(&["units", target]);
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
        let units = fs::read_dir(folder.path()).unwrap();
        let drop_in = |unit: fs::DirEntry| {
            let path = unit.path().join("database-over-network.conf");
            let text = fs::read_to_string(path).unwrap();
            assert!(text.contains("[Service]\nPrivateNetwork=no\n"), "{text}");
            // Whatever is in the file of settings: everybody may read units.
            assert!(!text.contains("secret"), "{text}");
            unit.file_name().into_string().unwrap()
        };
        let names: BTreeSet<_> = units.map(|unit| drop_in(unit.unwrap())).collect();
        names
    };
    for local in ["", "database_url = host=/run/postgresql dbname=mail"] {
        assert_eq!(drop_ins(local), BTreeSet::new());
    }
    let remote = drop_ins("database_url = postgresql://me:secret@db.example/mail");
    let both = ["expiry-cron-report.service.d", "expiry-cron.service.d"];
    assert_eq!(remote, both.map(str::to_owned).into());
}
