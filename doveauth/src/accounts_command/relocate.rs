//! `doveauth accounts move`: an account goes to another backend.
//!
//! It runs on the backend that has the mailbox, in steps that each can be done again, so that a call that was killed is
//! followed by one that goes on:
//!
//! 1. The row says where it goes ([`chatmail::postgres::relocation`]). The mailbox is copied while it is in use: what is
//!    left for later is little.
//! 2. The row says that it is closed. From here on logins and mail wait.
//! 3. Sessions are ended, and mail that was being delivered is in the mailbox: Dovecot's processes say so.
//! 4. It is copied again: nothing changes any more.
//! 5. The row says that it is there. Logins and mail go on.
//! 6. It is removed here.
//!
//! The copy is made by Dovecot (`doveadm backup`), with flags, UIDs and the tokens of devices; it becomes what the
//! original is, whatever an earlier call has left there. `doveadm sync` would merge, and bring back what was deleted.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use chatmail::accounts::Store;
use chatmail::postgres::PostgresAccounts;
use chatmail::{Address, Config};
use tokio::runtime::{Builder, Runtime};

use super::remote_doveadm::PORT;
use super::report::Report;
use super::sessions::{self, Sessions};
use crate::command::{Done, Wrong};
use crate::mail_user::MailUser;

/// What doveadm ends with when it does not know an option (EX_USAGE).
const USAGE: i32 = 64;

/// How long sessions may take to end, and a delivery. Mail and logins wait meanwhile, and are let in again.
const PATIENCE: Duration = Duration::from_secs(120);

/// Somebody else was quicker.
const GONE: &str = "somebody else has moved or deleted it";

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What is moved, and between whom.
struct Move<'a> {
    // One for all questions: the connections to the database live on it.
    runtime: Runtime,
    config: &'a Config,
    accounts: PostgresAccounts,
    user: MailUser,
    store: Store,
    address: &'a Address,
    here: String,
    to: &'a str,
    host: String,
}

/// `move`.
pub(super) fn relocate(
    config: &Config,
    address: &Address,
    to: &str,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<Done> {
    let user = MailUser::of(config)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let accounts = PostgresAccounts::from_config(config)?
        .ok_or_else(|| wrong("there is one host only: database_url is empty"))?;
    let here = accounts
        .backend_name()
        .ok_or_else(|| wrong("run it on the backend that has the mailbox; this is a front"))?
        .to_owned();
    let Some(place) = runtime.block_on(accounts.whereabouts(address))? else {
        Report::of(address, "missing").write(json, out)?;
        return Ok(Done::NotAll);
    };
    let host = runtime
        .block_on(accounts.postgres().backend_host(to))?
        .ok_or_else(|| wrong(format!("there is no backend {to} (doveauth backends list)")))?;
    let this = Move {
        runtime,
        config,
        accounts,
        user,
        store: Store::new(&config.mailboxes_dir),
        address,
        here,
        to,
        host,
    };
    let is_here = place.backend.as_deref() == Some(&this.here);
    let outcome = match (is_here, place.moving_to.as_deref()) {
        (true, _) if to == this.here => this.stay()?,
        (true, Some(elsewhere)) if elsewhere != to => {
            let words = format!(
                "it is on its way to {elsewhere}; finish that, or move it to {}",
                this.here
            );
            return Err(wrong(words));
        }
        (true, _) => this.go()?,
        (false, _) if place.backend.as_deref() == Some(to) => this.remove()?,
        (false, _) => {
            let at = place.backend.as_deref().unwrap_or("none");
            return Err(wrong(format!(
                "its mailbox is not here but on {at}: run it there"
            )));
        }
    };
    Report::of(address, outcome).write(json, out)?;
    Ok(Done::All)
}

impl Move<'_> {
    fn go(&self) -> anyhow::Result<&'static str> {
        let begun = self.accounts.begin_move(self.address, &self.here, self.to);
        ensure!(self.runtime.block_on(begun)?, GONE);
        let emptied = self.copy().and_then(|()| self.empty());
        if let Err(error) = emptied.and_then(|()| self.copy()) {
            // Nothing has happened yet. Should this fail too, a call with this host as the target does it.
            self.stay()?;
            return Err(error.context("it stays where it is"));
        }
        let opened = self
            .accounts
            .open_after_move(self.address, &self.here, self.to);
        ensure!(self.runtime.block_on(opened)?, GONE);
        self.remove()
    }

    /// Nobody gets at the mailbox any more, and whoever did has ended.
    fn empty(&self) -> anyhow::Result<()> {
        let closed = self
            .accounts
            .close_for_move(self.address, &self.here, self.to);
        ensure!(self.runtime.block_on(closed)?, GONE);
        // Whoever begins from now on finds it closed.
        let delivering = busy_deliveries(self.config)?;
        self.end_sessions()?;
        self.await_deliveries(delivering)
    }

    fn stay(&self) -> anyhow::Result<&'static str> {
        let given_up = self.accounts.give_up_move(self.address, &self.here);
        self.runtime.block_on(given_up)?;
        Ok("stays")
    }

    /// What is left here of an account that is there.
    fn remove(&self) -> anyhow::Result<&'static str> {
        let removed = self.user.run(|| self.store.delete(self.address, || {}))?;
        removed?;
        Ok("moved")
    }

    /// Makes the mailbox there what it is here. Whose it is doveadm is told by us: doveauth lets nobody at it.
    fn copy(&self) -> anyhow::Result<()> {
        let home = self.store.home(self.address).context("no mailbox")?;
        if !home.exists() {
            // Nobody has logged in or written yet.
            return Ok(());
        }
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let destination = format!("tcps:{host}:{PORT}");
        let copy = |options: &[&str]| {
            let mut command = doveadm(self.config)?;
            self.user.become_in(&mut command);
            command
                .env("USER", self.address.to_string())
                .env("HOME", &home)
                .arg("backup")
                .args(options)
                // One at a time: a call that was killed may have left one that goes on.
                .args(["-l", "60", &destination]);
            ended(command)
        };
        // Without this 2.4 asks doveauth; 2.3 never does when it is told of a home, and does not know the option.
        let output = match copy(&["--no-userdb-lookup"])? {
            output if output.status.code() == Some(USAGE) => copy(&[])?,
            output => output,
        };
        is_success(&output, self.address, "backup")
    }

    fn end_sessions(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let kick = sessions::kick_here(self.config, self.address);
            match self.runtime.block_on(kick) {
                Sessions::None => return Ok(()),
                Sessions::Unknown(why) => return Err(anyhow!("sessions are not ended: {why}")),
                Sessions::Ended => {}
            }
            ensure!(Instant::now() < deadline, "a session does not end");
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until the deliveries that were going on have ended: their processes do nothing, or something else.
    fn await_deliveries(&self, mut delivering: Vec<Delivery>) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !delivering.is_empty() {
            ensure!(
                Instant::now() < deadline,
                "a delivery from before does not end"
            );
            std::thread::sleep(PAUSE);
            let now = busy_deliveries(self.config)?;
            delivering.retain(|delivery| now.contains(delivery));
        }
        Ok(())
    }
}

/// A process of Dovecot's LMTP server, and the connection that it serves: how many it has had.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Delivery {
    process: String,
    connection: String,
}

fn busy_deliveries(config: &Config) -> anyhow::Result<Vec<Delivery>> {
    let mut command = doveadm(config)?;
    command.args(["-f", "tab", "process", "status", "lmtp"]);
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "doveadm process status lmtp: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    deliveries(&String::from_utf8_lossy(&output.stdout))
}

/// Reads a table with a line of names above it.
fn deliveries(table: &str) -> anyhow::Result<Vec<Delivery>> {
    let mut lines = table
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let names = lines.next().unwrap_or_default();
    let column = |name: &str| {
        let place = names.iter().position(|one| *one == name);
        place.with_context(|| format!("doveadm process status has no {name}"))
    };
    let places = [
        column("pid")?,
        column("available_count")?,
        column("total_count")?,
    ];
    let rows = lines.map(|line| {
        let [process, available, connection] = places.map(|place| line.get(place).copied());
        let busy = available.context("half a line")? == "0";
        let delivery = Delivery {
            process: process.context("half a line")?.to_owned(),
            connection: connection.context("half a line")?.to_owned(),
        };
        Ok(busy.then_some(delivery))
    });
    rows.filter_map(Result::transpose).collect()
}

fn doveadm(config: &Config) -> anyhow::Result<Command> {
    let words = config.doveadm_command.0.as_slice();
    let (program, options) = words.split_first().context("doveadm_command is empty")?;
    let mut command = Command::new(program);
    command.args(options);
    Ok(command)
}

fn ended(mut command: Command) -> anyhow::Result<Output> {
    let output = command.stdin(Stdio::null()).output();
    output.context("running doveadm_command")
}

fn is_success(output: &Output, address: &Address, what: &str) -> anyhow::Result<()> {
    // It may quote the address.
    let said = String::from_utf8_lossy(&output.stderr).replace(&address.to_string(), "(address)");
    ensure!(
        output.status.success(),
        "doveadm {what}: {}: {}",
        output.status,
        said.trim_end()
    );
    Ok(())
}

fn wrong(words: impl Into<String>) -> anyhow::Error {
    Wrong(words.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_those_processes_that_have_no_room() {
        let table = "name\tpid\tavailable_count\ttotal_count\tidle_start\n\
                     lmtp\t11\t0\t5\t0\nlmtp\t12\t1\t7\t1796034149\n";
        let [one] = deliveries(table).unwrap().try_into().unwrap();
        assert_eq!((one.process.as_str(), one.connection.as_str()), ("11", "5"));
        assert!(deliveries("").is_err());
        assert!(deliveries("name\tpid\tavailable_count\ttotal_count\nlmtp\t1\n").is_err());
        let none = deliveries("name\tpid\tavailable_count\ttotal_count\n");
        assert_eq!(none.unwrap(), []);
    }
}
