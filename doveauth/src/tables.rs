//! The block list and the invites, wherever they are: in the file at `database_path`, or in PostgreSQL.

use std::path::PathBuf;
use std::time::SystemTime;

use chatmail::Config;
use chatmail::blocks::{Addition, BlockTable, BlocksError, Entry, Listed, Note};
use chatmail::invites::{Invite, InviteId, InviteTable, InvitesError, NewInvite, Token};
use chatmail::postgres::Postgres;

use crate::command::block_on;
use crate::mail_user::MailUser;

/// Where the tables are.
#[derive(Clone, Debug)]
pub(crate) enum Tables {
    /// In a file; made by root it belongs to the mail user.
    File { path: PathBuf, mail_user: String },
    /// In PostgreSQL.
    Postgres(Postgres),
}

impl Tables {
    /// The tables of a configuration, of which this is the database.
    pub(crate) fn new(config: &Config, postgres: Option<Postgres>) -> Self {
        match postgres {
            Some(postgres) => Self::Postgres(postgres),
            None => Self::File {
                path: config.database_path.clone(),
                mail_user: config.mail_user.clone(),
            },
        }
    }

    /// Does something with the tables of a configuration, on the command line.
    pub(crate) fn with<T, E: Into<anyhow::Error>>(
        config: &Config,
        work: impl AsyncFnOnce(&Self) -> Result<T, E>,
    ) -> anyhow::Result<T> {
        let tables = Self::new(config, Postgres::from_config(config)?);
        match &tables {
            Self::File { .. } => block_on(work(&tables))?.map_err(Into::into),
            // PostgreSQL may know its users by who has connected.
            Self::Postgres(_) => {
                let work = || block_on(work(&tables));
                MailUser::of(config)?.run(work)??.map_err(Into::into)
            }
        }
    }

    /// The block list in the order of its text.
    pub(crate) async fn blocks(&self) -> Result<Vec<Listed>, BlocksError> {
        match self {
            Self::File { path, .. } => match BlockTable::open(path)? {
                Some(mut table) => table.entries(),
                None => Ok(Vec::new()),
            },
            Self::Postgres(postgres) => postgres.blocks().await,
        }
    }

    /// Adds all of these to the block list, or none.
    pub(crate) async fn add_blocks(
        &self,
        entries: &[Entry],
        note: Option<&Note>,
    ) -> Result<Vec<Addition>, BlocksError> {
        match self {
            Self::File { path, mail_user } => {
                BlockTable::open_or_create(path, mail_user)?.add(entries, note)
            }
            Self::Postgres(postgres) => postgres.add_blocks(entries, note).await,
        }
    }

    /// Removes all of these from the block list, or none.
    pub(crate) async fn remove_blocks(&self, entries: &[Entry]) -> Result<Vec<bool>, BlocksError> {
        match self {
            Self::File { path, .. } => match BlockTable::open(path)? {
                Some(mut table) => table.remove(entries),
                None => Ok(vec![false; entries.len()]),
            },
            Self::Postgres(postgres) => postgres.remove_blocks(entries).await,
        }
    }

    /// Makes an invite.
    pub(crate) async fn create_invite(
        &self,
        new: &NewInvite,
        now: SystemTime,
    ) -> Result<(Token, Invite), InvitesError> {
        match self {
            Self::File { path, mail_user } => {
                InviteTable::open_or_create(path, mail_user)?.create(new, now)
            }
            Self::Postgres(postgres) => postgres.create_invite(new, now).await,
        }
    }

    /// All invites, the oldest first.
    pub(crate) async fn invites(&self, now: SystemTime) -> Result<Vec<Invite>, InvitesError> {
        match self {
            Self::File { path, .. } => match InviteTable::open(path)? {
                Some(mut table) => table.list(now),
                None => Ok(Vec::new()),
            },
            Self::Postgres(postgres) => postgres.invites(now).await,
        }
    }

    /// Ends an invite; `false` when there is none of that name.
    pub(crate) async fn revoke_invite(&self, id: &InviteId) -> Result<bool, InvitesError> {
        match self {
            Self::File { path, .. } => match InviteTable::open(path)? {
                Some(mut table) => table.revoke(id),
                None => Ok(false),
            },
            Self::Postgres(postgres) => postgres.revoke_invite(id).await,
        }
    }
}
