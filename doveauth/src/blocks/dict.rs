//! The dict over which mxdeliv-bridge shows the block list and changes it; see
//! [`chatmail::blocks::remote`].

use std::path::PathBuf;

use chatmail::Config;
use chatmail::blocks::remote::{KEY_PREFIX, New, Stored, key, parse_key};
use chatmail::blocks::{BlockTable, BlocksError, Entry, Listed, Note};
use chatmail::dict::codec::Iterate;
use chatmail::dict::{Change, ChangeSet, Failure, Handler, Rows};

use crate::metrics::{Metrics, Outcome};
use crate::trouble::Trouble;

/// The name under which it is counted and logged.
const BLOCKS: &str = "blocks";

/// The list as rows; takes changes of it.
#[derive(Debug)]
pub struct BlocksDict {
    path: PathBuf,
    mail_user: String,
    metrics: Metrics,
    trouble: Trouble,
}

/// What a commit asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Add(Vec<Entry>, Option<Note>),
    Remove(Vec<Entry>),
}

impl BlocksDict {
    /// The dict over the list of a configuration.
    pub fn new(config: &Config, metrics: Metrics) -> Self {
        Self {
            path: config.database_path.clone(),
            mail_user: config.mail_user.clone(),
            metrics,
            trouble: Trouble::new(BLOCKS),
        }
    }

    fn listed(&self) -> Result<Vec<Listed>, BlocksError> {
        match BlockTable::open(&self.path)? {
            Some(mut table) => table.entries(),
            None => Ok(Vec::new()),
        }
    }

    /// Does what is wanted, on a thread that may wait for the disk.
    async fn change(&self, wanted: Wanted) -> Result<(), Failure> {
        let (path, mail_user) = (self.path.clone(), self.mail_user.clone());
        let changed = tokio::task::spawn_blocking(move || change(&path, &mail_user, &wanted));
        match changed.await {
            Ok(changed) => changed.map_err(|error| self.trouble.failure(&error)),
            Err(error) => Err(self.trouble.failure(&error)),
        }
    }

    fn rows(&self, request: &Iterate) -> Result<Rows, Failure> {
        if request.path != KEY_PREFIX.as_bytes() {
            return Ok(Box::new(std::iter::empty()));
        }
        let listed = self
            .listed()
            .map_err(|error| self.trouble.failure(&error))?;
        Ok(Box::new(listed.into_iter().map(row)))
    }
}

impl Handler for BlocksDict {
    /// Nobody looks up single entries: whether mail is blocked is a question to the policy dict.
    async fn lookup(&self, _key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }

    fn iterate(&self, request: &Iterate) -> Rows {
        let rows = self.rows(request);
        let outcome = Outcome::of(&rows.as_ref().map(Some));
        self.metrics.count(BLOCKS, outcome);
        rows.unwrap_or_else(|failure| Box::new(std::iter::once(Err(failure))))
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), Failure> {
        let changed = match wanted(&changes.changes) {
            Some(wanted) => self.change(wanted).await,
            None => Err(Failure("not a change of the block list".into())),
        };
        let outcome = Outcome::of(&changed.as_ref().map(Some));
        self.metrics.count(BLOCKS, outcome);
        changed
    }
}

fn row(listed: Listed) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let Listed { entry, note, added } = listed;
    let value = serde_json::to_vec(&Stored { added, note });
    let value = value.map_err(|error| Failure(error.to_string()))?;
    Ok((key(&entry), value))
}

fn change(path: &std::path::Path, mail_user: &str, wanted: &Wanted) -> Result<(), BlocksError> {
    match wanted {
        Wanted::Add(entries, note) => {
            let mut table = BlockTable::open_or_create(path, mail_user)?;
            table.add(entries, note.as_ref())?;
            tracing::info!("block list: {} entries to add", entries.len());
        }
        Wanted::Remove(entries) => {
            if let Some(mut table) = BlockTable::open(path)? {
                table.remove(entries)?;
            }
            tracing::info!("block list: {} entries to remove", entries.len());
        }
    }
    Ok(())
}

/// `None` when it is not either additions with one note or removals.
fn wanted(changes: &[Change]) -> Option<Wanted> {
    let mut entries = Vec::with_capacity(changes.len());
    let mut value_of_all = None;
    for (at, change) in changes.iter().enumerate() {
        let (key, value) = match change {
            Change::Set { key, value } => (key, Some(value)),
            Change::Unset { key } => (key, None),
            Change::Increment { .. } => return None,
        };
        if at > 0 && value != value_of_all {
            return None;
        }
        value_of_all = value;
        entries.push(parse_key(key)?.ok()?);
    }
    Some(match value_of_all {
        None => Wanted::Remove(entries),
        Some(value) => {
            let New { note } = serde_json::from_slice(value).ok()?;
            let note = note.map(|note| note.parse()).transpose().ok()?;
            Wanted::Add(entries, note)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn set(entry: &str, value: &str) -> Change {
        Change::Set {
            key: format!("{KEY_PREFIX}{entry}").into_bytes(),
            value: value.as_bytes().to_vec(),
        }
    }

    fn unset(entry: &str) -> Change {
        Change::Unset {
            key: format!("{KEY_PREFIX}{entry}").into_bytes(),
        }
    }

    #[test]
    fn changes_of_one_kind_are_made() {
        let entries = || vec!["x.org".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        let value = r#"{"note":"why"}"#;
        let added = wanted(&[set("X.org", value), set("192.0.2.1", value)]);
        let note = Some("why".parse().unwrap());
        assert_eq!(added, Some(Wanted::Add(entries(), note)));
        let kept = wanted(&[set("x.org", r#"{"note":null}"#)]);
        assert_eq!(kept, Some(Wanted::Add(entries()[..1].into(), None)));
        let removed = wanted(&[unset("x.org"), unset("192.0.2.1")]);
        assert_eq!(removed, Some(Wanted::Remove(entries())));
    }

    #[rstest]
    #[case::two_kinds(&[set("x.org", "{}"), unset("y.org")])]
    #[case::two_notes(&[set("x.org", r#"{"note":"a"}"#), set("y.org", r#"{"note":"b"}"#)])]
    #[case::no_entry(&[unset("not an entry")])]
    #[case::no_entry_among_others(&[unset("x.org"), unset("")])]
    #[case::no_note(&[set("x.org", r#"{"note":"two\nlines"}"#)])]
    #[case::no_json(&[set("x.org", "")])]
    #[case::other_json(&[set("x.org", r#"{"notes":"x"}"#)])]
    #[case::another_dict(&[Change::Unset { key: b"shared/policy/x.org".to_vec() }])]
    #[case::no_text(&[Change::Unset { key: b"shared/blocks/\xff".to_vec() }])]
    #[case::a_number(&[Change::Increment { key: b"shared/blocks/x.org".to_vec(), by: 1 }])]
    fn others_are_not(#[case] changes: &[Change]) {
        assert_eq!(wanted(changes), None);
    }
}
