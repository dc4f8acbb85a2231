#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use std::os::unix::fs::{PermissionsExt as _, chown};

const PATIENCE: Duration = Duration::from_millis(50);

/// Nobody: no test depends on who is a user of the machine.
const NO_USER: &str = "no-such-user";

fn create(path: &Path) -> Database {
    open_or_create(path, PATIENCE, NO_USER).unwrap()
}

fn open_or_create(
    path: &Path,
    patience: Duration,
    mail_user: &str,
) -> Result<Database, DatabaseError> {
    Database::open_or_create(&SCHEMA, path, patience, Some(mail_user))
}

#[test]
fn a_new_file_is_private_complete_and_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sub/tables");
    assert!(Database::open(&SCHEMA, &path, PATIENCE).unwrap().is_none());
    drop(create(&path));
    let found = std::fs::metadata(&path).unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["tables"]);

    let database = Database::open(&SCHEMA, &path, PATIENCE).unwrap().unwrap();
    assert_eq!(
        pragma::<i64>(&database.connection, "user_version"),
        Ok(SCHEMA.latest())
    );
    let mode: String = pragma(&database.connection, "journal_mode").unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn of_several_that_make_the_file_all_get_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let mut database = open_or_create(path, Duration::from_secs(20), NO_USER).unwrap();
                let sql = "INSERT INTO blocks VALUES (?1, '', '')";
                database.connection().execute(sql, [number]).unwrap();
            });
        }
    });
    let mut database = create(&path);
    let count = "SELECT count(*) FROM blocks";
    let count: i64 = database
        .connection()
        .query_row(count, [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 8);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3); // with -wal and -shm
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables");
    for content in [&b""[..], b"not a database at all", &[0; 8192]] {
        std::fs::write(&path, content).unwrap();
        assert!(Database::open(&SCHEMA, &path, PATIENCE).is_err());
        assert!(open_or_create(&path, PATIENCE, NO_USER).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }

    std::fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE blocks (x)").unwrap();
    drop(other);
    let refused = Database::open(&SCHEMA, &path, PATIENCE).unwrap_err();
    assert!(matches!(refused, DatabaseError::Foreign { .. }));
    assert!(refused.to_string().contains("move it away"), "{refused}");
}

#[test]
fn tables_of_a_newer_version_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables");
    let database = create(&path);
    database
        .connection
        .pragma_update(None, "user_version", 1000)
        .unwrap();
    drop(database);
    let refused = Database::open(&SCHEMA, &path, PATIENCE).unwrap_err();
    assert!(matches!(refused, DatabaseError::Newer { found: 1000, .. }));
}

#[test]
fn tables_of_an_older_version_are_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables");
    let old = Connection::open(&path).unwrap();
    old.pragma_update(None, "application_id", SCHEMA.application_id)
        .unwrap();
    drop(old);
    let mut database = Database::open(&SCHEMA, &path, PATIENCE).unwrap().unwrap();
    assert_eq!(
        pragma::<i64>(&database.connection, "user_version"),
        Ok(SCHEMA.latest())
    );
    let sql = "SELECT number FROM generations WHERE name = 'blocks'";
    let generation = database.connection().query_row(sql, [], |row| row.get(0));
    assert_eq!(generation, Ok(0));
}

#[test]
fn who_writes_waits_for_another_writer_only_so_long() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tables");
    let mut first = create(&path);
    first.connection().execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut second = Database::open(&SCHEMA, &path, PATIENCE).unwrap().unwrap();
    let written = second.connection().execute("DELETE FROM blocks", []);
    assert!(written.unwrap_err().to_string().contains("locked"));
}

#[test]
fn a_folder_that_is_missing_twice_over_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/tables");
    let refused = open_or_create(&path, PATIENCE, NO_USER).unwrap_err();
    assert!(matches!(refused, DatabaseError::File { .. }), "{refused}");
}

/// What root makes is for the mail user: `nobody` here, which every machine has.
#[test]
fn root_makes_files_for_the_mail_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: nothing to see");
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/tables");
    let mut database = open_or_create(&path, PATIENCE, "nobody").unwrap();
    let write = "INSERT INTO blocks VALUES ('x.org', '', '')";
    database.connection().execute(write, []).unwrap();
    for name in ["", "tables", "tables-wal", "tables-shm"] {
        let found = std::fs::metadata(dir.path().join("made").join(name)).unwrap();
        assert_eq!((name, found.uid()), (name, nobody.uid.as_raw()));
        assert_eq!((name, found.gid()), (name, nobody.gid.as_raw()));
    }

    let own = dir.path().join("tables");
    let refused = open_or_create(&own, PATIENCE, "nobody").unwrap_err();
    assert!(matches!(refused, DatabaseError::Folder { .. }), "{refused}");
    assert!(!own.exists());
    // Without such a user the owner of the folder is the next best.
    chown(
        dir.path(),
        Some(nobody.uid.as_raw()),
        Some(nobody.gid.as_raw()),
    )
    .unwrap();
    create(&own);
    assert_eq!(std::fs::metadata(&own).unwrap().uid(), nobody.uid.as_raw());
}

#[test]
fn many_make_the_folder_and_the_file_at_once() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/tables");
        let begin = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    begin.wait();
                    open_or_create(&path, Duration::from_secs(100), "nobody").unwrap();
                });
            }
        });
        // Nobody has left a folder that is not the one.
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
