//! What operators do with accounts, beside a daemon that runs: it keeps nothing in memory, so that each change
//! holds from the next login and the next mail on.

use std::time::SystemTime;

use super::hash::{self, HashError};
use super::store::Creation;
use super::suggestion;
use super::{Change, NewAccountRules, Refusal, Store, StoreError, Suggestion};
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
}

/// The store, for an operator.
#[derive(Debug)]
pub struct Operator {
    store: Store,
    rules: NewAccountRules,
}

impl Operator {
    /// The store of a configuration.
    pub fn from_config(config: &Config) -> Self {
        Self {
            store: Store::new(&config.mailboxes_dir),
            rules: NewAccountRules::from_config(config),
        }
    }

    /// The store, for what needs no rules.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes an account, whoever may make one by logging in. What is not given is random. `None` when there is
    /// an account of that name.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub fn create(
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
        let hash = self.hash(&made.password)?;
        let created = self.store.create(&made.address, &hash, SystemTime::now())?;
        Ok((created == Creation::Created).then_some(made))
    }

    /// Gives an account another password, by default a random one; the password, if there is such an account.
    ///
    /// # Errors
    /// See [`OperatorError`].
    pub fn set_password(
        &self,
        address: &Address,
        password: Option<&str>,
    ) -> Result<Option<String>, OperatorError> {
        let password = match password {
            Some(password) => password.to_owned(),
            None => suggestion::password(&self.rules).map_err(HashError::from)?,
        };
        let hash = self.hash(&password)?;
        Ok(match self.store.set_password(address, &hash)? {
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
