//! Ending a user's sessions, wherever they are: where the account's mailbox is. A front only passes sessions on, so that they
//! end there when they end on the backend.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use chatmail::postgres::PostgresAccounts;
use chatmail::postgres::relocation::Whereabouts;
use chatmail::{Address, Config};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::desk::Desk;
use super::remote_doveadm::{PORT, RemoteDoveadm};

/// What became of the sessions of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sessions {
    /// They are told to end.
    Ended,
    /// There were none.
    None,
    /// Nobody knows: Dovecot does not run, or does not answer. Why.
    Unknown(String),
}

/// What doveadm ends with when it has found nobody to kick (DOVEADM_EX_NOTFOUND).
const NOBODY: i32 = 68;

/// How long doveadm may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// For so long sessions are looked for again after some were ended: one that was just about to hibernate, or to wake up,
/// is in no list for a moment.
const AGAIN: Duration = Duration::from_secs(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

impl Sessions {
    /// In a word, for reports.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::None => "none",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Of sessions in two places.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown(one), Self::Unknown(two)) => Self::Unknown(format!("{one}; {two}")),
            (unknown @ Self::Unknown(_), _) | (_, unknown @ Self::Unknown(_)) => unknown,
            (Self::None, Self::None) => Self::None,
            (Self::Ended, _) | (_, Self::Ended) => Self::Ended,
        }
    }
}

/// Asks the hosts of a relay to end sessions.
pub(super) struct SessionEnder<'a> {
    desk: &'a Desk,
    config: &'a Config,
    remote: OnceCell<Result<RemoteDoveadm, String>>,
    /// Backends that have not done it, and why: nobody waits for them again for each account.
    away: RefCell<HashMap<String, String>>,
}

impl<'a> SessionEnder<'a> {
    /// Asks nobody yet.
    pub(super) fn new(desk: &'a Desk, config: &'a Config) -> Self {
        Self {
            desk,
            config,
            remote: OnceCell::new(),
            away: RefCell::default(),
        }
    }

    /// Ends the sessions of an account, on the backend that has its mailbox by the database, and, while it is on its way, on
    /// the one that gets it. Nobody can log in meanwhile by what was changed before.
    pub(super) fn end(&self, address: &Address) -> Sessions {
        let Some(postgres) = self.desk.operator.postgres() else {
            return self.end_here(address);
        };
        match self.desk.run(postgres.whereabouts(address)) {
            Ok(Ok(Some(place))) => self.end_at(address, &place),
            Ok(Ok(None)) => Sessions::None,
            Ok(Err(error)) => unknown_place(&error),
            Err(error) => unknown_place(&error),
        }
    }

    /// The same for an account of which it is known where it is, or was.
    pub(super) fn end_at(&self, address: &Address, place: &Whereabouts) -> Sessions {
        let Some(postgres) = self.desk.operator.postgres() else {
            return self.end_here(address);
        };
        let backends = [&place.backend, &place.moving_to];
        let sessions = backends.into_iter().flatten().map(|backend| {
            match postgres.backend_name() == Some(backend) {
                true => self.end_here(address),
                false => self.end_on(postgres, backend, address),
            }
        });
        let sessions = sessions.reduce(Sessions::and);
        // A relay that has no backends: this host is all of it.
        sessions.unwrap_or_else(|| self.end_here(address))
    }

    fn end_here(&self, address: &Address) -> Sessions {
        self.desk.wait(end_here(self.config, address))
    }

    fn end_on(&self, postgres: &PostgresAccounts, backend: &str, address: &Address) -> Sessions {
        if let Some(why) = self.away.borrow().get(backend) {
            return Sessions::Unknown(why.clone());
        }
        self.ask(postgres, backend, address).unwrap_or_else(|why| {
            let why = format!(
                "backend {backend}: {why}; run this again when port {PORT} there answers, or `doveadm kick` on it"
            );
            self.away.borrow_mut().insert(backend.to_owned(), why.clone());
            Sessions::Unknown(why)
        })
    }

    fn ask(
        &self,
        postgres: &PostgresAccounts,
        backend: &str,
        address: &Address,
    ) -> Result<Sessions, String> {
        let host = self.desk.run(postgres.postgres().backend_host(backend));
        let host = host.map_err(|error| error.to_string())?;
        let host = host.map_err(|error| error.to_string())?;
        let host = host.ok_or("it is not known where it is (doveauth backends add)")?;
        let made = || RemoteDoveadm::new(self.config).map_err(|error| error.to_string());
        let remote = self
            .remote
            .get_or_init(made)
            .as_ref()
            .map_err(Clone::clone)?;
        let kick = async || match remote.kick(&host, address).await {
            Ok(true) => Ok(Sessions::Ended),
            Ok(false) => Ok(Sessions::None),
            Err(error) => Err(format!("{host}: {error}")),
        };
        self.desk.wait(until_none(kick))
    }
}

fn unknown_place(error: &dyn std::fmt::Display) -> Sessions {
    Sessions::Unknown(format!("it is not known where they are: {error}"))
}

/// Kicks until nobody is there, for a while.
async fn until_none<E>(kick: impl AsyncFn() -> Result<Sessions, E>) -> Result<Sessions, E> {
    let deadline = Instant::now() + AGAIN;
    let first = kick().await?;
    let mut last = first.clone();
    while last == Sessions::Ended && Instant::now() < deadline {
        sleep(PAUSE).await;
        last = kick().await?;
    }
    Ok(first)
}

async fn end_here(config: &Config, address: &Address) -> Sessions {
    let kick = async || match kick_here(config, address).await {
        Sessions::Unknown(why) => Err(why),
        known => Ok(known),
    };
    until_none(kick).await.unwrap_or_else(Sessions::Unknown)
}

/// Asks the Dovecot of this host to end the sessions of an account, once.
pub(super) async fn kick_here(config: &Config, address: &Address) -> Sessions {
    /// What doveadm 2.3 says when a session hibernates, in a process that has sessions of others: then it ends none, and all
    /// of them with this option. They connect again.
    const OFFER: &str = "Use the '-f' option";
    match doveadm_kick(config, &[], address).await {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains(OFFER) => {
            let forced = doveadm_kick(config, &["-f"], address).await;
            forced.map_or_else(Sessions::Unknown, |output| told(&output, address))
        }
        Ok(output) => told(&output, address),
        Err(why) => Sessions::Unknown(why),
    }
}

async fn doveadm_kick(
    config: &Config,
    options: &[&str],
    address: &Address,
) -> Result<Output, String> {
    let [program, settings @ ..] = config.doveadm_command.0.as_slice() else {
        return Err("doveadm_command is empty".into());
    };
    let mut command = Command::new(program);
    command.args(settings).arg("kick").args(options);
    command.arg(pattern(address)).stdin(Stdio::null());
    let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    match output {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!(
            "{program} kick: no answer within {} seconds",
            PATIENCE.as_secs()
        )),
    }
}

/// What doveadm has done.
fn told(output: &Output, address: &Address) -> Sessions {
    /// How doveadm 2.4 may begin to say that it has found nobody.
    const NO_CONNECTION: &[u8] = b"0 ";
    match output.status.code() {
        Some(0) if output.stdout.starts_with(NO_CONNECTION) => Sessions::None,
        Some(0) => Sessions::Ended,
        Some(NOBODY) => Sessions::None,
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            // It may quote the address.
            let said = said.replace(&address.to_string(), "(address)");
            let last = said.lines().last().unwrap_or_default();
            Sessions::Unknown(format!("doveadm kick: {}: {last}", output.status))
        }
    }
}

/// doveadm takes `*` and `?` for wildcards; a backslash makes them ordinary.
pub(super) fn pattern(address: &Address) -> String {
    let escape = |character| match character {
        '*' | '?' => vec!['\\', character],
        other => vec![other],
    };
    address.to_string().chars().flat_map(escape).collect()
}
