//! Unused accounts: how they go, what keeps them, and that nobody gets their addresses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use chatmail::Address;
use chatmail::accounts::{AccountService, LoginOutcome, Refusal};
use common::{DAY, NOW, Tree, at_now};
use expiry_cron::progress::Progress;
use expiry_cron::run::{Options, Summary, run};

/// Settings under which anybody may have an account, whatever the test machine is busy with.
const OPEN: &str = "max_load_1m = 0\nmin_available_memory = 0\nmin_free_disk_space = 0\n\
    username_min_length = 1\nnocreate_file = /nonexistent/nocreate";

fn unused_account() -> Tree {
    let tree = Tree::with(OPEN);
    let hash = "{SHA512-CRYPT}$6$salt$hash";
    tree.account("a@x.org", 100).message("a@x.org/cur/1", 1);
    fs::write(tree.path("a@x.org/password"), hash).unwrap();
    common::set_time(&tree.path("a@x.org/password"), NOW - 100 * DAY);
    tree
}

fn address() -> Address {
    "a@x.org".parse().unwrap()
}

/// A run whose accounts wait so long, and something that happens meanwhile.
fn run_while(tree: &Tree, window: Duration, meanwhile: impl FnOnce(&AtomicBool)) -> Summary {
    let config = tree.config();
    let options = Options {
        login_window: window,
        ..at_now(true)
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&config, options, &stop, &Progress::hidden()).unwrap());
        let marked = tree.path("a@x.org/password.expiring");
        while !marked.exists() && !running.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        meanwhile(&stop);
        running.join().unwrap()
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(future)
}

fn log_in(tree: &Tree) -> LoginOutcome {
    let accounts = AccountService::from_config(&tree.config()).unwrap();
    let login = block_on(accounts.login(&address(), b"a long password", None));
    login.unwrap().outcome
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn an_account_that_goes_leaves_a_tombstone() {
    let tree = unused_account();
    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_mailboxes, counts.errors), (1, 0));
    assert!(!tree.path("a@x.org").exists());
    // The tombstone is that of a run in the future: it lasts until then and longer.
    assert_eq!(log_in(&tree), LoginOutcome::Refused(Refusal::Deleted));
    assert!(!tree.path("a@x.org").exists());
    // A later run takes it away when its time is over.
    let later = Options {
        now: Some(expiry_cron::time::Time::new(NOW + 366 * DAY, 0)),
        ..at_now(true)
    };
    tree.run(later);
    assert!(matches!(log_in(&tree), LoginOutcome::Created(_)));
}

#[test]
fn without_tombstone_days_an_address_is_free_at_once() {
    let tree = Tree::with(&format!("{OPEN}\ntombstone_days = 0"));
    tree.account("a@x.org", 100);
    tree.run(at_now(true));
    assert!(matches!(log_in(&tree), LoginOutcome::Created(_)));
}

#[test]
fn a_login_between_decision_and_deletion_saves_the_account() {
    let tree = unused_account();
    // Long enough for the login below on any machine; the run waits for it.
    let summary = run_while(&tree, Duration::from_secs(10), |_| {
        let outcome = log_in(&tree);
        assert!(matches!(outcome, LoginOutcome::Existing(_)), "{outcome:?}");
    });
    let counts = summary.counts;
    assert_eq!((counts.removed_mailboxes, counts.kept_accounts), (0, 1));
    assert!(tree.path("a@x.org/password").exists());
    assert!(tree.path("a@x.org/cur/1").exists());
    // And there is no tombstone that would keep it from coming back, were it lost.
    fs::remove_dir_all(tree.path("a@x.org")).unwrap();
    assert!(matches!(log_in(&tree), LoginOutcome::Created(_)));
}

#[test]
fn a_login_that_began_before_the_decision_saves_the_account() {
    let tree = unused_account();
    let accounts = AccountService::from_config(&tree.config()).unwrap();
    let day = SystemTime::now();
    common::set_time(&tree.path("a@x.org/password"), 1_000_000_000);
    let summary = run_while(&tree, Duration::from_secs(10), |_| {
        // Dovecot has asked for the hash before, and now reports the login.
        let noted = block_on(accounts.record_login(&address(), day));
        assert!(noted.unwrap());
    });
    assert_eq!(summary.counts.kept_accounts, 1);
    let modified = fs::metadata(tree.path("a@x.org/password"))
        .unwrap()
        .modified()
        .unwrap();
    assert!(day.duration_since(modified).unwrap().as_secs() < 2 * 86_400);
}

#[test]
fn a_run_that_is_told_to_stop_takes_back_what_it_can() {
    let tree = unused_account();
    let before = tree.names();
    let summary = run_while(&tree, LONG, |stop| {
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert!(summary.stopped);
    assert_eq!(summary.counts.removed_mailboxes, 0);
    assert_eq!(tree.names(), before);
}

#[test]
fn without_a_place_for_tombstones_accounts_stay_and_old_mail_goes() {
    let tree = unused_account();
    tree.message("a@x.org/cur/old", 21);
    fs::create_dir_all(tree.outside("tables/tables")).unwrap();
    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_mailboxes, counts.errors), (0, 1));
    assert!(tree.path("a@x.org/password").exists());
    assert!(!tree.path("a@x.org/cur/old").exists());
}

/// Puts a mailbox into a state that a run leaves which is killed, and runs again.
fn after_a_kill(state: impl FnOnce(&Path), removed: u64) -> Tree {
    let tree = unused_account();
    state(&tree.path("a@x.org"));
    let dry = tree.run(at_now(false));
    let counts = tree.run(at_now(true));
    assert_eq!(dry.removed_mailboxes, removed);
    assert_eq!((counts.removed_mailboxes, counts.errors), (removed, 0));
    tree
}

#[test]
fn a_run_goes_on_where_one_was_killed() {
    let marked = |home: &Path| {
        fs::rename(home.join("password"), home.join("password.expiring")).unwrap();
    };
    let deleted = |home: &Path| {
        fs::rename(home.join("password"), home.join("password.expired")).unwrap();
        fs::remove_file(home.join("cur/1")).unwrap();
    };
    assert!(!after_a_kill(marked, 1).path("a@x.org").exists());
    assert!(!after_a_kill(deleted, 1).path("a@x.org").exists());
    // Marked by another clock, under which it was old.
    let marked_young = |home: &Path| {
        marked(home);
        common::set_time(&home.join("password.expiring"), NOW - DAY);
    };
    let tree = after_a_kill(marked_young, 0);
    assert!(tree.path("a@x.org/password").exists());
}
