//! Invites, the block list and tombstones as rows.

use std::time::SystemTime;

use tokio_postgres::Row;

use super::accounts::days;
use super::{Lease, Postgres, PostgresError};
use crate::blocks::{Addition, BlockList, BlocksError, ENTRIES_MAX, Entry, Listed, Note};
use crate::invites::{
    Invite, InviteId, InvitesError, NewInvite, NoGood, Token, judge, lifetime_end, seconds,
};
use crate::tombstones::Day;

/// Takes a use of the invite with the hash `$1`, if it is good at `$2`.
pub(super) const TAKE_A_USE: &str = "UPDATE invites SET uses_left = uses_left - 1 \
    WHERE token = $1 AND uses_left > 0 AND (expires IS NULL OR expires > $2)";

/// Lays tombstones on the addresses `$1` until the day `$2`. None that is there gets a shorter time.
pub(super) const LAY_TOMBSTONES: &str = "INSERT INTO tombstones \
    SELECT DISTINCT sha256(salt || convert_to(address, 'UTF8')), $2::integer \
    FROM unnest($1::text[]) AS address, tombstone_salts WHERE own \
    ON CONFLICT (address) DO UPDATE SET until = greatest(tombstones.until, excluded.until)";

/// What [`invite`] reads.
const INVITES: &str = "SELECT token, uses, uses_left, expires, note, \
    to_char(to_timestamp(created) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS created_text, \
    to_char(to_timestamp(expires) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS expires_text \
    FROM invites";

impl Postgres {
    /// Makes an invite.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub async fn create_invite(
        &self,
        new: &NewInvite,
        now: SystemTime,
    ) -> Result<(Token, Invite), InvitesError> {
        const INSERT: &str = "INSERT INTO invites VALUES ($1, $2, $2, $3, $4, $5)";
        let token = Token::random()?;
        let (hash, uses, created) = (token.hash(), i64::from(new.uses.get()), seconds(now));
        let (expires, note) = (lifetime_end(new, now), new.note.as_str());
        let made = self.work(|session| async move {
            let client = session.client().await?;
            client
                .change(INSERT, &[&hash, &uses, &created, &expires, &note])
                .await?;
            let select = format!("{INVITES} WHERE token = $1");
            let row = client.row(&select, &[&hash]).await?;
            let gone = || PostgresError::new("an invite has gone that was just made");
            invite(&row.ok_or_else(gone)?, created)
        });
        Ok((token, made.await?))
    }

    /// All invites, the oldest first.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub async fn invites(&self, now: SystemTime) -> Result<Vec<Invite>, InvitesError> {
        let listed = self.work(|session| async move {
            let client = session.client().await?;
            let select = format!("{INVITES} ORDER BY created, token");
            let rows = client.rows(&select, &[]).await?;
            rows.iter().map(|row| invite(row, seconds(now))).collect()
        });
        Ok(listed.await?)
    }

    /// Ends an invite; `false` when there is none of that name.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub async fn revoke_invite(&self, id: &InviteId) -> Result<bool, InvitesError> {
        const REVOKE: &str = "DELETE FROM invites WHERE left(token, length($1)) = $1";
        let id = id.as_str();
        let revoked = self.work(|session| async move {
            let client = session.client().await?;
            client.change(REVOKE, &[&id]).await
        });
        Ok(revoked.await? > 0)
    }

    /// Whether an account could be made with this invite now.
    ///
    /// # Errors
    /// See [`InvitesError`].
    pub async fn look_at_invite(
        &self,
        token: &Token,
        now: SystemTime,
    ) -> Result<Result<(), NoGood>, InvitesError> {
        let hash = token.hash();
        let looked = self.work(|session| async move {
            let client = session.client().await?;
            look(&client, &hash, seconds(now)).await
        });
        Ok(looked.await?)
    }

    /// Adds all of these to the block list, or none if there is an error. With `None` an entry that is there
    /// keeps its note.
    ///
    /// # Errors
    /// See [`BlocksError`].
    pub async fn add_blocks(
        &self,
        entries: &[Entry],
        note: Option<&Note>,
    ) -> Result<Vec<Addition>, BlocksError> {
        // Of one and the same entry twice the second finds the first.
        const ADD: &str = "INSERT INTO blocks SELECT DISTINCT entry, coalesce($2::text, ''), \
            to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM unnest($1::text[]) AS entry \
            ON CONFLICT DO NOTHING RETURNING entry";
        const NOTE: &str = "UPDATE blocks SET note = $2 \
            WHERE entry = ANY($1::text[]) AND note <> $2 RETURNING entry";
        let texts: Vec<String> = entries.iter().map(Entry::to_string).collect();
        let note = note.map(Note::as_str);
        let names = &texts;
        let changed = self.work(|session| async move {
            let mut client = session.client().await?;
            let transaction = client.transaction().await?;
            // One after the other, or two that each fit would be too many together.
            let turn = "SELECT FROM generations WHERE name = 'blocks' FOR UPDATE";
            transaction.execute(turn, &[]).await?;
            let added = of_entries(&transaction.query(ADD, &[names, &note]).await?)?;
            let noted = match note {
                Some(note) => of_entries(&transaction.query(NOTE, &[names, &note]).await?)?,
                None => Vec::new(),
            };
            let row = transaction
                .query_one("SELECT count(*) FROM blocks", &[])
                .await?;
            let count = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(usize::MAX);
            if count > ENTRIES_MAX {
                return Ok(Err(BlocksError::Full { wanted: count }));
            }
            transaction.commit().await?;
            Ok(Ok((added, noted)))
        });
        let (added, noted) = changed.await??;
        let mut added: std::collections::HashSet<String> = added.into_iter().collect();
        let noted: std::collections::HashSet<String> = noted.into_iter().collect();
        let outcome = |entry: &String| match (added.remove(entry), noted.contains(entry)) {
            (true, _) => Addition::Added,
            (false, true) => Addition::Noted,
            (false, false) => Addition::Unchanged,
        };
        Ok(texts.iter().map(outcome).collect())
    }

    /// Removes all of these from the block list, and says of each whether it was there.
    ///
    /// # Errors
    /// See [`BlocksError`].
    pub async fn remove_blocks(&self, entries: &[Entry]) -> Result<Vec<bool>, BlocksError> {
        const REMOVE: &str = "DELETE FROM blocks WHERE entry = ANY($1::text[]) RETURNING entry";
        let texts: Vec<String> = entries.iter().map(Entry::to_string).collect();
        let names = &texts;
        let removed = self.work(|session| async move {
            let client = session.client().await?;
            of_entries(&client.rows(REMOVE, &[names]).await?)
        });
        let mut removed: std::collections::HashSet<String> = removed.await?.into_iter().collect();
        Ok(texts.iter().map(|entry| removed.remove(entry)).collect())
    }

    /// The block list in the order of its text.
    ///
    /// # Errors
    /// See [`BlocksError`].
    pub async fn blocks(&self) -> Result<Vec<Listed>, BlocksError> {
        const LIST: &str = "SELECT entry, note, added FROM blocks ORDER BY entry";
        let rows = self.work(|session| async move {
            let client = session.client().await?;
            client.rows(LIST, &[]).await
        });
        let listed = |row: &Row| {
            let text = |name| row.try_get::<_, String>(name).map_err(PostgresError::from);
            Ok(Listed {
                entry: text("entry")?.parse().map_err(BlocksError::Entry)?,
                note: text("note")?,
                added: text("added")?,
            })
        };
        rows.await?.iter().map(listed).collect()
    }

    /// How often the block list has changed.
    pub(super) async fn blocks_generation(&self) -> Result<i64, PostgresError> {
        const LOOK: &str = "SELECT number FROM generations WHERE name = 'blocks'";
        let row = self.work(|session| async move {
            let client = session.client().await?;
            client.row(LOOK, &[]).await
        });
        let none = || PostgresError::new("its block list has no generation");
        Ok(row.await?.ok_or_else(none)?.try_get(0)?)
    }

    /// The block list, as of which generation. It may be a later one.
    pub(super) async fn block_list(&self) -> Result<(i64, BlockList), BlocksError> {
        let generation = self.blocks_generation().await?;
        let listed = self.blocks().await?;
        let wanted = listed.len();
        if wanted > ENTRIES_MAX {
            return Err(BlocksError::Full { wanted });
        }
        Ok((
            generation,
            listed.into_iter().map(|listed| listed.entry).collect(),
        ))
    }

    /// Makes these addresses unavailable before the day `until`, all of them or none.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn lay_tombstones(
        &self,
        addresses: &[crate::Address],
        until: Day,
    ) -> Result<(), PostgresError> {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let until = days(until);
        let lain = self.work(|session| async move {
            let client = session.client().await?;
            client.change(LAY_TOMBSTONES, &[&addresses, &until]).await
        });
        lain.await.map(drop)
    }

    /// Removes tombstones whose time is over on this day; how many there were.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn remove_expired_tombstones(&self, today: Day) -> Result<u64, PostgresError> {
        const REMOVE: &str = "DELETE FROM tombstones WHERE until <= $1";
        let today = days(today);
        let removed = self.work(|session| async move {
            let client = session.client().await?;
            client.change(REMOVE, &[&today]).await
        });
        removed.await
    }
}

/// Whether the invite with this hash is good.
pub(super) async fn look(
    client: &Lease,
    hash: &str,
    now: i64,
) -> Result<Result<(), NoGood>, PostgresError> {
    const LOOK: &str = "SELECT uses_left, expires FROM invites WHERE token = $1";
    Ok(match client.row(LOOK, &[&hash]).await? {
        Some(row) => judge(number(&row, 0)?, row.try_get(1)?, now),
        None => Err(NoGood::Unknown),
    })
}

fn invite(row: &Row, now: i64) -> Result<Invite, PostgresError> {
    let uses_left = number(row, 2)?;
    Ok(Invite {
        id: InviteId::of_hash(row.try_get("token")?),
        uses: number(row, 1)?,
        uses_left,
        created: row.try_get("created_text")?,
        expires: row.try_get("expires_text")?,
        note: row.try_get("note")?,
        good: judge(uses_left, row.try_get("expires")?, now),
    })
}

/// A number of uses.
fn number(row: &Row, column: usize) -> Result<u32, PostgresError> {
    let number: i64 = row.try_get(column)?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

fn of_entries(rows: &[Row]) -> Result<Vec<String>, PostgresError> {
    let entries = rows.iter().map(|row| row.try_get(0));
    Ok(entries.collect::<Result<_, _>>()?)
}
