//! The list over doveauth's socket, for daemons that may not touch the file.
//!
//! It is a dict. The key of an entry is [`KEY_PREFIX`] and the entry's text. Rows have a [`Stored`] for
//! value, in JSON. Setting a key adds the entry, with a [`New`] for value; unsetting one removes it. A
//! commit either adds entries with one note, or removes entries: all of them, or none if there is an error.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Addition, ENTRIES_MAX, Entry, EntryError, Listed, Note};
use crate::dict::session::CHANGES_MAX;
use crate::dict::{Change, Client, ClientError};

/// Where entries are in doveauth's dict of blocks; the entry follows.
pub const KEY_PREFIX: &str = "shared/blocks/";

/// Most entries that can be changed at once.
pub const ENTRIES_AT_ONCE_MAX: usize = CHANGES_MAX;

/// How long to wait for an answer: longer than doveauth waits for another process that has the file.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the dict tells of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// When it was added, in UTC: `2026-01-31T12:00:00Z`.
    pub added: String,
    /// Why it is there; may be empty.
    pub note: String,
}

/// What the dict is told of a new entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// Why it is to be there; without one an entry that is there keeps its note.
    pub note: Option<String>,
}

/// Why the list cannot be shown or changed. The text quotes no entry.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// doveauth has not done it.
    #[error(transparent)]
    Dict(#[from] ClientError),
    /// doveauth's answer is not what was asked for.
    #[error("doveauth's answer is not a block list: {0}")]
    Value(#[from] serde_json::Error),
    /// doveauth's answer holds something that is no entry.
    #[error("doveauth's answer is not a block list: {0}")]
    Entry(#[from] EntryError),
    /// More entries than [`ENTRIES_AT_ONCE_MAX`].
    #[error("{0} entries are more than the {ENTRIES_AT_ONCE_MAX} that can be changed at once")]
    TooMany(usize),
}

/// Shows and changes the list by way of doveauth.
#[derive(Debug)]
pub struct RemoteBlocks(Client);

impl RemoteBlocks {
    /// A client of the dict at [`Config::blocks_socket`](crate::Config::blocks_socket).
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self(Client::new(socket, TIMEOUT))
    }

    /// All entries in the order of their text.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub async fn entries(&self) -> Result<Vec<Listed>, RemoteError> {
        let rows = self.0.iterate(KEY_PREFIX.as_bytes(), ENTRIES_MAX).await?;
        let listed = |(key, value): (Vec<u8>, Vec<u8>)| {
            let entry = parse_key(&key).ok_or(EntryError::Other)??;
            let Stored { added, note } = serde_json::from_slice(&value)?;
            Ok(Listed { entry, note, added })
        };
        rows.into_iter().map(listed).collect()
    }

    /// Adds all of these, or none if there is an error, and says of each what came of it: judged by how the
    /// list was just before. With `None` an entry that is there keeps its note.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub async fn add(
        &self,
        entries: &[Entry],
        note: Option<&Note>,
    ) -> Result<Vec<Addition>, RemoteError> {
        let mut notes = self.notes().await?;
        let note = note.map(Note::as_str);
        let new = New {
            note: note.map(str::to_owned),
        };
        let value = serde_json::to_vec(&new)?;
        let set = |entry: &Entry| Change::Set {
            key: key(entry),
            value: value.clone(),
        };
        self.change(entries.iter().map(set).collect()).await?;
        // Named twice it is new only once.
        let addition = |entry: &Entry| match notes.get_mut(entry) {
            Some(found) => match note.filter(|note| note != found) {
                Some(note) => {
                    note.clone_into(found);
                    Addition::Noted
                }
                None => Addition::Unchanged,
            },
            None => {
                notes.insert(entry.clone(), note.unwrap_or_default().to_owned());
                Addition::Added
            }
        };
        Ok(entries.iter().map(addition).collect())
    }

    /// Removes all of these, or none if there is an error, and says of each whether it was there: judged by
    /// how the list was just before.
    ///
    /// # Errors
    /// See [`RemoteError`].
    pub async fn remove(&self, entries: &[Entry]) -> Result<Vec<bool>, RemoteError> {
        let mut notes = self.notes().await?;
        let unset = |entry: &Entry| Change::Unset { key: key(entry) };
        self.change(entries.iter().map(unset).collect()).await?;
        let was_there = |entry: &Entry| notes.remove(entry).is_some();
        Ok(entries.iter().map(was_there).collect())
    }

    async fn notes(&self) -> Result<HashMap<Entry, String>, RemoteError> {
        let entries = self.entries().await?.into_iter();
        Ok(entries.map(|listed| (listed.entry, listed.note)).collect())
    }

    async fn change(&self, changes: Vec<Change>) -> Result<(), RemoteError> {
        if changes.len() > ENTRIES_AT_ONCE_MAX {
            return Err(RemoteError::TooMany(changes.len()));
        }
        Ok(self.0.commit(&changes).await?)
    }
}

/// The key of an entry.
pub fn key(entry: &Entry) -> Vec<u8> {
    format!("{KEY_PREFIX}{entry}").into_bytes()
}

/// The entry of a key; `None` when it is not a key of this dict.
pub fn parse_key(key: &[u8]) -> Option<Result<Entry, EntryError>> {
    let text = str::from_utf8(key).ok()?.strip_prefix(KEY_PREFIX)?;
    Some(text.parse())
}
