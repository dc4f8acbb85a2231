//! The dict that Dovecot's last-login plugin writes to at each login.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chatmail::Address;
use chatmail::accounts::AccountService;
use chatmail::dict::{Change, ChangeSet, Failure, Handler};

use crate::metrics::{Metrics, Outcome};
use crate::trouble::Trouble;

/// What the address follows.
const KEY_PREFIX: &[u8] = b"shared/last-login/";

/// The name under which this dict's requests are counted and logged.
const NAME: &str = "last-login";

/// Notes the day of the last login. It can be set, and not read.
#[derive(Debug)]
pub struct LastLoginDict {
    accounts: Arc<AccountService>,
    metrics: Metrics,
    trouble: Trouble,
}

impl LastLoginDict {
    /// The dict over these accounts.
    pub fn new(accounts: Arc<AccountService>, metrics: Metrics) -> Self {
        Self {
            accounts,
            metrics,
            trouble: Trouble::new(NAME),
        }
    }

    /// `false` when there is no such account, which a login can meet that was just deleted.
    async fn record(&self, user: &[u8], at: SystemTime) -> Result<bool, Failure> {
        let Ok(address) = Address::try_from(user) else {
            return Ok(false);
        };
        let recorded = self.accounts.record_login(&address, at).await;
        recorded.map_err(|error| self.trouble.failure(&error))
    }
}

impl Handler for LastLoginDict {
    async fn lookup(&self, _key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), Failure> {
        let logins: Result<Vec<_>, _> = changes.changes.iter().map(parse).collect();
        for (user, at) in logins? {
            let recorded = self.record(user, at).await;
            let found = recorded.as_ref().map(|known| known.then_some(()));
            self.metrics.count(NAME, Outcome::of(&found));
            recorded?;
        }
        Ok(())
    }
}

/// The user name and the time of a change.
fn parse(change: &Change) -> Result<(&[u8], SystemTime), Failure> {
    let unknown = || Failure("only last-login times can be set here".into());
    let Change::Set { key, value } = change else {
        return Err(unknown());
    };
    let user = key.strip_prefix(KEY_PREFIX).ok_or_else(unknown)?;
    let seconds = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let since = Duration::from_secs(seconds.ok_or_else(|| Failure("not a time".into()))?);
    let at = SystemTime::UNIX_EPOCH.checked_add(since);
    Ok((user, at.ok_or_else(|| Failure("not a time".into()))?))
}
