//! The accounts as rows.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use tokio_postgres::Row;

use super::known::Known;
use super::relocation::Whereabouts;
use super::{Postgres, PostgresError, SetupError};
use crate::accounts::{Account, Change, PasswordHash};
use crate::invites::{NoGood, Token};
use crate::tombstones::Day;
use crate::{Address, Config};

/// What the columns of [`stored`] are.
const SELECT: &str = "SELECT a.password, a.last_login, a.blocked, a.cleartext, a.expiring, a.backend, b.host, a.moving_to, a.closed, a.address \
    FROM accounts a LEFT JOIN backends b ON b.name = a.backend";

/// The one question that is asked for every login and every recipient.
static READ: LazyLock<String> = LazyLock::new(|| format!("{SELECT} WHERE a.address = $1"));

/// Which backend gets the next account: the one that has the fewest for its weight then.
pub(super) const LEAST_USED: &str = "SELECT b.name FROM backends b LEFT JOIN \
    (SELECT backend, sum(accounts) AS accounts FROM backend_accounts GROUP BY backend) c ON c.backend = b.name \
    WHERE NOT b.drained ORDER BY (coalesce(c.accounts, 0) + 1) / b.weight, b.name LIMIT 1";

/// The hashes that a tombstone for an address can have.
pub(super) const HASHES: &str =
    "SELECT sha256(salt || convert_to($1::text, 'UTF8')) FROM tombstone_salts";

/// An account as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Never [`Account::Missing`].
    pub account: Account,
    /// What a password file would hold, but for the mark of a blocked account.
    pub(super) content: Box<[u8]>,
    /// Whether it takes cleartext mail from outside.
    pub cleartext: bool,
    /// The day of the last login.
    pub last_login: Day,
    /// Whether it is about to be deleted.
    pub(super) expiring: bool,
    /// The backend that has its mailbox; `None` on a relay that has no backends.
    pub backend: Option<Box<str>>,
    /// Where that is; `None` when there is no such backend.
    host: Option<Box<str>>,
    /// The backend that gets its mailbox, while that is on its way.
    moving_to: Option<Box<str>>,
    /// Whether nobody may use it meanwhile.
    closed: bool,
}

/// What came of making an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is there, and safe.
    Created(Arc<Stored>),
    /// It was there.
    Exists,
    /// The address is that of an account that was deleted.
    Deleted,
    /// The invite is no good.
    Invite(NoGood),
    /// Not now.
    NotNow(NotNow),
}

/// Why no account can be made for the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// Somebody imports or exports accounts.
    #[error("accounts are being moved (doveauth accounts import or export)")]
    Moving,
    /// All backends are drained.
    #[error("no backend takes accounts (doveauth backends)")]
    NoBackend,
    /// The mailbox of a deleted account is still there.
    #[error("its old mailbox has yet to be removed")]
    Leaving,
}

/// For whom an account is made.
#[derive(Clone, Copy, Debug)]
pub enum For<'a> {
    /// Somebody who logs in.
    Anybody,
    /// Somebody with an invite.
    Invited(&'a Token),
    /// An operator, whom no tombstone stops.
    Operator,
}

/// The accounts, seen from one host.
#[derive(Clone, Debug)]
pub struct PostgresAccounts {
    pub(super) postgres: Postgres,
    /// Which backend this host is; `None` for a front.
    here: Option<Arc<str>>,
    known: Known,
}

impl PostgresAccounts {
    /// The accounts of a configuration; `None` when they are in files.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn from_config(config: &Config) -> Result<Option<Self>, SetupError> {
        let postgres = Postgres::from_config(config)?;
        let grace = Duration::from_secs(60).saturating_mul(config.auth_grace);
        Ok(postgres.map(|postgres| Self {
            postgres,
            here: (!config.backend_name.is_empty()).then(|| config.backend_name.as_str().into()),
            known: Known::new(grace),
        }))
    }

    /// The database below.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Whether this host only sends sessions to others.
    pub fn is_front(&self) -> bool {
        self.here.is_none()
    }

    /// Which backend this host is.
    pub fn backend_name(&self) -> Option<&str> {
        self.here.as_deref()
    }

    /// Whether the mailbox of an account is on this host.
    pub fn is_here(&self, stored: &Stored) -> bool {
        stored.backend.is_none() || stored.backend.as_deref() == self.here.as_deref()
    }

    /// Where sessions of an account go; `None`: they stay here.
    ///
    /// # Errors
    /// Its backend is not in the table, or its mailbox is on its way to another than this one.
    pub fn proxy(&self, stored: &Stored) -> Result<Option<Box<str>>, PostgresError> {
        if stored.moving_to.is_some() && stored.moving_to.as_deref() == self.here.as_deref() {
            return Ok(None);
        }
        if stored.closed {
            let why = "a mailbox is on its way to another backend";
            return Err(PostgresError::new(why));
        }
        if self.is_here(stored) {
            return Ok(None);
        }
        let unknown =
            || PostgresError::new("an account's backend is unknown (doveauth backends add)");
        stored.host.clone().map(Some).ok_or_else(unknown)
    }

    /// What there is of an address. While the database is away, what it said last, for a while.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn find(&self, address: &Address) -> Result<Option<Arc<Stored>>, PostgresError> {
        match self.read(address).await {
            Ok(found) => {
                let found = found.map(Arc::new);
                self.known.note(address, found.as_ref()).await;
                Ok(found)
            }
            Err(error) => match self.known.recall(address).await {
                Some(stored) => Ok(Some(stored)),
                None => Err(error),
            },
        }
    }

    /// The same for somebody who logs in: an account that was about to be deleted stays.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn find_for_login(
        &self,
        address: &Address,
    ) -> Result<Option<Arc<Stored>>, PostgresError> {
        let found = self.find(address).await?;
        if !found.as_ref().is_some_and(|stored| stored.expiring) {
            return Ok(found);
        }
        let keep = "UPDATE accounts SET expiring = false WHERE address = $1";
        if self.change(keep, address).await? {
            return Ok(found);
        }
        // Too late.
        self.find(address).await
    }

    async fn read(&self, address: &Address) -> Result<Option<Stored>, PostgresError> {
        let address = address.to_string();
        self.postgres
            .work(|session| async move {
                let client = session.client().await?;
                let row = client.row(&READ, &[&address]).await?;
                row.as_ref().map(stored).transpose()
            })
            .await
    }

    /// Makes an account, in one transaction with whatever it takes of an invite. Of several who do it at the same
    /// moment, on whichever host, one gets it.
    ///
    /// # Errors
    /// The database does not answer; then nobody knows whether it was made, and the next login tells.
    pub async fn create(
        &self,
        address: &Address,
        hash: &PasswordHash,
        now: SystemTime,
        whom: For<'_>,
    ) -> Result<Made, PostgresError> {
        let insert = format!(
            "INSERT INTO accounts (address, password, last_login, backend) \
            SELECT $1::text, $2::bytea, $3::integer, chosen.name \
            FROM (SELECT) AS always LEFT JOIN LATERAL ({LEAST_USED}) AS chosen ON true \
            WHERE (chosen.name IS NOT NULL OR NOT EXISTS (SELECT FROM backends)) \
            AND NOT EXISTS (SELECT FROM moves) \
            AND NOT EXISTS (SELECT FROM removals WHERE address = $1) \
            AND ($4::boolean OR NOT EXISTS \
                (SELECT FROM tombstones WHERE until > $3 AND address IN ({HASHES}))) \
            ON CONFLICT (address) DO NOTHING RETURNING address"
        );
        let (text, today) = (address.to_string(), days(Day::of(now)));
        let (token, seconds) = match whom {
            For::Invited(token) => (Some(token.hash()), crate::invites::seconds(now)),
            For::Anybody | For::Operator => (None, 0),
        };
        let any = matches!(whom, For::Operator);
        let content = hash.as_str().as_bytes();
        let made = self.postgres.work(|session| async move {
            let mut client = session.client().await?;
            let Some(token) = token else {
                let made = client
                    .row(&insert, &[&text, &content, &today, &any])
                    .await?;
                return Ok(match made {
                    Some(_) => None,
                    None => Some(why_not(&client, &text, today).await?),
                });
            };
            let take = client.prepare_cached(super::tables::TAKE_A_USE).await?;
            let insert = client.prepare_cached(&insert).await?;
            let transaction = client.transaction().await?;
            let made = transaction
                .query_opt(&insert, &[&text, &content, &today, &any])
                .await?;
            // Last, so that others with the same invite wait for nothing but our commit.
            let taken = match made {
                Some(_) => transaction.execute(&take, &[&token, &seconds]).await?,
                None => 0,
            };
            if taken > 0 {
                transaction.commit().await?;
                return Ok(None);
            }
            let was_made = made.is_some();
            transaction.rollback().await?;
            if !was_made {
                return why_not(&client, &text, today).await.map(Some);
            }
            let looked = super::tables::look(&client, &token, seconds).await?;
            Ok(Some(Made::Invite(looked.err().unwrap_or(NoGood::UsedUp))))
        });
        match made.await? {
            Some(why_not) => Ok(why_not),
            // Which backend it has got.
            None => Ok(match self.find(address).await? {
                Some(stored) => Made::Created(stored),
                None => Made::Exists,
            }),
        }
    }

    /// Notes a login, by its day. `false` when there is no such account.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn record_login(
        &self,
        address: &Address,
        at: SystemTime,
    ) -> Result<bool, PostgresError> {
        const LOOK: &str =
            "SELECT last_login >= $2 AND NOT expiring FROM accounts WHERE address = $1";
        const NOTE: &str = "UPDATE accounts SET last_login = greatest(last_login, $2), expiring = false \
            WHERE address = $1";
        let (address, day) = (address.to_string(), days(Day::of(at)));
        self.postgres
            .work(|session| async move {
                let client = session.client().await?;
                // Most logins of a day find it noted, and write nothing.
                match client.row(LOOK, &[&address, &day]).await? {
                    None => Ok(false),
                    Some(row) if row.try_get(0)? => Ok(true),
                    Some(_) => Ok(client.change(NOTE, &[&address, &day]).await? > 0),
                }
            })
            .await
    }

    /// Blocks an account, or ends that.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn set_blocked(
        &self,
        address: &Address,
        blocked: bool,
    ) -> Result<Change, PostgresError> {
        const SET: &str = "UPDATE accounts SET blocked = $2, expiring = false \
            WHERE address = $1 AND blocked <> $2";
        let text = address.to_string();
        let changed = self.postgres.work(|session| async move {
            let client = session.client().await?;
            client.change(SET, &[&text, &blocked]).await
        });
        if changed.await? > 0 {
            return Ok(Change::Done);
        }
        let keep = "UPDATE accounts SET expiring = false WHERE address = $1";
        Ok(match self.change(keep, address).await? {
            true => Change::Unchanged,
            false => Change::Missing,
        })
    }

    /// Gives an account another password. One that is blocked stays so.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn set_password(
        &self,
        address: &Address,
        hash: &PasswordHash,
    ) -> Result<Change, PostgresError> {
        const SET: &str = "UPDATE accounts SET password = $2, expiring = false WHERE address = $1";
        let (address, content) = (address.to_string(), hash.as_str().as_bytes());
        let changed = self.postgres.work(|session| async move {
            let client = session.client().await?;
            client.change(SET, &[&address, &content]).await
        });
        Ok(match changed.await? {
            0 => Change::Missing,
            _ => Change::Done,
        })
    }

    /// So many accounts in the order of their addresses, from the first behind `after`.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn page(
        &self,
        after: &str,
        length: u32,
    ) -> Result<Vec<(Address, Stored)>, PostgresError> {
        let select = format!("{SELECT} WHERE a.address > $1 ORDER BY a.address LIMIT $2");
        let (after, length) = (after.to_owned(), i64::from(length));
        self.postgres
            .work(|session| async move {
                let client = session.client().await?;
                let rows = client.rows(&select, &[&after, &length]).await?;
                rows.iter()
                    .map(|row| {
                        let address: &str = row.try_get("address")?;
                        let broken = |_| PostgresError::new("a row of accounts is of no address");
                        Ok((address.parse().map_err(broken)?, stored(row)?))
                    })
                    .collect()
            })
            .await
    }

    /// Deletes an account, puts a tombstone on its address, and notes that its mailbox has to go, all or
    /// nothing. With `mailbox` also that of an address without account. Where it was; `None`: there was no account.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn delete(
        &self,
        address: &Address,
        until: Option<Day>,
        mailbox: bool,
    ) -> Result<Option<Whereabouts>, PostgresError> {
        let text = address.to_string();
        let here = self.here.clone();
        let deleted = self.postgres.work(|session| async move {
            let mut client = session.client().await?;
            let transaction = client.transaction().await?;
            let delete = "DELETE FROM accounts WHERE address = $1 RETURNING backend, moving_to";
            let row = transaction.query_opt(delete, &[&text]).await?;
            let place = row.as_ref().map(Whereabouts::read).transpose()?;
            if let (Some(_), Some(until)) = (&place, until) {
                let lay = super::tables::LAY_TOMBSTONES;
                transaction
                    .execute(lay, &[&[text.as_str()].as_slice(), &days(until)])
                    .await?;
            }
            if place.is_some() || mailbox {
                let of = match &place {
                    Some(place) => place.backend.as_deref(),
                    None => here.as_deref(),
                };
                let note = "INSERT INTO removals VALUES ($1, $2) ON CONFLICT DO NOTHING";
                transaction.execute(note, &[&text, &of]).await?;
            }
            transaction.commit().await?;
            Ok(place)
        });
        let deleted = deleted.await?;
        self.known.note(address, None).await;
        Ok(deleted)
    }

    /// Notes that the mailbox of a deleted account is gone.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn mailbox_is_gone(&self, address: &Address) -> Result<(), PostgresError> {
        let gone = "DELETE FROM removals WHERE address = $1";
        self.change(gone, address).await.map(drop)
    }

    /// Whether a statement about an address has changed anything.
    async fn change(&self, sql: &'static str, address: &Address) -> Result<bool, PostgresError> {
        let address = address.to_string();
        self.postgres
            .work(|session| async move {
                let client = session.client().await?;
                Ok(client.change(sql, &[&address]).await? > 0)
            })
            .await
    }
}

/// Why an account was not made.
async fn why_not(client: &super::Lease, address: &str, today: i32) -> Result<Made, PostgresError> {
    let ask = format!(
        "SELECT EXISTS (SELECT FROM accounts WHERE address = $1), EXISTS (SELECT FROM moves), \
        EXISTS (SELECT FROM removals WHERE address = $1), \
        EXISTS (SELECT FROM tombstones WHERE until > $2 AND address IN ({HASHES})), \
        EXISTS (SELECT FROM backends WHERE NOT drained) OR NOT EXISTS (SELECT FROM backends)"
    );
    let Some(row) = client.row(&ask, &[&address, &today]).await? else {
        return Err(PostgresError::new("a question without answer"));
    };
    Ok(match (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?) {
        (true, _, _) => Made::Exists,
        (_, true, _) => Made::NotNow(NotNow::Moving),
        _ if row.try_get(3)? => Made::Deleted,
        (_, _, true) => Made::NotNow(NotNow::Leaving),
        _ if !row.try_get::<_, bool>(4)? => Made::NotNow(NotNow::NoBackend),
        // Somebody has made it, and it was deleted again: whoever logs in next sees.
        _ => Made::Exists,
    })
}

/// Reads a row of [`SELECT`].
fn stored(row: &Row) -> Result<Stored, PostgresError> {
    let content: &[u8] = row.try_get("password")?;
    let account = match row.try_get("blocked")? {
        true => Account::Blocked,
        false => PasswordHash::parse(content).map_or(Account::Locked, Account::Present),
    };
    let text = |name| Ok::<_, PostgresError>(row.try_get::<_, Option<&str>>(name)?.map(Into::into));
    Ok(Stored {
        account,
        content: content.into(),
        cleartext: row.try_get("cleartext")?,
        last_login: Day::from_number(i64::from(row.try_get::<_, i32>("last_login")?)),
        expiring: row.try_get("expiring")?,
        backend: text("backend")?,
        host: text("host")?,
        moving_to: text("moving_to")?,
        closed: row.try_get("closed")?,
    })
}

/// A day as the tables have it.
pub(super) fn days(day: Day) -> i32 {
    i32::try_from(day.number()).unwrap_or(i32::MAX)
}
