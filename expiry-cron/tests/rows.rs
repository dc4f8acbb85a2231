//! Accounts in PostgreSQL: each backend deletes its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use chatmail::accounts::{AccountService, LoginOutcome, Refusal};
use chatmail::postgres::PostgresAccounts;
use common::{DAY, NOW, Tree, at_now};
use postgres_server::Server;

/// Accounts last used so many days ago, on these backends, with a mailbox here each.
fn tree(url: &str, accounts: &[(&str, i64, &str)]) -> Tree {
    let tree = Tree::with(&format!(
        "database_url = {url}\nbackend_name = one\ndatabase_timeout = 100\nusername_min_length = 3\n\
        max_load_1m = 0\nmin_available_memory = 0\nmin_free_disk_space = 0"
    ));
    // Makes the tables.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let service = AccountService::from_config(&tree.config()).unwrap();
    let prepared = service.postgres().unwrap().postgres().prepare();
    runtime.block_on(prepared).unwrap();
    for (name, days, backend) in accounts {
        let day = (NOW - days * DAY) / DAY;
        let backend = match *backend {
            "" => "NULL".to_owned(),
            backend => format!("'{backend}'"),
        };
        sql(
            url,
            &format!(
                "INSERT INTO accounts (address, password, last_login, backend) VALUES ('{name}@x.org', '{{PLAIN}}x', {day}, {backend})"
            ),
        );
        tree.message(&format!("{name}@x.org/cur/young"), 1);
        tree.message(&format!("{name}@x.org/cur/old"), 30);
    }
    tree
}

fn sql(url: &str, statement: &str) -> String {
    Server::shared().sql(Server::name(url), statement)
}

fn login(tree: &Tree, name: &str) -> LoginOutcome {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let service = AccountService::from_config(&tree.config()).unwrap();
    let address = format!("{name}@x.org").parse().unwrap();
    let login = service.login(&address, b"a long password", None);
    runtime.block_on(login).unwrap().outcome
}

#[test]
fn inactive_accounts_of_this_backend_go_with_their_mailboxes_and_no_others() {
    let url = Server::shared().database();
    let tree = tree(
        &url,
        &[
            ("used", 89, "one"),
            ("unused", 92, "one"),
            ("nobodys", 92, ""),
            ("elsewhere", 92, "two"),
            ("timeless", NOW / DAY, "one"),
        ],
    );
    // From before the accounts came into the database.
    tree.account("used@x.org", 200);
    tree.account("unused@x.org", 200);
    assert_eq!(tree.run(at_now(false)).removed_mailboxes, 2);
    assert_eq!(sql(&url, "SELECT count(*) FROM accounts"), "5");

    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_mailboxes, counts.errors), (2, 0));
    assert_eq!(counts.removed_messages, 5);
    let left = sql(
        &url,
        "SELECT string_agg(address, ' ' ORDER BY address) FROM accounts",
    );
    assert_eq!(left, "elsewhere@x.org timeless@x.org used@x.org");
    for (name, is_there) in [
        ("used", true),
        ("unused", false),
        ("nobodys", false),
        ("elsewhere", true),
    ] {
        assert_eq!(
            tree.path(&format!("{name}@x.org/cur/young")).exists(),
            is_there,
            "{name}"
        );
    }
    assert_eq!(sql(&url, "SELECT count(*) FROM tombstones"), "2");
    assert_eq!(sql(&url, "SELECT count(*) FROM removals"), "0");
    assert_eq!(
        sql(&url, "SELECT count(*) FROM accounts WHERE expiring"),
        "0"
    );
    assert_eq!(
        login(&tree, "unused"),
        LoginOutcome::Refused(Refusal::Deleted)
    );
    assert!(matches!(login(&tree, "used"), LoginOutcome::Existing(_)));
}

#[test]
fn what_is_left_of_deleted_accounts_goes_and_a_login_in_time_keeps_one() {
    let url = Server::shared().database();
    let tree = tree(&url, &[("late", 92, "one"), ("gone", 1, "one")]);
    // An operator has deleted it on a front; a run that was killed had marked the other.
    sql(
        &url,
        "DELETE FROM accounts WHERE address = 'gone@x.org'; INSERT INTO removals VALUES ('gone@x.org', 'one')",
    );
    sql(&url, "UPDATE accounts SET expiring = true");
    assert!(matches!(login(&tree, "late"), LoginOutcome::Existing(_)));
    sql(
        &url,
        &format!(
            "UPDATE accounts SET last_login = {} WHERE NOT expiring",
            NOW / DAY
        ),
    );
    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_mailboxes, counts.errors), (1, 0));
    assert!(!tree.path("gone@x.org").exists());
    assert!(tree.path("late@x.org/cur/young").exists());
    assert_eq!(sql(&url, "SELECT count(*) FROM removals"), "0");
}

#[test]
fn without_the_database_mail_goes_and_no_account_does() {
    let url = Server::shared().database();
    let tree = tree(&url, &[("unused", 92, "one")]);
    let away = url.replace("dbname=test", "dbname=nosuch");
    let settings = fs::read_to_string(tree.ini()).unwrap().replace(&url, &away);
    let (config, _) = chatmail::Config::parse(&settings, "chatmail.ini".as_ref()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let progress = expiry_cron::progress::Progress::hidden();
    let counts = expiry_cron::run::run(&config, at_now(true), &stop, &progress)
        .unwrap()
        .counts;
    assert_eq!((counts.removed_mailboxes, counts.removed_messages), (0, 1));
    assert!(counts.errors > 0);
    assert!(tree.path("unused@x.org/cur/young").exists());
}

/// A relay where `name` is the only backend that the database knows, and this host is `one`; each of these accounts is on
/// a backend and on its way to another, and has an old file in its mailbox here.
fn strays(url: &str, name: &str, accounts: &[(&str, &str, &str)]) -> Tree {
    let tree = tree(url, &[]);
    sql(
        url,
        &format!("INSERT INTO backends VALUES ('{name}', '10.0.0.1')"),
    );
    for (account, backend, moving_to) in accounts {
        let day = NOW / DAY;
        sql(
            url,
            &format!(
                "INSERT INTO accounts (address, password, last_login, backend, moving_to) VALUES \
                ('{account}@x.org', '{{PLAIN}}x', {day}, nullif('{backend}', ''), nullif('{moving_to}', ''))"
            ),
        );
        still(&tree, account);
    }
    tree
}

/// A mailbox in which nothing has happened for long.
fn still(tree: &Tree, account: &str) {
    tree.message(&format!("{account}@x.org/dovecot-uidlist"), 21);
    tree.directory(&format!("{account}@x.org/cur"), 21 * DAY);
    tree.directory(&format!("{account}@x.org"), 21 * DAY);
}

#[test]
fn a_copy_of_what_is_on_another_backend_goes_when_it_holds_no_mail_and_nothing_has_changed() {
    let url = Server::shared().database();
    let accounts = [
        ("copy", "two", ""),
        ("mail", "two", ""),
        ("oldmail", "two", ""),
        ("changed", "two", ""),
        ("new", "two", ""),
        ("here", "one", ""),
        ("comes", "two", "one"),
        ("goes", "one", "two"),
        ("nobodys", "", ""),
    ];
    let tree = strays(&url, "one", &accounts);
    still(&tree, "norow");
    tree.message("mail@x.org/.Folder/cur/young", 1);
    tree.message("oldmail@x.org/cur/old", 30);
    tree.message("changed@x.org/dovecot.index.log", 1);
    tree.directory("new@x.org", DAY);
    let there = || {
        let names = tree.names();
        let mailboxes = names.iter().filter_map(|name| name.split_once('@'));
        let mailboxes: std::collections::BTreeSet<_> =
            mailboxes.map(|(name, _)| name.to_owned()).collect();
        mailboxes
    };
    let all = there();
    assert_eq!(all.len(), accounts.len() + 1);
    assert_eq!(tree.run(at_now(false)).removed_mailboxes, 1);
    assert_eq!(there(), all);

    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_mailboxes, counts.errors), (1, 0));
    let gone = |before: &std::collections::BTreeSet<String>| -> Vec<String> {
        before.difference(&there()).cloned().collect()
    };
    assert_eq!(gone(&all), ["copy"]);
    // Its mail has gone by its age, and it follows.
    let before = there();
    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_mailboxes, counts.errors), (1, 0));
    assert_eq!(gone(&before), ["oldmail"]);
    assert_eq!(sql(&url, "SELECT count(*) FROM accounts"), "9");
    assert_eq!(sql(&url, "SELECT count(*) FROM removals"), "0");
}

#[test]
fn a_host_whose_name_no_backend_has_removes_no_copies() {
    let url = Server::shared().database();
    let tree = strays(&url, "two", &[("copy", "two", "")]);
    let counts = tree.run(at_now(true));
    assert_eq!((counts.removed_mailboxes, counts.errors), (0, 0));
    assert!(tree.path("copy@x.org/dovecot-uidlist").exists());
}

#[test]
fn no_account_begins_to_come_while_a_copy_of_it_is_removed() {
    let url = Server::shared().database();
    let tree = strays(&url, "one", &[("copy", "two", "")]);
    let copy: chatmail::Address = "copy@x.org".parse().unwrap();
    let comes = || {
        let settings = fs::read_to_string(tree.ini()).unwrap();
        let impatient = settings.replace("database_timeout = 100", "database_timeout = 1");
        let (config, _) = chatmail::Config::parse(&impatient, "chatmail.ini".as_ref()).unwrap();
        let postgres = PostgresAccounts::from_config(&config).unwrap().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(postgres.begin_move(&copy, "two", "one"))
    };
    let postgres = PostgresAccounts::from_config(&tree.config()).unwrap();
    let postgres = postgres.unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let meanwhile = || std::thread::scope(|scope| scope.spawn(comes).join().unwrap());
    let done = runtime.block_on(postgres.while_elsewhere(&copy, meanwhile));
    assert!(done.unwrap().unwrap().is_err(), "it has begun");
    assert!(comes().unwrap());
    // Nor is it removed once it comes.
    let done = runtime.block_on(postgres.while_elsewhere(&copy, || ()));
    assert_eq!(done.unwrap(), None);
}
