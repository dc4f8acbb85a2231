//! Making the file: under another name first, so that nobody ever sees half of it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::{User, geteuid};
use rusqlite::Connection;

use super::{DatabaseError, Schema, file, migrate, sqlite};

/// User and group id.
type Owner = (u32, u32);

/// Makes the file, and its folder if need be. A file that another process has made meanwhile is
/// as good.
pub(super) fn create(
    schema: &Schema,
    path: &Path,
    mail_user: Option<&str>,
) -> Result<(), DatabaseError> {
    let folder = path.parent().unwrap_or(path);
    let owner = prepare_folder(folder, mail_user)?;
    let temporary = temporary_name(path).map_err(file("name", path))?;
    let made = fill(schema, &temporary, owner).and_then(|()| link(&temporary, path));
    // A process that is killed before this leaves some kilobytes that nobody opens.
    let removed = std::fs::remove_file(&temporary);
    made?;
    removed.map_err(file("remove", &temporary))?;
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(file("write", folder))
}

/// Whom the file is to belong to, unless that is who makes it anyway.
fn prepare_folder(folder: &Path, mail_user: Option<&str>) -> Result<Option<Owner>, DatabaseError> {
    let mail_user = mail_user.unwrap_or_default();
    let mail_owner = mail_owner(mail_user).map_err(file("find the owner of", folder))?;
    let found = match std::fs::metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_folder(folder, mail_owner)?;
            std::fs::metadata(folder)
        }
        found => found,
    };
    let found = found.map_err(file("look at", folder))?;
    if !geteuid().is_root() {
        return Ok(None);
    }
    match mail_owner {
        Some((user, _)) if user != found.uid() => Err(DatabaseError::Folder {
            folder: folder.into(),
            mail_user: mail_user.into(),
        }),
        owner => Ok(owner.or(Some((found.uid(), found.gid())))),
    }
}

/// Makes the folder, unless another process has meanwhile. Under another name first: it is never there as a folder of
/// root's, which the mail user could not use, not even when we are killed on the way.
fn make_folder(folder: &Path, owner: Option<Owner>) -> Result<(), DatabaseError> {
    let temporary = temporary_name(folder).map_err(file("name", folder))?;
    let made = DirBuilder::new().mode(0o700).create(&temporary);
    made.map_err(file("make the folder", folder))?;
    let given = owner.map_or(Ok(()), |(user, group)| {
        chown(&temporary, Some(user), Some(group)).map_err(file("give away", folder))
    });
    let named = given
        .and_then(|()| name_folder(&temporary, folder).map_err(file("make the folder", folder)));
    if !matches!(named, Ok(true)) {
        std::fs::remove_dir(&temporary).map_err(file("remove", &temporary))?;
    }
    named.map(drop)
}

/// Gives a folder its name; `false` when another process has made one of that name.
fn name_folder(temporary: &Path, folder: &Path) -> io::Result<bool> {
    let flag = RenameFlags::RENAME_NOREPLACE;
    let named = match renameat2(AT_FDCWD, temporary, AT_FDCWD, folder, flag) {
        // A file system that does not know the flag replaces a folder only if nothing is in it.
        Err(Errno::EINVAL) => std::fs::rename(temporary, folder),
        named => named.map_err(io::Error::from),
    };
    match named.as_ref().map_err(io::Error::kind) {
        Ok(()) => Ok(true),
        Err(ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => Ok(false),
        Err(_) => named.map(|()| true),
    }
}

/// The ids of the mail user; `None` when there is no such user, or when we are not root and can
/// give nothing away.
fn mail_owner(mail_user: &str) -> io::Result<Option<Owner>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let user = User::from_name(mail_user)?;
    Ok(user.map(|user| (user.uid.as_raw(), user.gid.as_raw())))
}

fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new.{random:016x}"));
    Ok(path.with_file_name(name))
}

/// A database with all tables and nothing in them, on disk.
fn fill(schema: &Schema, path: &Path, owner: Option<Owner>) -> Result<(), DatabaseError> {
    let mut options = OpenOptions::new();
    let empty = options.write(true).create_new(true).mode(0o600).open(path);
    let empty = empty.map_err(file("make", path))?;
    if let Some((user, group)) = owner {
        fchown(&empty, Some(user), Some(group)).map_err(file("give away", path))?;
    }
    drop(empty);
    let fill = || {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "application_id", schema.application_id)?;
        migrate(schema, &mut connection)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)
    };
    fill().map_err(sqlite(path))?;
    let synced = File::open(path).and_then(|filled| filled.sync_all());
    synced.map_err(file("write", path))
}

fn link(temporary: &Path, path: &Path) -> Result<(), DatabaseError> {
    match std::fs::hard_link(temporary, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked.map_err(file("make", path)),
    }
}
