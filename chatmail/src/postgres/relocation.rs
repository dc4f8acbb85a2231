//! Accounts on their way from one backend to another.
//!
//! First the row only says where the mailbox goes, so that Dovecot there may write what it gets. Then it is closed: each
//! question about where it is fails, anywhere but there, so that logins are told to try again and mail waits in the
//! fronts' queues. So there is no moment at which two hosts take mail.

use tokio_postgres::Row;

use super::accounts::PostgresAccounts;
use super::{Postgres, PostgresError};
use crate::Address;

/// Where an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The backend that has its mailbox.
    pub backend: Option<Box<str>>,
    /// The one that gets it, while it is on its way.
    pub moving_to: Option<Box<str>>,
}

impl Whereabouts {
    /// Of a row that begins with these two.
    pub(super) fn read(row: &Row) -> Result<Self, PostgresError> {
        Ok(Self {
            backend: row.try_get::<_, Option<&str>>(0)?.map(Into::into),
            moving_to: row.try_get::<_, Option<&str>>(1)?.map(Into::into),
        })
    }
}

impl PostgresAccounts {
    /// Where an account is and goes; `None` if there is none.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn whereabouts(
        &self,
        address: &Address,
    ) -> Result<Option<Whereabouts>, PostgresError> {
        const LOOK: &str = "SELECT backend, moving_to FROM accounts WHERE address = $1";
        let address = address.to_string();
        let looked = self.postgres.work(|session| async move {
            let client = session.client().await?;
            let Some(row) = client.row(LOOK, &[&address]).await? else {
                return Ok(None);
            };
            Whereabouts::read(&row).map(Some)
        });
        looked.await
    }

    /// Where an account was that is deleted and whose mailbox is yet to be removed; `None` if there is none.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn removal(&self, address: &Address) -> Result<Option<Whereabouts>, PostgresError> {
        const LOOK: &str = "SELECT backend, NULL::text FROM removals WHERE address = $1";
        let address = address.to_string();
        let looked = self.postgres.work(|session| async move {
            let client = session.client().await?;
            let row = client.row(LOOK, &[&address]).await?;
            row.as_ref().map(Whereabouts::read).transpose()
        });
        looked.await
    }

    /// Lets a backend have a copy of a mailbox that is on another. `false`: it is not where it was said to be, or on
    /// its way elsewhere, or there is no such backend.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn begin_move(
        &self,
        address: &Address,
        from: &str,
        to: &str,
    ) -> Result<bool, PostgresError> {
        const BEGIN: &str = "UPDATE accounts SET moving_to = $3 WHERE address = $1 AND backend = $2 \
            AND coalesce(moving_to, $3) = $3 AND EXISTS (SELECT FROM backends WHERE name = $3)";
        self.move_step(BEGIN, address, from, to).await
    }

    /// Keeps everybody from a mailbox that is on its way. `false`: it is not.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn close_for_move(
        &self,
        address: &Address,
        from: &str,
        to: &str,
    ) -> Result<bool, PostgresError> {
        const CLOSE: &str = "UPDATE accounts SET closed = true \
            WHERE address = $1 AND backend = $2 AND moving_to = $3";
        self.move_step(CLOSE, address, from, to).await
    }

    /// Lets everybody at the mailbox again, on the backend that it has come to. `false`: it was not on its way there.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn open_after_move(
        &self,
        address: &Address,
        from: &str,
        to: &str,
    ) -> Result<bool, PostgresError> {
        const OPEN: &str = "UPDATE accounts SET backend = $3, moving_to = NULL, closed = false \
            WHERE address = $1 AND backend = $2 AND moving_to = $3";
        self.move_step(OPEN, address, from, to).await
    }

    /// Lets everybody at the mailbox again where it was. `false`: it was not on its way.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn give_up_move(&self, address: &Address, at: &str) -> Result<bool, PostgresError> {
        const GIVE_UP: &str = "UPDATE accounts SET moving_to = NULL, closed = false \
            WHERE address = $1 AND backend = $2 AND moving_to <> $3";
        self.move_step(GIVE_UP, address, at, at).await
    }

    async fn move_step(
        &self,
        sql: &'static str,
        address: &Address,
        from: &str,
        to: &str,
    ) -> Result<bool, PostgresError> {
        let words = [address.to_string(), from.to_owned(), to.to_owned()];
        let changed = self.postgres.work(|session| async move {
            let client = session.client().await?;
            let [address, from, to] = &words;
            client.change(sql, &[address, from, to]).await
        });
        Ok(changed.await? > 0)
    }
}

impl Postgres {
    /// Where Dovecot of other hosts finds a backend; `None` if there is none of that name.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn backend_host(&self, name: &str) -> Result<Option<String>, PostgresError> {
        let name = name.to_owned();
        self.work(|session| async move {
            let client = session.client().await?;
            let select = "SELECT host FROM backends WHERE name = $1";
            let row = client.row(select, &[&name]).await?;
            Ok(row.map(|row| row.try_get(0)).transpose()?)
        })
        .await
    }
}
