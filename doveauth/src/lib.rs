//! Dovecot's dict server of a chatmail relay.
//!
//! One process, one unix socket per dict:
//!
//! | socket (`chatmail.ini`) | who asks | what |
//! |---|---|---|
//! | `doveauth_socket` | Dovecot's auth workers | passdb (creates accounts), userdb, list of accounts |
//! | `lastlogin_socket` | Dovecot's imap processes | the day of the last login |
//! | `metadata_socket` | Dovecot's imap processes | IMAP METADATA: device tokens, what the relay offers |
//! | `policy_socket` | filtermail, mxdeliv-bridge | how to treat an address; who is blocked; who may register |
//! | `blocks_socket` | mxdeliv-bridge | shows the block list and changes it, for operators |
//!
//! `policy_socket` can be used by every user who can reach it: the rights of its directory say who that is. The
//! others are for the mail user and its group. Whoever may use the last decides whose mail is refused.
//!
//! What Dovecot has delivered it writes into a file, `new_messages_file`; see [`push::arrivals`].
//!
//! A further dict is a [`Handler`](chatmail::dict::Handler) and an entry in [`Daemon::bind`].

pub mod accounts_command;
pub mod auth;
pub mod backends_command;
pub mod blocks;
pub mod command;
pub mod invites_command;
pub mod key;
pub mod last_login;
mod mail_user;
pub mod metadata;
pub mod metrics;
pub mod policy;
pub mod push;
mod tables;
mod trouble;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chatmail::Config;
use chatmail::accounts::{AccountService, StoreError};
use chatmail::blocks::{BlockList, BlocksError, LiveBlockList};
use chatmail::dict::{Handler, serve};
use chatmail::log_limit::LogLimit;
use chatmail::postgres::{PostgresAccounts, SetupError};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::auth::{AuthDict, Owner};
use crate::blocks::dict::BlocksDict;
use crate::last_login::LastLoginDict;
use crate::metadata::MetadataDict;
use crate::metadata::file::TokenStore;
use crate::metrics::Metrics;
use crate::policy::PolicyDict;
use crate::push::Push;
use crate::push::arrivals::Arrivals;

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket cannot be had.
    #[error("cannot listen on {path}: {source}", path = path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Threads cannot be had.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// The port for metrics cannot be had.
    #[error("cannot serve metrics: {0}")]
    Metrics(io::Error),
    /// There is no mailboxes directory and it cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Everybody could take the addresses of accounts that are not in the database.
    #[error(
        "mailboxes_dir has accounts that are not in the database: run `doveauth accounts import`, or empty \
         database_url"
    )]
    NotImported,
    /// The database cannot be used as it is set up.
    #[error("database_url: {0}")]
    Database(#[from] SetupError),
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was asked has been answered.
    All,
    /// Requests were still open at the deadline.
    Some,
}

/// The daemon with its sockets bound: clients can connect, and wait for [`Daemon::run`].
pub struct Daemon {
    stop: watch::Sender<bool>,
    accounts: Arc<AccountService>,
    blocks: Arc<LiveBlockList>,
    /// Each serves a dict, or sends notifications, until it is told to stop.
    services: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Serves metrics until it is dropped.
    metrics: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Daemon {
    /// Binds all sockets and says where.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let accounts = Arc::new(AccountService::from_config(config)?);
        let postgres = accounts.postgres().cloned();
        let is_front = postgres.as_ref().is_some_and(PostgresAccounts::is_front);
        if !is_front && accounts.store().prepare()? {
            tracing::info!(
                "made the mailboxes directory {}",
                config.mailboxes_dir.display()
            );
        }
        if postgres.is_some() && !is_front && !accounts.store().is_moved()? {
            return Err(StartError::NotImported);
        }
        let metrics = Metrics::default();
        let registry = Arc::new(metrics.registry());
        let mut daemon = Self {
            stop: watch::Sender::new(false),
            accounts: Arc::clone(&accounts),
            blocks: Arc::new(block_list(config, postgres.as_ref(), metrics.clone())),
            services: Vec::new(),
            metrics: None,
        };
        let auth = AuthDict::new(
            Arc::clone(&accounts),
            owner(&config.mail_user),
            metrics.clone(),
        );
        daemon.add("auth", &config.doveauth_socket, 0o660, auth)?;
        let last_login = LastLoginDict::new(Arc::clone(&accounts), metrics.clone());
        daemon.add("last-login", &config.lastlogin_socket, 0o660, last_login)?;
        let tokens = Arc::new(TokenStore::new(accounts.store().clone()));
        let push = Push::start(config, Arc::clone(&tokens), metrics.clone());
        let push = push.map_err(StartError::Threads)?.map(|(push, sender)| {
            let stop = daemon.stop.subscribe();
            daemon.services.push(Box::pin(sender.run(stop)));
            push
        });
        let arrivals = Arrivals::new(
            &config.new_messages_file,
            push.clone(),
            Arc::clone(&tokens),
            metrics.clone(),
        );
        let stop = daemon.stop.subscribe();
        daemon.services.push(Box::pin(arrivals.run(stop)));
        let metadata = MetadataDict::new(config, tokens, push, metrics.clone());
        daemon.add("metadata", &config.metadata_socket, 0o660, metadata)?;
        let policy = PolicyDict::new(accounts, Arc::clone(&daemon.blocks), metrics.clone());
        daemon.add("policy", &config.policy_socket, 0o666, policy)?;
        let blocks = BlocksDict::new(config, postgres, metrics);
        daemon.add("blocks", &config.blocks_socket, 0o660, blocks)?;
        if let Some(address) = config.doveauth_metrics {
            let server = chatmail::metrics::serve(address, registry);
            daemon.metrics = Some(Box::pin(server.map_err(StartError::Metrics)?));
            tracing::info!("listening on inet:{address} (metrics)");
        }
        Ok(daemon)
    }

    fn add(
        &mut self,
        name: &'static str,
        path: &Path,
        mode: u32,
        handler: impl Handler,
    ) -> Result<(), StartError> {
        let listener: UnixListener =
            chatmail::listen::unix(path, mode).map_err(|source| StartError::Listen {
                path: path.into(),
                source,
            })?;
        tracing::info!("listening on unix:{} ({name})", path.display());
        self.services.push(Box::pin(serve(
            name,
            listener,
            Arc::new(handler),
            self.stop.subscribe(),
        )));
        Ok(())
    }

    /// Serves until `stop` is ready; then answers what was asked, within `deadline`.
    pub async fn run(self, stop: impl Future<Output = ()>, deadline: Duration) -> Drained {
        let mut services: JoinSet<()> = self.services.into_iter().collect();
        let mut metrics = JoinSet::new();
        if let Some(server) = self.metrics {
            metrics.spawn(server);
        }
        // So that the first mail need not wait for it, and trouble with it is told at once.
        tokio::spawn(async move { drop(self.blocks.current().await) });
        if let Some(postgres) = self.accounts.postgres().cloned() {
            tokio::spawn(async move {
                match postgres.postgres().prepare().await {
                    Ok(()) => tracing::info!("accounts are in PostgreSQL"),
                    Err(error) => {
                        tracing::error!("accounts are in a database that is away: {error}")
                    }
                }
            });
        }
        tokio::spawn(async move {
            if let Err(error) = self.accounts.recover_invites().await {
                tracing::error!("{error}");
            }
        });
        stop.await;
        self.stop.send_replace(true);
        let all_closed = async { while services.join_next().await.is_some() {} };
        match tokio::time::timeout(deadline, all_closed).await {
            Ok(()) => Drained::All,
            Err(_) => Drained::Some,
        }
    }
}

/// The block list of a configuration, which is counted and logged whenever it is read.
fn block_list(
    config: &Config,
    postgres: Option<&PostgresAccounts>,
    metrics: Metrics,
) -> LiveBlockList {
    let limit = LogLimit::new();
    let observe = move |read: Result<&BlockList, &BlocksError>| {
        metrics.count_block_list(read);
        match read {
            Ok(list) => tracing::debug!("block list: {}", list.counts()),
            Err(error) => {
                if let Some(suppressed) = limit.allow() {
                    tracing::error!(suppressed, "{error}");
                }
            }
        }
    };
    match postgres {
        Some(postgres) => {
            let grace = Duration::from_secs(60).saturating_mul(config.auth_grace);
            LiveBlockList::in_postgres(postgres.postgres().clone(), grace, Box::new(observe))
        }
        None => LiveBlockList::new(&config.database_path, Box::new(observe)),
    }
}

/// The user we run as, who owns the mailboxes that we make.
fn owner(mail_user: &str) -> Owner {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    match nix::unistd::User::from_name(mail_user) {
        Ok(Some(user)) if user.uid == uid => {}
        Ok(Some(_)) => tracing::warn!(
            "not running as mail_user = {mail_user}: new mailboxes will belong to user id {uid}"
        ),
        Ok(None) => tracing::warn!("there is no user mail_user = {mail_user}"),
        Err(error) => tracing::warn!("cannot look up mail_user = {mail_user}: {error}"),
    }
    Owner {
        uid: uid.to_string(),
        gid: gid.to_string(),
    }
}
