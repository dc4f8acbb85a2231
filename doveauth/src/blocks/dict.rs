//! The dict over which mxdeliv-bridge shows the block list and changes it; see
//! [`chatmail::blocks::remote`].

use std::sync::Arc;

use chatmail::Config;
use chatmail::blocks::remote::{KEY_PREFIX, New, Stored, key, parse_key};
use chatmail::blocks::{BlocksError, Entry, Listed, Note};
use chatmail::dict::codec::Iterate;
use chatmail::dict::{Change, ChangeSet, Failure, Handler, Rows};
use chatmail::postgres::PostgresAccounts;
use tokio::runtime::Handle;

use crate::metrics::{Metrics, Outcome};
use crate::tables::Tables;
use crate::trouble::Trouble;

/// The name under which it is counted and logged.
const BLOCKS: &str = "blocks";

/// The list as rows; takes changes of it.
#[derive(Debug)]
pub struct BlocksDict {
    tables: Tables,
    metrics: Metrics,
    trouble: Arc<Trouble>,
}

/// What a commit asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Add(Vec<Entry>, Option<Note>),
    Remove(Vec<Entry>),
}

impl BlocksDict {
    /// The dict over the list of a configuration.
    pub fn new(config: &Config, postgres: Option<PostgresAccounts>, metrics: Metrics) -> Self {
        let postgres = postgres.map(|postgres| postgres.postgres().clone());
        Self {
            tables: Tables::new(config, postgres),
            metrics,
            trouble: Arc::new(Trouble::new(BLOCKS)),
        }
    }

    async fn change(&self, wanted: Wanted) -> Result<(), Failure> {
        let changed = match &self.tables {
            Tables::Postgres(_) => change(&self.tables, &wanted).await,
            // On a thread that may wait for the disk.
            Tables::File { .. } => {
                let (tables, runtime) = (self.tables.clone(), Handle::current());
                let work = move || runtime.block_on(change(&tables, &wanted));
                let changed = tokio::task::spawn_blocking(work).await;
                changed.map_err(|error| self.trouble.failure(&error))?
            }
        };
        changed.map_err(|error| self.trouble.failure(&error))
    }
}

/// The list, which is read when the first row is asked for.
struct Listing {
    tables: Tables,
    runtime: Handle,
    metrics: Metrics,
    trouble: Arc<Trouble>,
}

impl Listing {
    /// To be called on a thread that may block.
    fn rows(self) -> Rows {
        let listed = self.runtime.block_on(self.tables.blocks());
        let listed = listed.map_err(|error| self.trouble.failure(&error));
        let outcome = Outcome::of(&listed.as_ref().map(Some));
        self.metrics.count(BLOCKS, outcome);
        match listed {
            Ok(listed) => Box::new(listed.into_iter().map(row)),
            Err(failure) => Box::new(std::iter::once(Err(failure))),
        }
    }
}

impl Handler for BlocksDict {
    /// Nobody looks up single entries: whether mail is blocked is a question to the policy dict.
    async fn lookup(&self, _key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }

    fn iterate(&self, request: &Iterate) -> Rows {
        if request.path != KEY_PREFIX.as_bytes() {
            return Box::new(std::iter::empty());
        }
        let listing = Listing {
            tables: self.tables.clone(),
            runtime: Handle::current(),
            metrics: self.metrics.clone(),
            trouble: Arc::clone(&self.trouble),
        };
        Box::new(std::iter::once_with(|| listing.rows()).flatten())
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

async fn change(tables: &Tables, wanted: &Wanted) -> Result<(), BlocksError> {
    match wanted {
        Wanted::Add(entries, note) => {
            tables.add_blocks(entries, note.as_ref()).await?;
            tracing::info!("block list: {} entries to add", entries.len());
        }
        Wanted::Remove(entries) => {
            tables.remove_blocks(entries).await?;
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
