//! Logins, and the accounts that first logins create. Knows nothing of how one asks.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use super::hash::{self, HashError};
use super::store::Creation;
use super::{
    Account, Host, HostError, NetworkRate, NewAccountRules, PasswordHash, Refusal, Store,
    StoreError,
};
use crate::database::DatabaseError;
use crate::invites::{InvitesError, Token};
use crate::pace::Pace;
use crate::policy::Policy;
use crate::postgres::{NotNow, PostgresAccounts, SetupError};
use crate::registration::{Answer, Registration};
use crate::tombstones::LiveTombstones;
use crate::{Address, Config};

/// What came of a login. The password of an existing account is not looked at here: whoever asked
/// verifies it against the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The account was there.
    Existing(PasswordHash),
    /// The account is new, and is on disk.
    Created(PasswordHash),
    /// There is no account, and none was created; or it cannot be logged in to.
    Refused(Refusal),
}

/// A login, and where it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// What came of it.
    pub outcome: LoginOutcome,
    /// The backend to which its session is to be sent; `None`: it stays here.
    pub proxy: Option<Box<str>>,
}

impl From<LoginOutcome> for Login {
    fn from(outcome: LoginOutcome) -> Self {
        let proxy = None;
        Self { outcome, proxy }
    }
}

/// An account, and where its mailbox is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The account.
    pub account: Account,
    /// The backend that has its mailbox; `None`: it is here.
    pub proxy: Option<Box<str>>,
}

impl From<Account> for Found {
    fn from(account: Account) -> Self {
        let proxy = None;
        Self { account, proxy }
    }
}

/// A login that can be neither allowed nor refused now. Temporary; the text names no address.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The hash.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The tombstones of deleted accounts.
    #[error("tombstones: {0}")]
    Tombstones(#[from] DatabaseError),
    /// The invites.
    #[error(transparent)]
    Invites(#[from] InvitesError),
    /// No account can be made for the moment.
    #[error(transparent)]
    NotNow(#[from] NotNow),
    /// The invite's claim was taken away again and again.
    #[error("an invite that was being redeemed was claimed by others again and again")]
    Contended,
    /// The switch that stops the creation of accounts cannot be seen.
    #[error("cannot look for nocreate_file: {0}")]
    Switch(std::io::Error),
    /// The thread that hashes and writes has died.
    #[error("the thread that creates accounts failed")]
    Worker,
}

mod invited;
mod rows;

/// Locks that first logins take by the hash of their address; see [`AccountService::turn`].
const TURNS: usize = 256;

/// The account store with its rules.
#[derive(Debug)]
pub struct AccountService {
    /// The mailboxes directory, with the accounts unless those are in PostgreSQL.
    store: Store,
    postgres: Option<PostgresAccounts>,
    pace: Arc<Pace>,
    rules: NewAccountRules,
    host: Host,
    rate: Option<DefaultDirectRateLimiter>,
    tombstones: Arc<LiveTombstones>,
    network_rate: NetworkRate,
    /// The file with the invites, and the turn to take one of them.
    invites: PathBuf,
    redeeming: Mutex<()>,
    mailbox_max: u64,
    /// Passwords that may be hashed at the same time: as many as there are processors.
    hashing: Semaphore,
    turns: [Mutex<()>; TURNS],
    turn_hash: std::hash::RandomState,
}

impl AccountService {
    /// The service that a configuration describes.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn from_config(config: &Config) -> Result<Self, SetupError> {
        let service = Self::new(
            Store::new(&config.mailboxes_dir),
            NewAccountRules::from_config(config),
            Host::from_config(config),
            NonZeroU32::new(config.max_creations_per_minute),
            LiveTombstones::new(&config.database_path),
            config.max_mailbox_size.bytes(),
        )
        .with_invites(&config.database_path)
        .with_network_rate(NonZeroU32::new(config.max_creations_per_network_per_hour));
        Ok(match PostgresAccounts::from_config(config)? {
            Some(postgres) => service.with_postgres(postgres),
            None => service,
        })
    }

    /// A service of these parts: `per_minute` accounts can be created in a minute, `None` for no
    /// limit; a mailbox of `mailbox_max` bytes is full. There are no invites.
    pub fn new(
        store: Store,
        rules: NewAccountRules,
        host: Host,
        per_minute: Option<NonZeroU32>,
        tombstones: LiveTombstones,
        mailbox_max: u64,
    ) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            store,
            postgres: None,
            pace: Arc::new(Pace::new()),
            rules,
            host,
            rate: per_minute.map(|limit| RateLimiter::direct(Quota::per_minute(limit))),
            tombstones: Arc::new(tombstones),
            network_rate: NetworkRate::new(None),
            invites: PathBuf::new(),
            redeeming: Mutex::new(()),
            mailbox_max,
            hashing: Semaphore::new(processors),
            turns: [const { Mutex::const_new(()) }; TURNS],
            turn_hash: std::hash::RandomState::new(),
        }
    }

    /// The same with the invites in this file.
    #[must_use]
    pub fn with_invites(mut self, file: impl Into<PathBuf>) -> Self {
        self.invites = file.into();
        self
    }

    /// The same with accounts, invites and tombstones in PostgreSQL. A front has no disk for mailboxes.
    #[must_use]
    pub fn with_postgres(mut self, postgres: PostgresAccounts) -> Self {
        if postgres.is_front() {
            self.host = self.host.without_disk();
        }
        self.postgres = Some(postgres);
        self
    }

    /// The same with so many accounts per hour for each network of clients.
    #[must_use]
    pub fn with_network_rate(mut self, per_hour: Option<NonZeroU32>) -> Self {
        self.network_rate = NetworkRate::new(per_hour);
        self
    }

    /// The accounts in PostgreSQL, if they are there.
    pub fn postgres(&self) -> Option<&PostgresAccounts> {
        self.postgres.as_ref()
    }

    /// The mailboxes directory. Whoever writes there goes round the rules.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What the store has of an address; nothing of one with a foreign domain.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn account(&self, address: &Address) -> Result<Found, StoreError> {
        if *address.domain() != self.rules.domain {
            return Ok(Account::Missing.into());
        }
        match &self.postgres {
            Some(postgres) => rows::found(postgres, postgres.find(address).await?),
            None => Ok(self.ask(address, Store::read).await?.into()),
        }
    }

    /// How mail to and from an address is to be treated; `user+tag` is `user`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn policy(&self, address: &Address) -> Result<Policy, StoreError> {
        let address = address.without_tag();
        if *address.domain() != self.rules.domain {
            return Ok(Policy::default());
        }
        let mailbox = match &self.postgres {
            Some(postgres) => self.mailbox_of_row(postgres, &address).await?,
            None => self.ask(&address, Store::mailbox).await?,
        };
        let Some(mailbox) = mailbox else {
            return Ok(Policy::default());
        };
        Ok(Policy {
            exists: true,
            cleartext: mailbox.cleartext,
            blocked: mailbox.blocked,
            over_quota: mailbox
                .bytes_used
                .is_some_and(|bytes| bytes >= self.mailbox_max),
        })
    }

    /// Notes the day of a login, at most today. `false` when there is no such account.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn record_login(
        &self,
        address: &Address,
        at: SystemTime,
    ) -> Result<bool, StoreError> {
        if *address.domain() != self.rules.domain {
            return Ok(false);
        }
        // A clock that went wrong for a while must not keep an account for ever.
        let at = at.min(SystemTime::now());
        if let Some(postgres) = &self.postgres {
            return Ok(postgres.record_login(address, at).await?);
        }
        self.ask(address, move |store, address| {
            store.record_login(address, at)
        })
        .await
    }

    /// Whether somebody with this invite could make an account now.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn registration(&self, invite: Option<&Token>) -> Result<Answer, LoginError> {
        let open = match (self.rules.registration, invite) {
            (Registration::Closed, _) => return Ok(Answer::Closed),
            _ if self.is_switched_off()? => return Ok(Answer::Closed),
            (Registration::Open, _) => Answer::Open,
            (Registration::Invite, None) => return Ok(Answer::InviteNeeded),
            (Registration::Invite, Some(token)) => match self.look_at_invite(token).await? {
                Ok(()) => Answer::Invited,
                Err(no_good) => return Ok(no_good.into()),
            },
        };
        Ok(match self.host.refusal()? {
            Some(_) => Answer::Busy,
            None => open,
        })
    }

    /// A login with this password: finds the account, or creates it if the rules allow it. It comes from
    /// `client`, if that is known.
    ///
    /// Of several first logins at the same time exactly one creates the account, and the others
    /// get its hash. A new account is on disk when this returns. An existing one costs a file
    /// that is opened and read.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn login(
        &self,
        address: &Address,
        password: &[u8],
        client: Option<IpAddr>,
    ) -> Result<Login, LoginError> {
        if let Some(outcome) = self.existing(address).await? {
            return Ok(outcome);
        }
        let allowed = self.rules.check(address, password);
        let invite = match allowed.and_then(|()| self.rules.invite(password)) {
            Ok(invite) => invite,
            Err(refusal) => return Ok(LoginOutcome::Refused(refusal).into()),
        };
        let _turn = self.turn(address).await;
        if let Some(outcome) = self.existing(address).await? {
            return Ok(outcome);
        }
        if self.was_deleted(address).await? {
            return Ok(LoginOutcome::Refused(Refusal::Deleted).into());
        }
        if let Some(token) = &invite
            && let Err(no_good) = self.look_at_invite(token).await?
        {
            return Ok(LoginOutcome::Refused(Refusal::Invite(no_good)).into());
        }
        if let Some(refusal) = self.refusal_now(client)? {
            return Ok(LoginOutcome::Refused(refusal).into());
        }
        let created = match (&self.postgres, invite) {
            (Some(postgres), invite) => {
                let hash = self.hash(password).await?;
                return rows::create(postgres, address, &hash, invite.as_ref()).await;
            }
            (None, Some(token)) => self.create_invited(address, password, token).await,
            (None, None) => self.create(address, password).await,
        };
        created.map(Login::from)
    }

    /// Asks the store, on this thread or on one that may wait.
    async fn ask<T: Send + 'static>(
        &self,
        address: &Address,
        question: impl FnOnce(&Store, &Address) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.pace.is_quick() {
            return self.pace.observe(|| question(&self.store, address));
        }
        let (store, pace, address) = (self.store.clone(), self.pace.clone(), address.clone());
        let work = move || pace.observe(|| question(&store, &address));
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|_| Err(StoreError::worker()))
    }

    /// The outcome for an account that is there.
    async fn existing(&self, address: &Address) -> Result<Option<Login>, StoreError> {
        if *address.domain() != self.rules.domain {
            return Ok(None);
        }
        let Found { account, proxy } = match &self.postgres {
            Some(postgres) => rows::found(postgres, postgres.find_for_login(address).await?)?,
            None => self.ask(address, Store::read_for_login).await?.into(),
        };
        let outcome = match account {
            Account::Missing => return Ok(None),
            Account::Locked => LoginOutcome::Refused(Refusal::Locked),
            Account::Blocked => LoginOutcome::Refused(Refusal::Blocked),
            Account::Present(hash) => LoginOutcome::Existing(hash),
        };
        Ok(Some(Login { outcome, proxy }))
    }

    /// Waits until no other first login of the address is being handled, so that one password is
    /// hashed for it and not fifty. Addresses share a fixed number of locks, hence of memory.
    async fn turn(&self, address: &Address) -> MutexGuard<'_, ()> {
        let hash = self.turn_hash.hash_one(address);
        let index = usize::try_from(hash % self.turns.len() as u64).unwrap_or(0);
        self.turns[index].lock().await
    }

    /// Whether the address belonged to an account that was deleted not long ago.
    async fn was_deleted(&self, address: &Address) -> Result<bool, LoginError> {
        if self.postgres.is_some() {
            // Part of making it, in one transaction.
            return Ok(false);
        }
        let (tombstones, address) = (Arc::clone(&self.tombstones), address.clone());
        let ask = move || tombstones.holds(&address, SystemTime::now());
        let asked = tokio::task::spawn_blocking(ask).await;
        Ok(asked.map_err(|_| LoginError::Worker)??)
    }

    fn is_switched_off(&self) -> Result<bool, LoginError> {
        std::fs::exists(&self.rules.nocreate_file).map_err(LoginError::Switch)
    }

    /// What speaks against any new account at the moment. Counts against the rates if nothing does.
    fn refusal_now(&self, client: Option<IpAddr>) -> Result<Option<Refusal>, LoginError> {
        if self.is_switched_off()? {
            return Ok(Some(Refusal::SwitchedOff));
        }
        if let Some(refusal) = self.host.refusal()? {
            return Ok(Some(refusal));
        }
        // First: who is over the rate of its network takes nothing from the others.
        if client.is_some_and(|client| self.network_rate.count(client).is_err()) {
            return Ok(Some(Refusal::NetworkRate));
        }
        let over = self.rate.as_ref().is_some_and(|rate| rate.check().is_err());
        Ok(over.then_some(Refusal::Rate))
    }

    /// Hashes and writes on a thread that may block.
    async fn create(&self, address: &Address, password: &[u8]) -> Result<LoginOutcome, LoginError> {
        let (store, address) = (self.store.clone(), address.clone());
        let hash = self.hash(password).await?;
        on_thread(move || Ok(write(&store, &address, &hash)?)).await
    }

    async fn hash(&self, password: &[u8]) -> Result<PasswordHash, LoginError> {
        let permit = self.hashing.acquire().await;
        let _permit = permit.map_err(|_| LoginError::Worker)?;
        let password = password.to_vec();
        on_thread(move || Ok(hash::hash(&password)?)).await
    }
}

/// Writes an account, unless another process has been quicker.
fn write(
    store: &Store,
    address: &Address,
    hash: &PasswordHash,
) -> Result<LoginOutcome, StoreError> {
    Ok(match store.create(address, hash, SystemTime::now())? {
        Creation::Created => LoginOutcome::Created(hash.clone()),
        Creation::Exists => match store.read(address)? {
            Account::Present(winner) => LoginOutcome::Existing(winner),
            Account::Blocked => LoginOutcome::Refused(Refusal::Blocked),
            Account::Locked | Account::Missing => LoginOutcome::Refused(Refusal::Locked),
        },
    })
}

/// Does what may block.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoginError> + Send + 'static,
) -> Result<T, LoginError> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or(Err(LoginError::Worker))
}
