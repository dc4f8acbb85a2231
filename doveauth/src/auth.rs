//! The dict of Dovecot's auth process: passdb (which creates accounts), userdb, and the list of
//! all accounts.

use std::net::IpAddr;
use std::sync::Arc;

use chatmail::Address;
use chatmail::accounts::{
    Account, AccountService, Found, Login, LoginOutcome, PasswordHash, Refusal,
};
use chatmail::dict::codec::Iterate;
use chatmail::dict::server::Rows;
use chatmail::dict::{Failure, Handler};
use chatmail::postgres::PostgresAccounts;
use serde::Serialize;

use crate::key::AuthKey;
use crate::metrics::{Metrics, Outcome};
use crate::trouble::Trouble;

/// The path below which Dovecot looks for all accounts.
const ACCOUNTS_PATH: &[u8] = b"shared/userdb/";

/// The user and group that own the mailboxes: ours, since we make them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id, in digits: Dovecot reads all fields as text.
    pub uid: String,
    /// Group id.
    pub gid: String,
}

/// Answers Dovecot's auth process.
#[derive(Debug)]
pub struct AuthDict {
    accounts: Arc<AccountService>,
    owner: Owner,
    metrics: Metrics,
    trouble: Trouble,
}

/// The fields of an account as Dovecot takes them.
#[derive(Serialize)]
struct Fields<'a> {
    addr: &'a str,
    home: &'a str,
    uid: &'a str,
    gid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    /// `y`: Dovecot's proxy takes the session to `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

impl AuthDict {
    /// The dict over these accounts.
    pub fn new(accounts: Arc<AccountService>, owner: Owner, metrics: Metrics) -> Self {
        Self {
            accounts,
            owner,
            metrics,
            trouble: Trouble::new("auth"),
        }
    }

    async fn passdb(
        &self,
        address: Option<Address>,
        password: &[u8],
        client: Option<IpAddr>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let Some(address) = address else {
            self.refused(Refusal::NotAnAddress);
            return Ok(None);
        };
        let outcome = self.accounts.login(&address, password, client).await;
        let Login { outcome, proxy } = outcome.map_err(|error| self.trouble.failure(&error))?;
        let proxy = proxy.as_deref();
        match outcome {
            LoginOutcome::Existing(hash) => self.fields(&address, Some(&hash), proxy),
            LoginOutcome::Created(hash) => {
                // Operators' mtail programs count these lines.
                tracing::info!("Created address: {address}");
                self.metrics.count_created();
                self.fields(&address, Some(&hash), proxy)
            }
            LoginOutcome::Refused(refusal) => {
                self.refused(refusal);
                Ok(None)
            }
        }
    }

    async fn userdb(&self, address: Option<Address>) -> Result<Option<Vec<u8>>, Failure> {
        let Some(address) = address else {
            return Ok(None);
        };
        let found = self.accounts.account(&address).await;
        let Found { account, proxy } = found.map_err(|error| self.trouble.failure(&error))?;
        let is_here = proxy.is_none();
        match account {
            // Dovecot's LMTP server refuses what it finds no user for.
            Account::Missing | Account::Blocked => Ok(None),
            // Mail that was on its way here when the mailbox went elsewhere, or is where no mailboxes are.
            _ if !is_here => Err(Failure("a mailbox is on another host".into())),
            Account::Locked => self.fields(&address, None, None),
            Account::Present(hash) => self.fields(&address, Some(&hash), None),
        }
    }

    fn refused(&self, refusal: Refusal) {
        tracing::info!("refused a login: {refusal}");
        self.metrics.count_refusal(refusal);
    }

    fn fields(
        &self,
        address: &Address,
        hash: Option<&PasswordHash>,
        proxy: Option<&str>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let Some(home) = self.accounts.store().home(address) else {
            return Ok(None);
        };
        let home = home
            .to_str()
            .ok_or_else(|| Failure("mailboxes_dir is not UTF-8".into()))?;
        let fields = Fields {
            addr: &address.to_string(),
            home,
            uid: &self.owner.uid,
            gid: &self.owner.gid,
            password: hash.map(PasswordHash::as_str),
            proxy: proxy.map(|_| "y"),
            host: proxy,
        };
        serde_json::to_vec(&fields)
            .map(Some)
            .map_err(|error| self.trouble.failure(&error))
    }
}

/// The addresses of a database, a page at a time. To be gone through on a thread that may block.
struct Pages {
    postgres: PostgresAccounts,
    runtime: tokio::runtime::Handle,
    page: std::vec::IntoIter<Address>,
    last: Option<Address>,
    ended: bool,
}

/// Accounts of a page.
const PAGE: u32 = 1000;

impl Pages {
    fn new(postgres: PostgresAccounts) -> Self {
        Self {
            postgres,
            runtime: tokio::runtime::Handle::current(),
            page: Vec::new().into_iter(),
            last: None,
            ended: false,
        }
    }
}

impl Iterator for Pages {
    type Item = Result<Address, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(address) = self.page.next() {
            return Some(Ok(address));
        }
        if self.ended {
            return None;
        }
        let after = self.last.as_ref().map(Address::to_string);
        let read = self
            .postgres
            .page(after.as_deref().unwrap_or_default(), PAGE);
        let page = match self.runtime.block_on(read) {
            Ok(page) => page,
            Err(error) => {
                self.ended = true;
                return Some(Err(Failure(error.to_string())));
            }
        };
        let page: Vec<Address> = page.into_iter().map(|(address, _)| address).collect();
        self.last = page.last().cloned();
        self.ended = self.last.is_none();
        self.page = page.into_iter();
        self.page.next().map(Ok)
    }
}

impl Handler for AuthDict {
    async fn lookup(&self, key: &[u8], _user: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let (dict, result) = match AuthKey::parse(key) {
            Some(AuthKey::Passdb {
                password,
                address,
                client,
            }) => ("passdb", self.passdb(address, &password, client).await),
            Some(AuthKey::Userdb(address)) => ("userdb", self.userdb(address).await),
            None => ("auth", Ok(None)),
        };
        self.metrics.count(dict, Outcome::of(&result));
        result
    }

    fn iterate(&self, request: &Iterate) -> Rows {
        if request.path != ACCOUNTS_PATH {
            return Box::new(std::iter::empty());
        }
        let row = |address: &Address| {
            let key = [ACCOUNTS_PATH, address.to_string().as_bytes()].concat();
            (key, Vec::new())
        };
        if let Some(postgres) = self.accounts.postgres() {
            return Box::new(Pages::new(postgres.clone()).map(move |address| Ok(row(&address?))));
        }
        match self.accounts.store().accounts() {
            Err(error) => Box::new(std::iter::once(Err(self.trouble.failure(&error)))),
            Ok(addresses) => Box::new(addresses.map(move |address| match address {
                Ok(address) => Ok(row(&address)),
                Err(error) => Err(Failure(error.to_string())),
            })),
        }
    }
}
