//! Accounts and small tables in PostgreSQL, for a relay of several hosts (`database_url`).
//!
//! What [`accounts`](crate::accounts), [`invites`](crate::invites), [`blocks`](crate::blocks) and
//! [`tombstones`](crate::tombstones) say holds here too; mailboxes stay directories, each on its [backend](backends).
//! `1.sql` tells what is kept.
//!
//! Each question has `database_timeout` for everything: to get a connection from the pool, or a new one, and the
//! answer. Whoever is over it gets an error, and the connection is not used again. So clients get a definite
//! answer while the database is away, slow, or out of connections, well before Dovecot gives up (30 s). While it is
//! silent only one question at a time waits for it; the others are refused at once. Once it is back the next
//! question finds it.
//!
//! - [`Postgres`]: the pool
//! - [`PostgresAccounts`]: the accounts
//! - [`tables`]: invites, block list, tombstones
//! - [`backends`]: which host keeps which mailboxes
//! - [`activity`]: how many accounts there are, and when they were used
//! - [`relocation`]: accounts that go from one backend to another
//! - [`moving`]: from mailbox directories to the database, and back

mod accounts;
pub mod activity;
pub mod backends;
mod blocks;
mod elsewhere;
mod expiry;
mod known;
pub mod moving;
mod password_file;
pub mod relocation;
mod schema;
mod silence;
pub mod tables;
mod url;

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use accounts::{For, Made, NotNow, PostgresAccounts, Stored};
pub use blocks::LiveBlocks;
pub use password_file::PasswordFileError;
pub use url::DatabaseUrl;

use self::silence::Silence;
use crate::Config;
use crate::tls::{self, TlsError};

/// Why the database cannot be used, by how it is set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The password cannot be had.
    #[error("database_password_file: {path}: {reason}", path = path.display())]
    Password {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        reason: PasswordFileError,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The pool.
    #[error("no pool of connections: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// Why a question to the database was not answered. Temporary, if only an operator can change it at times; the text
/// names no address and holds no password.
#[derive(Clone, Debug, thiserror::Error)]
#[error("PostgreSQL: {0}")]
pub struct PostgresError(Arc<str>);

impl PostgresError {
    fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        // Neither its detail nor its hint, which quote values.
        if let Some(said) = error.as_db_error() {
            return Self::new(format!("{} ({})", said.message(), said.code().code()));
        }
        let first: &(dyn std::error::Error + 'static) = &error;
        let innermost = std::iter::successors(Some(first), |error| error.source()).last();
        Self::new(innermost.map_or_else(|| error.to_string(), ToString::to_string))
    }
}

impl From<PoolError> for PostgresError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::new("all connections are in use"),
            other => Self::new(other.to_string()),
        }
    }
}

/// The database of a relay.
#[derive(Clone)]
pub struct Postgres(Arc<Shared>);

struct Shared {
    pool: Pool,
    timeout: Duration,
    migrated: OnceCell<()>,
    silence: Silence,
}

impl Postgres {
    /// The database of a configuration; `None` when accounts are in files. Connects to nothing yet.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn from_config(config: &Config) -> Result<Option<Self>, SetupError> {
        let Some(url) = &config.database_url else {
            return Ok(None);
        };
        let timeout = Duration::from_secs(config.database_timeout.get().into());
        // The server gives up before we do: then the connection can be used again.
        let mut settings = url.settings(timeout * 5 / 8, timeout / 2);
        match &config.database_password_file {
            Some(path) => {
                settings.password(password_file::read(path)?);
            }
            None => password_file::apply(&mut settings),
        }
        let how = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = match url.wants_tls() {
            true => {
                let tls = tls::client(&config.database_authorities, "database_authorities")?;
                Manager::from_config(settings, MakeRustlsConnect::new(tls), how)
            }
            false => Manager::from_config(settings, NoTls, how),
        };
        let connections = usize::try_from(config.database_connections.get()).unwrap_or(usize::MAX);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .wait_timeout(Some(timeout / 2))
            .create_timeout(Some(timeout))
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(Some(Self(Arc::new(Shared {
            pool,
            timeout,
            migrated: OnceCell::new(),
            silence: Silence::default(),
        }))))
    }

    /// Makes the tables, or brings them up to date, however long that takes. Whoever asks something before does so
    /// too, within his time.
    ///
    /// # Errors
    /// The database does not answer, or was made by a newer version.
    pub async fn prepare(&self) -> Result<(), PostgresError> {
        self.patient().await.map(drop)
    }

    /// Does one piece of work within its time.
    async fn work<T, F: Future<Output = Result<T, PostgresError>>>(
        &self,
        work: impl FnOnce(Session) -> F,
    ) -> Result<T, PostgresError> {
        let silent = || PostgresError::new("no answer in time");
        let turn = self.0.silence.turn().ok_or_else(silent)?;
        let deadline = Instant::now() + self.0.timeout;
        let session = Session {
            postgres: self.clone(),
            deadline: Some(deadline),
        };
        let done = tokio::time::timeout_at(deadline, work(session)).await;
        turn.ended(done.is_ok());
        done.unwrap_or_else(|_| Err(silent()))
    }

    /// A connection for long work at an operator's word, without limits of time.
    async fn patient(&self) -> Result<Lease, PostgresError> {
        let session = Session {
            postgres: self.clone(),
            deadline: None,
        };
        let client = session.client().await?;
        client
            .batch_execute("SET statement_timeout = 0; SET lock_timeout = 0")
            .await?;
        Ok(client)
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Postgres(not shown)")
    }
}

/// A piece of work that has begun.
struct Session {
    postgres: Postgres,
    deadline: Option<Instant>,
}

impl Session {
    /// A connection to a database that has all tables.
    async fn client(&self) -> Result<Lease, PostgresError> {
        let shared = &self.postgres.0;
        let mut lease = Lease {
            connection: Some(shared.pool.get().await?),
            deadline: self.deadline,
        };
        let migrated = shared
            .migrated
            .get_or_try_init(|| schema::migrate(&mut lease));
        migrated.await?;
        Ok(lease)
    }
}

/// A connection that goes back to the pool, unless its time was over: then an answer may still be to come.
struct Lease {
    connection: Option<Object>,
    deadline: Option<Instant>,
}

impl Lease {
    /// The rows that a prepared statement gives.
    async fn rows(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PostgresError> {
        let statement = self.prepare_cached(sql).await?;
        Ok(self.query(&statement, values).await?)
    }

    /// The row that a prepared statement gives, if it gives one.
    async fn row(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, PostgresError> {
        let statement = self.prepare_cached(sql).await?;
        Ok(self.query_opt(&statement, values).await?)
    }

    /// How many rows a prepared statement has changed.
    async fn change(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, PostgresError> {
        let statement = self.prepare_cached(sql).await?;
        Ok(self.execute(&statement, values).await?)
    }
}

const MISSING: &str = "a lease holds its connection until it is dropped";

impl Deref for Lease {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        #[allow(clippy::expect_used, reason = "only `drop` takes it out")]
        self.connection.as_ref().expect(MISSING)
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        #[allow(clippy::expect_used, reason = "only `drop` takes it out")]
        self.connection.as_mut().expect(MISSING)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // One without deadline has other settings than the pool's.
        let is_good = self
            .deadline
            .is_some_and(|deadline| Instant::now() < deadline);
        if let Some(connection) = self.connection.take()
            && !is_good
        {
            drop(Object::take(connection));
        }
    }
}
