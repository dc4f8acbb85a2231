//! Passwords for the database that stand in files: one of our own (`database_password_file`), or that of PostgreSQL's
//! programs (`PGPASSFILE`, else `~/.pgpass`; PostgreSQL manual, 34.16).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::SetupError;

/// The most octets that a file of one password may have.
const MAX: u64 = 1024;

/// Why a `database_password_file` is not used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    /// It cannot be read.
    #[error("{0}; the mail user has to be able to read it")]
    Read(#[from] io::Error),
    /// Everybody can read it.
    #[error("it is readable for everybody (chmod o= FILE)")]
    Public,
    /// It is not what it should be.
    #[error("it must hold one line: the password")]
    NotOneLine,
}

/// The password in a file of our own.
///
/// # Errors
/// It cannot be read, everybody can read it, or it does not hold one line.
pub(super) fn read(path: &Path) -> Result<String, SetupError> {
    only_line(path).map_err(|reason| SetupError::Password {
        path: path.into(),
        reason,
    })
}

fn only_line(path: &Path) -> Result<String, PasswordFileError> {
    let file = File::open(path)?;
    // A group may read it: root makes it for the mail user.
    if file.metadata()?.permissions().mode() & 0o007 != 0 {
        return Err(PasswordFileError::Public);
    }
    let mut text = String::new();
    let octets = file.take(MAX + 1).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let fits = u64::try_from(octets).is_ok_and(|octets| octets <= MAX);
    match fits && !line.is_empty() && !line.contains(char::is_control) {
        true => Ok(line.to_owned()),
        false => Err(PasswordFileError::NotOneLine),
    }
}

/// What PostgreSQL's programs take for the host of a unix socket.
const LOCAL: &str = "localhost";

/// Sets the password of the first line that fits, unless there is one.
pub(super) fn apply(settings: &mut Config) {
    if settings.get_password().is_some() {
        return;
    }
    let Some(path) = path() else { return };
    let Ok(found) = std::fs::metadata(&path) else {
        return;
    };
    if found.permissions().mode() & 0o077 != 0 {
        // As PostgreSQL's own programs have it.
        tracing::warn!(
            "{} is readable for others and not used (chmod 600)",
            path.display()
        );
        return;
    }
    if let Some(password) = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| find(&text, settings))
    {
        settings.password(password);
    }
}

fn path() -> Option<PathBuf> {
    let named = std::env::var_os("PGPASSFILE").filter(|name| !name.is_empty());
    named.map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".pgpass"))
    })
}

/// The password for the first host of these settings.
fn find(text: &str, settings: &Config) -> Option<String> {
    let host = match settings.get_hosts().first()? {
        Host::Tcp(name) => name.clone(),
        Host::Unix(_) => LOCAL.to_owned(),
    };
    let port = settings.get_ports().first().copied().unwrap_or(5432);
    let user = settings.get_user().unwrap_or_default();
    let wanted = [
        host,
        port.to_string(),
        settings.get_dbname().unwrap_or(user).to_owned(),
        user.to_owned(),
    ];
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let (password, pattern) = fields(line)
                .split_last()
                .map(|(last, rest)| (last.clone(), rest.to_vec()))?;
            let fits = |(pattern, wanted): (&String, &String)| pattern == "*" || pattern == wanted;
            let all = pattern.len() == wanted.len() && pattern.iter().zip(&wanted).all(fits);
            all.then_some(password)
        })
}

/// What colons separate; a backslash makes the next character an ordinary one.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let ordinary = match character {
            ':' => {
                fields.push(String::new());
                continue;
            }
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        };
        if let Some(last) = fields.last_mut() {
            last.push(ordinary);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const FILE: &str = "# passwords\n\
        other.example:5432:mail:me:no\n\
        db.example:5433:mail:me:colon\\:and\\\\backslash\n\
        db.example:*:*:me:any\n\
        localhost:5432:mail:me:local\n";

    #[rstest]
    #[case("with spaces: and \u{fc}\n", 0o640, Some("with spaces: and \u{fc}"))]
    #[case("without an end", 0o600, Some("without an end"))]
    #[case("", 0o600, None)]
    #[case("\n", 0o600, None)]
    #[case("two\nlines\n", 0o600, None)]
    #[case("for everybody\n", 0o644, None)]
    fn files_of_one_password(
        #[case] content: &str,
        #[case] mode: u32,
        #[case] password: Option<&str>,
    ) {
        use std::io::Write as _;

        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        let mode = std::fs::Permissions::from_mode(mode);
        file.as_file().set_permissions(mode).unwrap();
        assert_eq!(read(file.path()).ok().as_deref(), password);
    }

    #[test]
    fn a_file_of_one_password_ends_somewhere() {
        let long = tempfile::NamedTempFile::new().unwrap();
        long.as_file().set_len(1 << 30).unwrap();
        let error = read(long.path()).unwrap_err().to_string();
        assert!(error.ends_with("one line: the password"), "{error}");
        assert!(read(Path::new("/nonexistent")).is_err());
    }

    #[rstest]
    #[case("postgresql://me@db.example:5433/mail", Some(r"colon:and\backslash"))]
    #[case("postgresql://me@db.example/else", Some("any"))]
    #[case("host=/run/postgresql user=me dbname=mail", Some("local"))]
    #[case("postgresql://you@db.example/mail", None)]
    fn passwords(#[case] url: &str, #[case] password: Option<&str>) {
        assert_eq!(find(FILE, &url.parse().unwrap()).as_deref(), password);
    }
}
