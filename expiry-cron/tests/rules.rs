//! Each row of the table in `src/rules.rs`, on a tree of its own, dry and for real.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use common::{DAY, NOW, Tree, assert_goes, set_time};
use nix::sys::stat::Mode;

/// A name that Dovecot would give a message of this age and size.
fn name(number: u32, days_and_seconds: (i64, i64), size: u64) -> String {
    let (days, seconds) = days_and_seconds;
    let arrived = NOW - days * DAY - seconds;
    format!("{arrived}.M{number}P7.host,S={size},W={size}:2,S")
}

/// Mailboxes of 1000 octets: 700 may be used.
fn small_mailboxes() -> Tree {
    Tree::with("max_mailbox_size = 1000")
}

#[test]
fn account_unused() {
    let tree = Tree::new();
    tree.file("a@x.org/password", 120, 90 * DAY + 1)
        .message("a@x.org/cur/1", 1)
        .message("a@x.org/.Folder/new/2", 30)
        .file("a@x.org/dovecot-uidlist", 50, 0)
        .directory("a@x.org/tmp", 0)
        .account("b@x.org", 1)
        .message("b@x.org/cur/1", 1);
    let all = [
        "a@x.org/.Folder/new/2",
        "a@x.org/cur/1",
        "a@x.org/dovecot-uidlist",
        "a@x.org/password",
        "a@x.org/tmp/",
    ];
    let counts = assert_goes(&tree, &all);
    assert!(!tree.path("a@x.org").exists());
    assert_eq!((counts.mailboxes, counts.removed_mailboxes), (2, 1));
    // What goes with its mailbox is not counted among the messages.
    assert_eq!((counts.messages, counts.removed_messages), (1, 0));
}

#[test]
fn account_at_the_limit() {
    let tree = Tree::new();
    tree.account("a@x.org", 90);
    assert_goes(&tree, &[]);
}

#[test]
fn account_without_time() {
    let tree = Tree::new();
    tree.account("a@x.org", 1);
    set_time(&tree.path("a@x.org/password"), 0);
    assert_goes(&tree, &[]);
    set_time(&tree.path("a@x.org/password"), 1);
    assert_goes(&tree, &["a@x.org/password"]);
}

#[test]
fn no_password() {
    let tree = Tree::new();
    tree.file("a@x.org/dovecot.index.log", 9, 400 * DAY)
        .message("a@x.org/cur/old", 21)
        .message("a@x.org/cur/young", 19);
    assert_goes(&tree, &["a@x.org/cur/old"]);
}

#[test]
fn old() {
    let tree = Tree::new();
    tree.file("a@x.org/cur/1", 1, 20 * DAY + 1)
        .file("a@x.org/new/2", 1, 20 * DAY + 1)
        .file("a@x.org/tmp/3", 1, 20 * DAY + 1);
    let counts = assert_goes(&tree, &["a@x.org/cur/1", "a@x.org/new/2", "a@x.org/tmp/3"]);
    assert_eq!((counts.removed_old, counts.removed_bytes), (3, 3));
}

#[test]
fn old_at_the_limit() {
    let tree = Tree::new();
    tree.message("a@x.org/cur/1", 20)
        .message("a@x.org/cur/of-tomorrow", -1);
    assert_goes(&tree, &[]);
    // The limit is one of nanoseconds.
    let just_over = std::time::SystemTime::UNIX_EPOCH
        + Duration::from_secs((NOW - 20 * DAY).try_into().unwrap())
        - Duration::from_nanos(1);
    let file = fs::File::open(tree.path("a@x.org/cur/1")).unwrap();
    file.set_modified(just_over).unwrap();
    assert_goes(&tree, &["a@x.org/cur/1"]);
}

#[test]
fn old_in_folder() {
    let tree = Tree::new();
    tree.message("a@x.org/.Folder/cur/1", 21)
        .message("a@x.org/.Folder.Sub/new/2", 21)
        .message("a@x.org/folder/in/a folder/tmp/3", 21)
        .message("a@x.org/.Folder/cur/4", 19);
    let goes = [
        "a@x.org/.Folder.Sub/new/2",
        "a@x.org/.Folder/cur/1",
        "a@x.org/folder/in/a folder/tmp/3",
    ];
    assert_goes(&tree, &goes);
}

#[test]
fn large_seen() {
    let tree = Tree::new();
    tree.file("a@x.org/cur/1", 200_001, 7 * DAY + 1).file(
        "a@x.org/.Folder/cur/2",
        200_001,
        7 * DAY + 1,
    );
    let counts = assert_goes(&tree, &["a@x.org/.Folder/cur/2", "a@x.org/cur/1"]);
    assert_eq!(counts.removed_large, 2);
}

#[test]
fn large_unseen() {
    let tree = Tree::new();
    tree.file("a@x.org/new/1", 200_001, 8 * DAY)
        .file("a@x.org/tmp/2", 200_001, 8 * DAY)
        .file("a@x.org/maildirsize", 9, 0);
    assert_goes(&tree, &[]);
}

#[test]
fn large_at_the_limit() {
    let tree = Tree::new();
    tree.file("a@x.org/cur/1", 200_000, 8 * DAY)
        .file("a@x.org/cur/2", 200_001, 7 * DAY);
    assert_goes(&tree, &[]);
}

#[test]
fn time_is_the_files() {
    let tree = Tree::new();
    let (old, young) = (name(1, (30, 0), 5), name(2, (1, 0), 5));
    tree.message(&format!("a@x.org/cur/{old}"), 1)
        .message(&format!("a@x.org/cur/{young}"), 30);
    assert_goes(&tree, &[&format!("a@x.org/cur/{young}")]);
}

#[test]
fn any_name() {
    let tree = Tree::new();
    tree.message("a@x.org/cur/.hidden", 21)
        .message("a@x.org/cur/password", 21)
        .message("a@x.org/cur/with\nnew line", 21);
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let path = tree.path("a@x.org/cur").join(odd);
    fs::write(&path, "x").unwrap();
    set_time(&path, NOW - 21 * DAY);
    let goes = [
        "a@x.org/cur/.hidden",
        r"a@x.org/cur/\xff\xfe",
        "a@x.org/cur/password",
        r"a@x.org/cur/with\nnew line",
    ];
    assert_goes(&tree, &goes);
}

#[test]
fn not_a_file() {
    let tree = Tree::new();
    tree.message("a@x.org/cur/directory/1", 21)
        .message("kept", 21);
    symlink(tree.path("kept"), tree.path("a@x.org/cur/link")).unwrap();
    nix::unistd::mkfifo(&tree.path("a@x.org/cur/fifo"), Mode::S_IRWXU).unwrap();
    assert_goes(&tree, &[]);
}

#[test]
fn other_files() {
    let tree = Tree::new();
    for name in [
        "dovecot.index.log",
        "enforceE2EEincoming",
        "subscriptions",
        "x",
    ] {
        tree.file(&format!("a@x.org/{name}"), 300_000, 400 * DAY)
            .file(&format!("a@x.org/.Folder/{name}"), 300_000, 400 * DAY);
    }
    assert_goes(&tree, &[]);
}

#[test]
fn other_directories() {
    let tree = Tree::new();
    tree.message("lost+found/cur/1", 100)
        .message("without-at/cur/1", 100)
        .file("file@x.org", 9, 400 * DAY)
        .directory("empty", 400 * DAY);
    let counts = assert_goes(&tree, &[]);
    assert_eq!(counts.mailboxes, 0);
}

#[test]
fn over_quota() {
    let tree = small_mailboxes();
    let ages = [9, 5, 8, 6];
    let names = ages.map(|days| name(1, (days, 0), 200));
    for (name, part) in names.iter().zip(["cur", "new", "new", "cur"]) {
        // The time and size of the files say something else.
        tree.message(&format!("a@x.org/{part}/{name}"), 1);
    }
    let [first, _, second, _] = &names;
    let goes = [format!("a@x.org/cur/{first}")];
    let counts = assert_goes(&tree, &[&goes[0]]);
    assert_eq!((counts.removed_over_quota, counts.removed_messages), (1, 1));
    tree.message(&format!("a@x.org/cur/{}", name(2, (2, 0), 200)), 1);
    assert_goes(&tree, &[&format!("a@x.org/new/{second}")]);
}

#[test]
fn at_the_quota() {
    let tree = small_mailboxes();
    for (number, size) in [(1, 300), (2, 400)] {
        tree.message(&format!("a@x.org/cur/{}", name(number, (5, 0), size)), 1);
    }
    assert_goes(&tree, &[]);
    let one_more = name(3, (4, 0), 1);
    tree.message(&format!("a@x.org/cur/{one_more}"), 1);
    assert_goes(&tree, &[&format!("a@x.org/cur/{}", name(1, (5, 0), 300))]);
}

#[test]
fn over_quota_after_age() {
    let tree = small_mailboxes();
    let (old, young) = (name(1, (2, 0), 900), name(2, (5, 0), 600));
    tree.message(&format!("a@x.org/cur/{old}"), 21)
        .message(&format!("a@x.org/cur/{young}"), 1);
    let counts = assert_goes(&tree, &[&format!("a@x.org/cur/{old}")]);
    assert_eq!((counts.removed_old, counts.removed_over_quota), (1, 0));
}

#[test]
fn over_quota_young() {
    let tree = small_mailboxes();
    let last = name(1, (1, 0), 900);
    let protected = name(2, (0, DAY - 1), 900);
    let from_tomorrow = name(3, (-1, 0), 900);
    for name in [&last, &protected, &from_tomorrow] {
        tree.message(&format!("a@x.org/cur/{name}"), 1);
    }
    assert_goes(&tree, &[&format!("a@x.org/cur/{last}")]);
}

#[test]
fn over_quota_other_names() {
    let tree = small_mailboxes();
    tree.file("a@x.org/cur/1.without-size", 5000, DAY)
        .file("a@x.org/cur/odd", 5000, DAY)
        .message(&format!("a@x.org/cur/{}", name(1, (5, 0), 700)), 1);
    assert_goes(&tree, &[]);
}

#[test]
fn over_quota_folders() {
    let tree = small_mailboxes();
    tree.message(&format!("a@x.org/.Folder/cur/{}", name(1, (9, 0), 900)), 1)
        .message(&format!("a@x.org/tmp/{}", name(2, (9, 0), 900)), 1)
        .message(&format!("a@x.org/cur/{}", name(3, (5, 0), 700)), 1);
    assert_goes(&tree, &[]);
}

#[test]
fn over_quota_ties() {
    let tree = small_mailboxes();
    let names = [(1, 400), (2, 300), (3, 300), (4, 300)].map(|(number, size)| {
        let name = name(number, (5, 0), size);
        tree.message(&format!("a@x.org/cur/{name}"), 1);
        name
    });
    let [_, second, third, _] = names;
    let goes = [second, third].map(|name| format!("a@x.org/cur/{name}"));
    assert_goes(&tree, &[&goes[0], &goes[1]]);
}

#[test]
fn maildirsize() {
    let tree = small_mailboxes();
    let over = format!("b@x.org/cur/{}", name(1, (5, 0), 900));
    tree.message("a@x.org/cur/1", 21)
        .file("a@x.org/maildirsize", 9, 0)
        .file("a@x.org/.Folder/maildirsize", 9, 0)
        .message(&over, 1)
        .file("b@x.org/maildirsize", 9, 0);
    let goes = [
        "a@x.org/cur/1",
        "a@x.org/maildirsize",
        &over,
        "b@x.org/maildirsize",
    ];
    let counts = assert_goes(&tree, &goes);
    assert_eq!((counts.removed_files, counts.removed_messages), (4, 2));
}

#[test]
fn maildirsize_unchanged() {
    let tree = Tree::new();
    tree.message("a@x.org/cur/1", 19)
        .file("a@x.org/maildirsize", 9, 400 * DAY);
    assert_goes(&tree, &[]);
}

#[test]
fn empty() {
    let tree = Tree::new();
    tree.directory("a@x.org", DAY + 1)
        .directory("b@x.org", DAY)
        .directory("c@x.org/cur", 400 * DAY);
    set_time(&tree.path("c@x.org"), NOW - 400 * DAY);
    let counts = assert_goes(&tree, &["a@x.org/"]);
    assert_eq!((counts.mailboxes, counts.removed_mailboxes), (3, 1));
}

/// No row without a test.
#[test]
fn each_row_has_its_test() {
    let table = include_str!("../src/rules.rs");
    let tests = include_str!("rules.rs");
    let rows = table.lines().filter_map(|line| {
        let row = line.strip_prefix("//! | `")?;
        row.split('`').next()
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let test = format!("\nfn {}() {{", row.replace('-', "_"));
        assert!(tests.contains(&test), "no test for {row}");
    }
}
