//! The password file of PostgreSQL's programs (`PGPASSFILE`, else `~/.pgpass`; PostgreSQL manual, 34.16).

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

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
    #[case("postgresql://me@db.example:5433/mail", Some(r"colon:and\backslash"))]
    #[case("postgresql://me@db.example/else", Some("any"))]
    #[case("host=/run/postgresql user=me dbname=mail", Some("local"))]
    #[case("postgresql://you@db.example/mail", None)]
    fn passwords(#[case] url: &str, #[case] password: Option<&str>) {
        assert_eq!(find(FILE, &url.parse().unwrap()).as_deref(), password);
    }
}
