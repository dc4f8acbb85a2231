//! `chatmail.ini`: one file for all daemons, in the format that operators of classic relays have.
//!
//! Every key of a classic relay is read with the same meaning and default; the suite adds a few of
//! its own. A key nobody knows is a warning, since the file may be newer or older than the
//! program; a value that is not allowed is an error, since guessing would change who may do what.

pub mod ini;
mod keys;
mod value;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use keys::{Config, KEYS};
pub use value::{
    AcceptUnsigned, AddressList, ByteSize, CertAndKey, Domains, HostAndPort, HttpsUrl, Listen,
    Positive, Servers, Value, Words,
};

/// Where the daemons look for their configuration unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/chatmail/chatmail.ini";

/// One key of the file, as `check-config --describe` prints it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name before the `=`.
    pub name: &'static str,
    /// The default as it would stand in the file; `None` when the key must be given.
    pub default: Option<&'static str>,
    /// What it means.
    pub documentation: &'static [&'static str],
    /// What may be written.
    pub allowed: &'static str,
}

/// Why a configuration cannot be used. The text names file, line and key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; name another file with --config", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line breaks the rules of the format.
    #[error("{path}: {source}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line and what is wrong.
        source: ini::IniError,
    },
    /// A key that must be given is missing.
    #[error("{path}: `{key}` is missing from [params]; allowed: {allowed}", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What may be written.
        allowed: &'static str,
    },
    /// A value that is not allowed.
    #[error("{path}, {place}: `{key} = {value}` is not allowed; allowed: {allowed}", path = path.display(), place = place(*line))]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The line of the key, counted from 1; none when a default is at odds with another key.
        line: Option<usize>,
        /// The key.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What may be written.
        allowed: String,
    },
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(|| "by default".into(), |line| format!("line {line}"))
}

/// Something in the file that is probably a mistake but stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The key that nobody knows.
    pub key: String,
    /// A known key that looks like it.
    pub similar: Option<&'static str>,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}, line {}: unknown key `{}`",
            self.path.display(),
            self.line,
            self.key
        )?;
        match self.similar {
            Some(similar) => write!(out, " is ignored; did you mean `{similar}`?"),
            None => write!(out, " is ignored"),
        }
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// An unreadable file, a broken line, a missing `mail_domain` or a value that is not allowed.
    pub fn load(path: &Path) -> Result<(Self, Vec<Warning>), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Reads a configuration from memory; `path` is for messages only.
    ///
    /// # Errors
    /// As [`Config::load`], but for reading the file.
    pub fn parse(text: &str, path: &Path) -> Result<(Self, Vec<Warning>), ConfigError> {
        let entries = ini::parse(text).map_err(|source| ConfigError::Syntax {
            path: path.into(),
            source,
        })?;
        let warnings = entries
            .iter()
            .filter(|entry| entry.section == "params")
            .filter(|entry| KEYS.iter().all(|key| key.name != entry.name))
            .map(|entry| Warning {
                path: path.into(),
                line: entry.line,
                key: entry.name.clone(),
                similar: similar_key(&entry.name),
            })
            .collect();
        let source = Source::new(path, entries);
        let config = Self::from_source(&source)?;
        config.check(&source)?;
        Ok((config, warnings))
    }

    /// What no single key can say.
    fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let longest = u32::try_from(crate::address::LOCAL_PART_MAX).unwrap_or(u32::MAX);
        let (min, max) = (
            self.username_min_length.get(),
            self.username_max_length.get(),
        );
        if max > longest {
            return Err(source.bad_value("username_max_length", format!("1 to {longest}")));
        }
        if min > max {
            let allowed = format!("1 to username_max_length ({max})");
            return Err(source.bad_value("username_min_length", allowed));
        }
        Ok(())
    }
}

/// The key that a misspelt one was probably meant to be: at most two letters away.
fn similar_key(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|key| (edit_distance(key.name, name), key.name))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance, one row at a time.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The values of `[params]` on their way into a [`Config`].
struct Source<'a> {
    path: &'a Path,
    entries: HashMap<String, ini::Entry>,
    mail_domain: String,
}

impl<'a> Source<'a> {
    fn new(path: &'a Path, entries: Vec<ini::Entry>) -> Self {
        let entries: HashMap<_, _> = entries
            .into_iter()
            .filter(|entry| entry.section == "params")
            .map(|entry| (entry.name.clone(), entry))
            .collect();
        let mail_domain = entries
            .get("mail_domain")
            .map(|entry| entry.value.clone())
            .unwrap_or_default();
        Self {
            path,
            entries,
            mail_domain,
        }
    }

    /// The value of a key, or else its default, in which `{mail_domain}` stands for that key's text.
    fn value<T: Value>(
        &self,
        key: &'static str,
        default: Option<&'static str>,
    ) -> Result<T, ConfigError> {
        let text = match (self.entries.get(key), default) {
            (Some(entry), _) => entry.value.clone(),
            (None, Some(default)) => default.replace("{mail_domain}", &self.mail_domain),
            (None, None) => {
                let (path, allowed) = (self.path.into(), T::ALLOWED);
                return Err(ConfigError::Missing { path, key, allowed });
            }
        };
        T::read(&text).ok_or_else(|| {
            let mut error = self.bad_value(key, T::ALLOWED.into());
            if T::SECRET
                && let ConfigError::BadValue { value, .. } = &mut error
            {
                *value = "(not shown)".into();
            }
            error
        })
    }

    fn bad_value(&self, key: &'static str, allowed: String) -> ConfigError {
        let entry = self.entries.get(key);
        let default = || {
            KEYS.iter()
                .find(|known| known.name == key)
                .and_then(|key| key.default)
        };
        ConfigError::BadValue {
            path: self.path.into(),
            line: entry.map(|entry| entry.line),
            key,
            value: entry.map_or_else(
                || default().unwrap_or_default().to_owned(),
                |entry| entry.value.clone(),
            ),
            allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parse(text: &str) -> Result<(Config, Vec<Warning>), ConfigError> {
        Config::parse(text, Path::new("chatmail.ini"))
    }

    #[test]
    fn defaults_are_those_of_a_classic_relay() {
        let (config, warnings) = parse("[params]\nmail_domain = chat.example\n").unwrap();
        assert_eq!(warnings, []);
        assert_eq!(config.mail_domain.as_str(), "chat.example");
        assert_eq!(config.max_user_send_per_minute.get(), 60);
        assert_eq!(config.max_user_send_burst_size.get(), 10);
        assert_eq!(config.max_mailbox_size.bytes(), 500 << 20);
        assert_eq!(config.max_message_size.bytes(), 31_457_280);
        assert_eq!(config.delete_mails_after, 20);
        assert_eq!(config.delete_large_after, 7);
        assert_eq!(config.delete_inactive_users_after, 90);
        assert_eq!(config.username_min_length.get(), 9);
        assert_eq!(config.username_max_length.get(), 9);
        assert_eq!(config.password_min_length, 9);
        assert_eq!(config.max_load_1m, 5.0);
        assert_eq!(config.min_available_memory.bytes(), 200 << 20);
        assert_eq!(config.min_free_disk_space.bytes(), 1 << 30);
        assert_eq!(
            config.mailboxes_dir,
            Path::new("/home/vmail/mail/chat.example")
        );
        assert_eq!(config.iroh_relay, "https://chat.example");
    }

    #[test]
    fn an_ipv4_mail_domain_means_address_literals() {
        let (config, _) = parse("[params]\nmail_domain = 192.0.2.1\n").unwrap();
        assert_eq!(config.mail_domain.as_str(), "[192.0.2.1]");
        assert_eq!(
            config.mailboxes_dir,
            Path::new("/home/vmail/mail/192.0.2.1")
        );
    }

    #[test]
    fn unknown_keys_are_named_with_their_likely_meaning() {
        let text = "[params]\nmail_domain = x.org\nmax_mesage_size = 1\nzzz = 1\n[other]\nx = 1\n";
        let shown: Vec<_> = parse(text)
            .unwrap()
            .1
            .iter()
            .map(Warning::to_string)
            .collect();
        assert_eq!(
            shown,
            [
                "chatmail.ini, line 3: unknown key `max_mesage_size` is ignored; did you mean `max_message_size`?",
                "chatmail.ini, line 4: unknown key `zzz` is ignored",
            ]
        );
    }

    #[rstest]
    #[case(
        "",
        "chatmail.ini: `mail_domain` is missing from [params]; allowed: a domain name, or an IPv4 address for [a.b.c.d] addresses"
    )]
    #[case(
        "mail_domain = x.org\nmax_message_size = big",
        "chatmail.ini, line 3: `max_message_size = big` is not allowed; allowed: a number of bytes, optionally with k, M, G or T (powers of 1024)"
    )]
    #[case(
        "mail_domain = x.org\nusername_min_length = 10",
        "chatmail.ini, line 3: `username_min_length = 10` is not allowed; allowed: 1 to username_max_length (9)"
    )]
    #[case(
        "mail_domain = x.org\nusername_max_length = 65",
        "chatmail.ini, line 3: `username_max_length = 65` is not allowed; allowed: 1 to 64"
    )]
    #[case(
        "mail_domain = x.org\nusername_max_length = 8",
        "chatmail.ini, by default: `username_min_length = 9` is not allowed; allowed: 1 to username_max_length (8)"
    )]
    #[case(
        "mail_domain = x.org\ndatabase_url = postgresql://me:secret@h/x?sslmode=some",
        "chatmail.ini, line 3: `database_url = (not shown)` is not allowed; allowed: postgresql://USER@HOST/NAME, or words such as host=/run/postgresql dbname=chatmail; sslmode is disable, prefer or require"
    )]
    #[case(
        "mail_domain = x.org\nmail_domain = y.org",
        "chatmail.ini: line 3: `mail_domain` was given before, on line 2; keep one of them"
    )]
    fn errors_name_file_line_and_key(#[case] body: &str, #[case] message: &str) {
        assert_eq!(
            parse(&format!("[params]\n{body}\n"))
                .unwrap_err()
                .to_string(),
            message
        );
    }

    #[test]
    fn every_default_is_allowed_and_every_key_documented() {
        parse("[params]\nmail_domain = x.org\n").unwrap();
        assert!(KEYS.iter().all(|key| !key.documentation.is_empty()));
        let needed: Vec<_> = KEYS.iter().filter(|key| key.default.is_none()).collect();
        assert_eq!(needed.len(), 1);
    }
}
