//! `expiry-cron quota`, as Dovecot starts it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{DAY, Tree};
use std::os::unix::fs::symlink;
use std::time::{SystemTime, UNIX_EPOCH};

const MEBIBYTE: u64 = 1 << 20;

/// A message of that many mebibytes, by its name, which came so many days before the real now.
fn message(tree: &Tree, mailbox: &str, part: &str, days: i64, mebibytes: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let arrived = i64::try_from(now).unwrap() - days * DAY - 60;
    let size = mebibytes * MEBIBYTE;
    let path = format!("{mailbox}/{part}/{arrived}.M1P1.h,S={size}");
    tree.file(&path, 10, 0);
    path
}

fn exists<const N: usize>(tree: &Tree, paths: [&String; N]) -> [bool; N] {
    paths.map(|path| tree.path(path).exists())
}

#[test]
fn the_oldest_messages_go_until_there_is_room() {
    let tree = Tree::new();
    let [oldest, old, young, youngest] = [
        message(&tree, "a@x.org", "new", 9, 3),
        message(&tree, "a@x.org", "cur", 8, 3),
        message(&tree, "a@x.org", "cur", 7, 3),
        message(&tree, "a@x.org", "cur", 0, 3),
    ];
    let folder = message(&tree, "a@x.org", ".Folder/cur", 9, 90);
    tree.file("a@x.org/maildirsize", 9, 0)
        .file("a@x.org/dovecot.index.cache", 9, 0);
    let path = tree.path("a@x.org");
    let output = tree.command(&["quota", "6", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let all = [&oldest, &old, &young, &youngest];
    assert_eq!(exists(&tree, all), [false, false, true, true]);
    assert!(tree.path(&folder).exists());
    assert!(!tree.path("a@x.org/maildirsize").exists());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("quota-expire: removed 2 message(s)"),
        "{told}"
    );
    assert!(!told.contains("a@x.org"), "{told}");

    // What is younger than a day stays, however little is wanted; and an address names a mailbox too.
    let output = tree.command(&["quota", "0", "a@x.org"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(exists(&tree, all), [false, false, false, true]);
    // With nothing to do there is nothing to tell, and Dovecot's count stays.
    tree.file("a@x.org/maildirsize", 9, 0);
    let output = tree.command(&["quota", "500", "a@x.org"]);
    assert!(output.stderr.is_empty());
    assert!(tree.path("a@x.org/maildirsize").exists());
}

#[test]
fn what_is_no_mailbox_of_this_relay_is_refused() {
    let tree = Tree::new();
    let outside = tree.outside("other/b@x.org");
    std::fs::create_dir_all(outside.join("cur")).unwrap();
    let precious = outside.join("cur/1.x,S=99999999");
    std::fs::write(&precious, "precious").unwrap();
    symlink(&outside, tree.path("b@x.org")).unwrap();
    tree.message("a@x.org/cur/1.x,S=99999999", 0)
        .message("plain/cur/1.x,S=99999999", 0)
        .file("c@x.org", 1, 0);
    let linked = tree.path("b@x.org");
    let inner = tree.path("a@x.org/cur");
    let up = tree.path("a@x.org/../../other/b@x.org");
    for mailbox in [
        outside.to_str().unwrap(),
        linked.to_str().unwrap(),
        inner.to_str().unwrap(),
        up.to_str().unwrap(),
        "b@x.org",
        "c@x.org",
        "d@x.org",
        "plain",
        "..",
        ".",
        "/",
        "../other/b@x.org",
    ] {
        let output = tree.command(&["quota", "0", mailbox]);
        assert_eq!(output.status.code(), Some(70), "{mailbox}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("is no mailbox in mailboxes_dir"),
            "{mailbox}: {told}"
        );
        assert!(!told.contains('@'), "{told}");
    }
    assert!(precious.exists());
    assert!(tree.path("a@x.org/cur/1.x,S=99999999").exists());
}

#[test]
fn a_mailbox_of_many_messages_is_made_smaller_in_rounds() {
    let tree = Tree::new();
    let mut paths = Vec::new();
    for number in 0..10_000 {
        // All of the same size, the last ones the oldest, some of the same second.
        let arrived = 1_000_000_000 - number / 3;
        let path = format!("a@x.org/cur/{arrived}.M{number}P1.h,S=1024");
        tree.file(&path, 0, 0);
        paths.push((arrived, path));
    }
    let output = tree.command(&["quota", "1", "a@x.org"]);
    assert_eq!(output.status.code(), Some(0));
    paths.sort();
    let left = paths.split_off(10_000 - 1024);
    assert!(paths.iter().all(|(_, path)| !tree.path(path).exists()));
    assert!(left.iter().all(|(_, path)| tree.path(path).exists()));
}
