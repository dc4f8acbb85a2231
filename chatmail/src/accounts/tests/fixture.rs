//! A service with a store of either kind, and what tests do behind its back.

use std::path::Path;

use postgres_server::Server;

use super::*;
use crate::Config;
use crate::invites::{InviteTable, NewInvite, Token};
use crate::postgres::PostgresAccounts;

/// Where accounts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In mailbox directories.
    Files,
    /// In PostgreSQL, seen from the host that has all mailboxes.
    Postgres,
}

pub(super) use Kind::{Files, Postgres};

pub(super) struct Fixture {
    pub(super) dir: TempDir,
    pub(super) service: AccountService,
    pub(super) operator: Operator,
    url: Option<String>,
}

impl Fixture {
    pub(super) fn new(kind: Kind) -> Self {
        Self::with(kind, |_| {}, HostLimits::default(), None)
    }

    pub(super) fn with(
        kind: Kind,
        change: impl FnOnce(&mut NewAccountRules),
        limits: HostLimits,
        per_minute: Option<u32>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut rules = NewAccountRules {
            domain: "x.org".parse().unwrap(),
            username_min: 3,
            username_max: 9,
            password_min: 9,
            reserved: vec![],
            registration: Registration::Open,
            nocreate_file: dir.path().join("nocreate"),
        };
        change(&mut rules);
        let root = dir.path().join("mail");
        let store = Store::new(&root);
        assert!(store.prepare().unwrap());
        let host = Host::new(limits, root);
        let rate = per_minute.and_then(NonZeroU32::new);
        let tables = dir.path().join("tables");
        let tombstones = LiveTombstones::new(&tables);
        let service = AccountService::new(store, rules, host, rate, tombstones, 1000);
        let mut service = service.with_invites(tables);
        let url = (kind == Postgres).then(|| Server::shared().database());
        let config = config(dir.path(), url.as_deref());
        if let Some(postgres) = PostgresAccounts::from_config(&config).unwrap() {
            service = service.with_postgres(postgres);
        }
        Self {
            operator: Operator::from_config(&config).unwrap(),
            service,
            dir,
            url,
        }
    }

    /// Accounts by invite only, and an invite for so many.
    pub(super) async fn by_invite(kind: Kind, uses: u32) -> (Self, Token) {
        let by_invite = |rules: &mut NewAccountRules| rules.registration = Registration::Invite;
        let fixture = Self::with(kind, by_invite, HostLimits::default(), None);
        let new = NewInvite {
            uses: NonZeroU32::new(uses).unwrap(),
            valid_for: None,
            note: Default::default(),
        };
        let now = SystemTime::now();
        let made = match fixture.service.postgres() {
            Some(postgres) => postgres.postgres().create_invite(&new, now).await,
            None => fixture.invite_file().create(&new, now),
        };
        (fixture, made.unwrap().0)
    }

    pub(super) fn invite_file(&self) -> InviteTable {
        let file = self.dir.path().join("tables");
        InviteTable::open_or_create(&file, "no-such-user").unwrap()
    }

    pub(super) async fn uses_left(&self) -> u32 {
        let now = SystemTime::now();
        let listed = match self.service.postgres() {
            Some(postgres) => postgres.postgres().invites(now).await,
            None => self.invite_file().list(now),
        };
        listed.unwrap()[0].uses_left
    }

    /// Another service over the same database, as another host has.
    pub(super) fn another_host(&self) -> PostgresAccounts {
        let config = config(self.dir.path(), self.url.as_deref());
        PostgresAccounts::from_config(&config).unwrap().unwrap()
    }

    pub(super) fn home(&self, address: &str) -> PathBuf {
        self.dir.path().join("mail").join(address)
    }

    pub(super) async fn login(
        &self,
        address: &str,
        password: &str,
    ) -> Result<LoginOutcome, LoginError> {
        let address = parse(address);
        let login = self
            .service
            .login(&address, password.as_bytes(), None)
            .await;
        login.map(|login| login.outcome)
    }

    pub(super) async fn account(&self, address: &str) -> Account {
        self.operator.account(&parse(address)).await.unwrap()
    }

    /// Has the account as if it had been made before, last used on this day.
    pub(super) async fn put(&self, address: &str, content: &[u8], day: u64) {
        if self.url.is_some() {
            self.account(address).await;
            let content: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
            self.sql(&format!(
                "INSERT INTO accounts (address, password, last_login, cleartext) \
                VALUES ('{address}', '\\x{content}', {day}, true) \
                ON CONFLICT (address) DO UPDATE SET password = excluded.password"
            ));
            return;
        }
        fs::create_dir_all(self.home(address)).unwrap();
        let path = self.home(address).join("password");
        fs::write(&path, content).unwrap();
        File::open(path)
            .unwrap()
            .set_modified(at(day * DAY))
            .unwrap();
    }

    /// What a password file holds, or would hold.
    pub(super) fn content(&self, address: &str) -> Vec<u8> {
        if self.url.is_none() {
            return fs::read(self.home(address).join("password")).unwrap();
        }
        let select = format!(
            "SELECT encode(CASE WHEN blocked THEN '{{BLOCKED}}' ELSE '' END || password, 'hex') \
            FROM accounts WHERE address = '{address}'"
        );
        let hex = self.sql(&select.replace("ELSE '' END", "ELSE ''::bytea END"));
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    /// The day of the last login.
    pub(super) async fn day(&self, address: &str) -> u64 {
        let details = self.operator.details(&parse(address)).await.unwrap();
        details.unwrap().last_login_day
    }

    /// All accounts.
    pub(super) async fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = match self.service.postgres() {
            Some(postgres) => {
                let page = postgres.page("", 1000).await.unwrap();
                page.iter()
                    .map(|(address, _)| address.to_string())
                    .collect()
            }
            None => {
                let accounts = self.service.store().accounts().unwrap();
                accounts
                    .map(|address| address.unwrap().to_string())
                    .collect()
            }
        };
        names.sort();
        names
    }

    /// Puts a tombstone on an address, until tomorrow.
    pub(super) async fn lay_tombstone(&self, address: &str) {
        let until = Day::of(SystemTime::now()).plus(1);
        let addresses = [parse(address)];
        if let Some(postgres) = self.service.postgres() {
            let lain = postgres.postgres().lay_tombstones(&addresses, until).await;
            return lain.unwrap();
        }
        let path = self.dir.path().join("tables");
        let database = Database::open_or_create(&SCHEMA, &path, Duration::from_secs(5), None);
        let lain = Tombstones::new(database.unwrap()).lay(&addresses, until);
        lain.unwrap();
    }

    /// An account, last used on day 1, that is about to be deleted.
    pub(super) async fn expiring(kind: Kind) -> Self {
        let fixture = Self::new(kind);
        fixture.login("bob@x.org", "a password").await.unwrap();
        if fixture.url.is_some() {
            fixture.sql("UPDATE accounts SET expiring = true, last_login = 1");
            return fixture;
        }
        let home = fixture.home("bob@x.org");
        let password = File::open(home.join("password")).unwrap();
        password.set_modified(at(DAY)).unwrap();
        fs::rename(home.join("password"), home.join(EXPIRING_FILE)).unwrap();
        fixture
    }

    pub(super) fn is_expiring(&self, address: &str) -> bool {
        match self.url {
            Some(_) => {
                let select = "SELECT expiring FROM accounts WHERE address = ";
                self.sql(&format!("{select}'{address}'")) == "t"
            }
            None => self.home(address).join(EXPIRING_FILE).exists(),
        }
    }

    /// Asks the database behind our back.
    pub(super) fn sql(&self, statement: &str) -> String {
        let name = Server::name(self.url.as_deref().unwrap());
        Server::shared().sql(name, statement)
    }
}

fn config(dir: &Path, url: Option<&str>) -> Config {
    let text = format!(
        "[params]\nmail_domain = x.org\nmailboxes_dir = {}\ndatabase_url = {}\nbackend_name = here\n\
        auth_grace = 0\ndatabase_timeout = 100\n",
        dir.join("mail").display(),
        url.unwrap_or_default(),
    );
    Config::parse(&text, "chatmail.ini".as_ref()).unwrap().0
}
