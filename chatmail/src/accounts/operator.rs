//! What operators do with accounts, beside a daemon that runs: it keeps nothing in memory, so that each change
//! holds from the next login and the next mail on.

use std::time::SystemTime;

use super::hash::{self, HashError};
use super::store::Creation;
use super::suggestion;
use super::{Account, Change, Details, NewAccountRules, Refusal, Store, StoreError, Suggestion};
use crate::postgres::{For, Made, NotNow, PostgresAccounts, SetupError, Stored};
use crate::{Address, Config};

/// Why something was not done. The text names no address.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hash.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The address or the password is none that an account can have.
    #[error("not possible: {0}")]
    Refused(Refusal),
    /// No account can be made for the moment.
    #[error(transparent)]
    NotNow(#[from] NotNow),
}

/// The store, for an operator.
#[derive(Debug)]
pub struct Operator {
    store: Store,
    postgres: Option<PostgresAccounts>,
    rules: NewAccountRules,
}

impl Operator {
    /// The store of a configuration.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn from_config(config: &Config) -> Result<Self, SetupError> {
        Ok(Self {
            store: Store::new(&config.mailboxes_dir),
            postgres: PostgresAccounts::from_config(config)?,
            rules: NewAccountRules::from_config(config),
        })
    }

    /// The mailboxes directory, with the accounts unless those are in PostgreSQL.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The accounts in PostgreSQL, if they are there.
    pub fn postgres(&self) -> Option<&PostgresAccounts> {
        self.postgres.as_ref()
    }

    /// What there is of an address.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn account(&self, address: &Address) -> Result<Account, StoreError> {
        match &self.postgres {
            None => self.store.read(address),
            Some(postgres) => Ok(match postgres.find(address).await? {
                Some(stored) => stored.account.clone(),
                None => Account::Missing,
            }),
        }
    }

    /// What there is to know of an account; `None` when there is no such account.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn details(&self, address: &Address) -> Result<Option<Details>, StoreError> {
        match &self.postgres {
            None => self.store.details(address),
            Some(postgres) => match postgres.find(address).await? {
                Some(stored) => Ok(Some(self.details_of(postgres, address, &stored)?)),
                None => Ok(None),
            },
        }
    }

    /// What there is to know of an account that the database has.
    ///
    /// # Errors
    /// The mailbox is here, and cannot be looked at.
    pub fn details_of(
        &self,
        postgres: &PostgresAccounts,
        address: &Address,
        stored: &Stored,
    ) -> Result<Details, StoreError> {
        let bytes_used = match !postgres.is_front() && postgres.is_here(stored) {
            true => self.store.bytes_used(address)?,
            false => None,
        };
        Ok(Details {
            account: stored.account.clone(),
            last_login_day: u64::try_from(stored.last_login.number()).unwrap_or(0),
            cleartext: stored.cleartext,
            bytes_used,
            backend: stored.backend.clone(),
        })
    }

    /// Blocks an account: from now on nobody can log in, and it gets no mail. Its hash is kept.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn block(&self, address: &Address) -> Result<Change, StoreError> {
        match &self.postgres {
            None => self.store.block(address),
            Some(postgres) => Ok(postgres.set_blocked(address, true).await?),
        }
    }

    /// Ends the blocking of an account: the password from before holds again.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn unblock(&self, address: &Address) -> Result<Change, StoreError> {
        match &self.postgres {
            None => self.store.unblock(address),
            Some(postgres) => Ok(postgres.set_blocked(address, false).await?),
        }
    }

    /// Makes an account, whoever may make one by logging in. What is not given is random. `None` when there is
    /// an account of that name.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn create(
        &self,
        address: Option<&Address>,
        password: Option<&str>,
    ) -> Result<Option<Suggestion>, OperatorError> {
        let mut made = Suggestion::new(&self.rules, None).map_err(HashError::from)?;
        if let Some(address) = address {
            let allowed = self.rules.check_as_operator(address);
            allowed.map_err(OperatorError::Refused)?;
            made.address = address.clone();
        }
        if let Some(password) = password {
            made.password = password.to_owned();
        }
        let (hash, now) = (self.hash(&made.password)?, SystemTime::now());
        let is_created = match &self.postgres {
            None => self.store.create(&made.address, &hash, now)? == Creation::Created,
            Some(postgres) => {
                let created = postgres.create(&made.address, &hash, now, For::Operator);
                match created.await.map_err(StoreError::from)? {
                    Made::Created(_) => true,
                    Made::NotNow(reason) => return Err(reason.into()),
                    Made::Exists | Made::Deleted | Made::Invite(_) => false,
                }
            }
        };
        Ok(is_created.then_some(made))
    }

    /// Gives an account another password, by default a random one; the password, if there is such an account.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub async fn set_password(
        &self,
        address: &Address,
        password: Option<&str>,
    ) -> Result<Option<String>, OperatorError> {
        let password = match password {
            Some(password) => password.to_owned(),
            None => suggestion::password(&self.rules).map_err(HashError::from)?,
        };
        let hash = self.hash(&password)?;
        let changed = match &self.postgres {
            None => self.store.set_password(address, &hash)?,
            Some(postgres) => {
                let changed = postgres.set_password(address, &hash).await;
                changed.map_err(StoreError::from)?
            }
        };
        Ok(match changed {
            Change::Missing => None,
            Change::Done | Change::Unchanged => Some(password),
        })
    }

    fn hash(&self, password: &str) -> Result<super::PasswordHash, OperatorError> {
        let allowed = self.rules.check_password(password.as_bytes());
        allowed.map_err(OperatorError::Refused)?;
        Ok(hash::hash(password.as_bytes())?)
    }
}
