//! What commands work with.

use chatmail::Config;
use chatmail::accounts::Operator;
use tokio::runtime::{Builder, Runtime};

use crate::mail_user::MailUser;

/// The store, the mail user whose it is, and what waits for a database.
pub(super) struct Desk {
    pub(super) operator: Operator,
    pub(super) user: MailUser,
    runtime: Runtime,
}

impl Desk {
    /// For a configuration.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            operator: Operator::from_config(config)?,
            user: MailUser::of(config)?,
            runtime: Builder::new_current_thread().enable_all().build()?,
        })
    }

    /// Does something as who we are.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Does something as the mail user.
    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        self.user.run(|| self.runtime.block_on(work))
    }
}
