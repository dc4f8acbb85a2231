//! Trees that nobody would make on purpose, and whatever moves under a run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{DAY, NOW, Tree, assert_goes, at_now, set_time};

#[test]
fn links_lead_nowhere() {
    let tree = Tree::new();
    let outside = tree.outside("outside@x.org");
    fs::create_dir_all(outside.join("cur")).unwrap();
    let precious = outside.join("cur/precious");
    fs::write(&precious, "precious").unwrap();
    set_time(&precious, NOW - 400 * DAY);
    fs::write(outside.join("password"), "x").unwrap();
    set_time(&outside.join("password"), NOW - 400 * DAY);

    // A mailbox, a folder, its `cur`, a message, the password file.
    symlink(&outside, tree.path("linked@x.org")).unwrap();
    fs::create_dir_all(tree.path("a@x.org/.Other")).unwrap();
    symlink(&outside, tree.path("a@x.org/.Folder")).unwrap();
    symlink(outside.join("cur"), tree.path("a@x.org/cur")).unwrap();
    symlink(outside.join("cur"), tree.path("a@x.org/.Other/cur")).unwrap();
    symlink("..", tree.path("a@x.org/round")).unwrap();
    symlink(outside.join("password"), tree.path("a@x.org/password")).unwrap();
    let kept = [outside.join("cur/precious"), outside.join("password")];
    let counts = tree.run(at_now(true));
    assert!(kept.iter().all(|path| path.exists()));
    assert_eq!((counts.mailboxes, counts.removed_mailboxes), (1, 0));
    // What cannot be opened as the directory that it should be is told.
    assert_eq!(counts.removed_files, 0);
}

#[test]
fn the_mailbox_of_a_deleted_account_goes_without_what_its_links_name() {
    let tree = Tree::new();
    let outside = tree.outside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();
    tree.account("a@x.org", 100).message("a@x.org/x/y/z", 1);
    symlink(&outside, tree.path("a@x.org/link")).unwrap();
    symlink(&outside, tree.path("a@x.org/x/link")).unwrap();
    tree.run(at_now(true));
    assert!(!tree.path("a@x.org").exists());
    assert!(outside.join("precious").exists());
}

#[test]
fn directories_that_lie_deep_are_told_of_and_go_with_their_mailbox() {
    let tree = Tree::new();
    // Deeper than one process may have files open.
    let mut deep = PathBuf::from("a@x.org");
    for _ in 0..1500 {
        deep.push("d");
    }
    make_deep(&tree, &deep);
    tree.account("a@x.org", 1).message("a@x.org/cur/old", 21);
    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_old, counts.errors), (1, 1));

    tree.account("a@x.org", 100);
    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_mailboxes, counts.errors), (1, 0));
    assert!(!tree.path("a@x.org").exists());
}

/// Step by step: as a whole the path would be too long for the system.
fn make_deep(tree: &Tree, path: &std::path::Path) {
    use nix::fcntl::{OFlag, open, openat};
    use nix::sys::stat::{Mode, mkdirat};

    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY;
    let mut here = open(&tree.path(""), flags, Mode::empty()).unwrap();
    for name in path {
        mkdirat(&here, name, Mode::S_IRWXU).unwrap();
        here = openat(&here, name, flags, Mode::empty()).unwrap();
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_goes_on() {
    if nix::unistd::geteuid().is_root() {
        // root reads everything: so, somebody else.
        return as_nobody("what_cannot_be_read_is_told_and_the_rest_goes_on");
    }
    let tree = Tree::new();
    tree.message("a@x.org/cur/1", 21)
        .message("b@x.org/cur/2", 21)
        .message("c@x.org/cur/3", 21)
        .message("d@x.org/cur/4", 21)
        .account("d@x.org", 100);
    let closed = [
        (tree.path("a@x.org"), 0o000),
        (tree.path("b@x.org/cur"), 0o000),
        (tree.path("d@x.org/cur"), 0o500),
    ];
    for (path, mode) in &closed {
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    let output = tree.command(&[
        "run",
        "--remove",
        "--now",
        &NOW.to_string(),
        "--login-window",
        "0",
    ]);
    for (path, _) in &closed {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(output.status.code(), Some(70));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(r#""errors":3"#), "{shown}");
    // No address without being asked for.
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("Permission denied"), "{told}");
    assert!(!told.contains("x.org"), "{told}");
    assert!(tree.path("a@x.org/cur/1").exists());
    assert!(!tree.path("c@x.org/cur/3").exists());
    // Nobody has the account any more, and the next run removes what was left.
    assert!(!tree.path("d@x.org/password").exists());
    assert!(tree.path("d@x.org/cur/4").exists());
    assert_goes(
        &tree,
        &[
            "a@x.org/cur/1",
            "b@x.org/cur/2",
            "d@x.org/cur/4",
            "d@x.org/password.expired",
        ],
    );
}

/// Runs one of these tests as a user without rights.
fn as_nobody(test: &str) {
    use std::os::unix::process::CommandExt as _;

    const NOBODY: u32 = 65_534;
    // Where that user may read and run them: the test, and the program that it starts.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let program = folder.path().join("expiry-cron");
    fs::copy(env!("CARGO_BIN_EXE_expiry-cron"), &program).unwrap();
    let status = std::process::Command::new(&copy)
        .args(["--exact", test, "--nocapture"])
        .env("TMPDIR", folder.path())
        .env("EXPIRY_CRON", &program)
        .current_dir(folder.path())
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .unwrap();
    assert!(status.success(), "as nobody: {status}");
}

#[test]
fn a_missing_directory_of_mailboxes_is_an_error_and_no_empty_relay() {
    let tree = Tree::new();
    fs::remove_dir(tree.path("")).unwrap();
    let output = tree.command(&["run"]);
    assert_eq!(output.status.code(), Some(70));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("mailboxes_dir"), "{told}");
    assert!(output.stdout.is_empty());
}

#[test]
fn mail_that_moves_and_vanishes_under_a_run() {
    let tree = Tree::with("max_mailbox_size = 10000");
    let mailboxes: Vec<_> = (0..20)
        .map(|number| format!("user{number}@x.org"))
        .collect();
    for mailbox in &mailboxes {
        tree.account(mailbox, 1);
        for number in 0..200 {
            let days = i64::from(number % 30);
            let arrived = NOW - days * DAY;
            let name = format!("{mailbox}/new/{arrived}.M{number}P1.h,S=100");
            tree.message(&name, days);
        }
        tree.directory(&format!("{mailbox}/cur"), 0);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Clients that see mail, mark it and delete it, and one that removes whole mailboxes.
        for part in 0..2 {
            let (tree, mailboxes, done) = (&tree, &mailboxes, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    for mailbox in mailboxes.iter().skip(part).step_by(2) {
                        disturb(tree, mailbox);
                    }
                }
            });
        }
        for _ in 0..20 {
            let counts = tree.run(at_now(true));
            assert_eq!(counts.errors, 0);
        }
        let gone = tree.path(&mailboxes[7]);
        let _ = fs::remove_dir_all(&gone);
        assert_eq!(tree.run(at_now(true)).errors, 0);
        done.store(true, Ordering::SeqCst);
    });
    // When it is quiet, all that is old has gone, whatever it was called meanwhile.
    tree.run(at_now(true));
    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_messages, counts.errors), (0, 0));
    for name in tree.names() {
        if let Some(days) = fs::metadata(tree.path(&name)).unwrap().modified().ok()
            && name.contains(",S=")
        {
            let age = (std::time::SystemTime::UNIX_EPOCH
                + std::time::Duration::from_secs(NOW.try_into().unwrap()))
            .duration_since(days)
            .unwrap();
            assert!(age.as_secs() <= 20 * 86_400, "{name}");
        }
    }
}

/// What Dovecot does for clients: from `new` to `cur`, other flags, away.
fn disturb(tree: &Tree, mailbox: &str) {
    let list = |part: &str| {
        let entries = fs::read_dir(tree.path(&format!("{mailbox}/{part}")));
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    for path in list("new").into_iter().step_by(3) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let seen = tree.path(&format!("{mailbox}/cur/{name}:2,"));
        let _ = fs::rename(&path, seen);
    }
    for (number, path) in list("cur").into_iter().enumerate() {
        let name = path.to_str().unwrap();
        let _ = match (number % 7, name.strip_suffix('S')) {
            (0, _) => fs::remove_file(&path),
            (1, Some(unseen)) => fs::rename(&path, unseen),
            (1, None) => fs::rename(&path, format!("{name}S")),
            _ => Ok(()),
        };
    }
}
