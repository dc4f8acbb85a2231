//! `doveauth backends`: the hosts that keep mailboxes, on the command line.

use std::io::Write;
use std::num::NonZeroU32;

use anyhow::anyhow;
use chatmail::Config;
use chatmail::postgres::Postgres;
use chatmail::postgres::backends::{Added, Addition, Backend, Removed};
use clap::Subcommand;
use serde_json::json;

use crate::command::{Done, Wrong, block_on};
use crate::mail_user::MailUser;

/// What to do with backends.
#[derive(Debug, Subcommand)]
pub enum BackendsCommand {
    /// Print all backends, each with its host, weight, state and number of accounts
    #[command(after_help = LIST_AFTER_HELP)]
    List {
        /// Print one JSON object per line: {"name": "…", "host": "…", "weight": 1, "state": "…", "accounts": 0}
        #[arg(long)]
        json: bool,
    },
    /// Add a backend, or change one; it takes new accounts
    #[command(after_help = ADD_AFTER_HELP)]
    Add {
        /// Its `backend_name` in chatmail.ini
        name: String,
        /// Where the fronts find it: an IP address, or a host name
        host: String,
        /// How many of the new accounts it gets, compared with other backends [default: 1, or as before]
        #[arg(long, value_name = "NUMBER")]
        weight: Option<NonZeroU32>,
        /// Also give it the accounts that are of no backend: those of a relay that was one host until now
        #[arg(long)]
        adopt: bool,
    },
    /// Let a backend get no more accounts; `add` ends that
    #[command(after_help = DRAIN_AFTER_HELP)]
    Drain {
        /// Which
        name: String,
    },
    /// Remove a backend that has no accounts any more
    #[command(after_help = REMOVE_AFTER_HELP)]
    Remove {
        /// Which
        name: String,
    },
}

const LIST_AFTER_HELP: &str = "\
Examples:
    doveauth backends list
    doveauth backends list --json | jq -r 'select(.state == \"drained\") | .name'

The columns are name, host, weight, state (active, drained) and accounts, separated by TAB.
Exit status: 0 done, 70 the database cannot be read, 78 configuration error.";

const ADD_AFTER_HELP: &str = "\
Examples:
    doveauth backends add b1 192.0.2.11
    doveauth backends add --weight 2 b2 192.0.2.12
    doveauth backends add --adopt b1 192.0.2.11

A new account goes to the backend that has the fewest for its weight, and stays there. The daemons need not be
restarted.
Exit status: 0 done, 2 an argument is wrong, 70 the database cannot be changed, 78 configuration error.";

const DRAIN_AFTER_HELP: &str = "\
Examples:
    doveauth backends drain b1

Its accounts stay where they are.
Exit status: 0 done, 1 there is no such backend, 70 the database cannot be changed, 78 configuration error.";

const REMOVE_AFTER_HELP: &str = "\
Examples:
    doveauth backends drain b1 && doveauth backends remove b1

Exit status: 0 done, 1 there is no such backend, 2 it still has accounts, 70 the database cannot be changed, 78
configuration error.";

impl BackendsCommand {
    /// Does it, and writes what came of it.
    ///
    /// # Errors
    /// [`Wrong`] when an argument cannot be; else the database cannot be read or changed, or `out` cannot be written.
    pub fn run(&self, config: &Config, out: &mut impl Write) -> anyhow::Result<Done> {
        let postgres = Postgres::from_config(config)?
            .ok_or_else(|| anyhow!("database_url is empty: a relay of one host has no backends"))?;
        let work = || block_on(self.ask(&postgres, out));
        let done = MailUser::of(config)?.run(work)???;
        out.flush()?;
        Ok(done)
    }

    async fn ask(&self, postgres: &Postgres, out: &mut impl Write) -> anyhow::Result<Done> {
        match self {
            Self::List { json } => {
                let (backends, none) = postgres.backends().await?;
                list(&backends, none, *json, out)
            }
            Self::Add {
                name,
                host,
                weight,
                adopt,
            } => {
                let new = Addition {
                    name: a_word("a name", name)?,
                    host: a_word("a host", host)?,
                    weight: weight.map(NonZeroU32::get),
                    adopt: *adopt,
                };
                let outcome = match postgres.add_backend(&new).await? {
                    Added::Added => "added",
                    Added::Changed => "changed",
                };
                writeln!(out, "{outcome} {name}")?;
                Ok(Done::All)
            }
            Self::Drain { name } => match postgres.drain_backend(name).await? {
                true => {
                    writeln!(out, "drained {name}")?;
                    Ok(Done::All)
                }
                false => missing(name, out),
            },
            Self::Remove { name } => match postgres.remove_backend(name).await? {
                Removed::Removed => {
                    writeln!(out, "removed {name}")?;
                    Ok(Done::All)
                }
                Removed::Missing => missing(name, out),
                Removed::InUse(accounts) => {
                    let text = format!(
                        "{name} has {accounts} accounts or mailboxes that are to be removed"
                    );
                    Err(Wrong(text).into())
                }
            },
        }
    }
}

fn list(backends: &[Backend], none: u64, json: bool, out: &mut impl Write) -> anyhow::Result<Done> {
    for backend in backends {
        let Backend {
            name,
            host,
            weight,
            accounts,
            ..
        } = backend;
        let state = match backend.drained {
            true => "drained",
            false => "active",
        };
        if json {
            let line = json!({
                "name": name, "host": host, "weight": weight, "state": state, "accounts": accounts,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{name}\t{host}\t{weight}\t{state}\t{accounts}")?;
        }
    }
    if none > 0 && !backends.is_empty() {
        eprintln!(
            "warning: {none} accounts are of no backend, and of whichever host is asked (doveauth backends add --adopt)"
        );
    }
    Ok(Done::All)
}

fn missing(name: &str, out: &mut impl Write) -> anyhow::Result<Done> {
    writeln!(out, "missing {name}")?;
    Ok(Done::NotAll)
}

/// What can stand in a row and in an answer to Dovecot.
fn a_word(what: &str, text: &str) -> Result<String, Wrong> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "._-:".contains(character);
    match !text.is_empty() && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(Wrong(format!(
            "{what} has letters, digits and . _ - : only"
        ))),
    }
}
