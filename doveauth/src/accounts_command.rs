//! `doveauth accounts`: the relay's accounts on the command line.
//!
//! It writes the files that the daemon reads, so it works whether that is running or not, and what it has changed
//! holds when it returns. Sessions that are open are ended by Dovecot's `doveadm kick`, on the host where they are.

mod change;
mod desk;
mod moving;
mod relocate;
mod remote_doveadm;
mod report;
mod sessions;
mod show;

use std::io::{BufRead, Write};

use anyhow::anyhow;
use chatmail::{Address, Config};
use clap::Subcommand;

use self::desk::Desk;
use crate::command::{Done, Wrong};

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub enum AccountsCommand {
    /// Print the addresses of all accounts, one per line, in no order
    #[command(after_help = LIST_AFTER_HELP)]
    List {
        /// Print one JSON object per line: {"address": "…", "state": "…", "last_login": "…"}
        #[arg(long)]
        json: bool,
    },
    /// Print what there is to know of an account
    #[command(after_help = SHOW_AFTER_HELP)]
    Show {
        /// Whose
        address: Address,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make an account, whoever may make one by logging in, and print its address and password
    #[command(after_help = CREATE_AFTER_HELP)]
    Create {
        /// Its address; a random one if none is given
        address: Option<Address>,
        /// Read the password from the first line of standard input, instead of a random one
        #[arg(long)]
        stdin: bool,
        /// Print a JSON object: {"address": "…", "password": "…", "outcome": "created"}
        #[arg(long)]
        json: bool,
    },
    /// Let nobody log in to accounts, and let them get no mail
    #[command(after_help = BLOCK_AFTER_HELP)]
    Block {
        /// What to change, and how to report it
        #[command(flatten)]
        accounts: Accounts,
    },
    /// End the blocking of accounts: the passwords from before hold again
    #[command(after_help = UNBLOCK_AFTER_HELP)]
    Unblock {
        /// What to change, and how to report it
        #[command(flatten)]
        accounts: Accounts,
    },
    /// Delete accounts with their mailboxes, for good
    #[command(after_help = DELETE_AFTER_HELP)]
    Delete {
        /// What to change, and how to report it
        #[command(flatten)]
        accounts: Accounts,
    },
    /// Take an account with its mailbox to another backend
    #[command(after_help = MOVE_AFTER_HELP)]
    Move {
        /// Which account
        address: Address,
        /// The backend's name
        backend: String,
        /// Print a JSON object: {"address": "…", "outcome": "…"}
        #[arg(long)]
        json: bool,
    },
    /// Give an account another password
    #[command(after_help = PASSWD_AFTER_HELP)]
    Passwd {
        /// Which account
        address: Address,
        /// Read the password from the first line of standard input, instead of a random one that is printed
        #[arg(long)]
        stdin: bool,
        /// Print a JSON object: {"address": "…", "password": "…", "outcome": "…", "sessions": "…"}
        #[arg(long)]
        json: bool,
    },
    /// Bring all accounts from mailboxes_dir into the database at database_url
    #[command(after_help = IMPORT_AFTER_HELP)]
    Import,
    /// Bring all accounts from the database at database_url into mailboxes_dir
    #[command(after_help = EXPORT_AFTER_HELP)]
    Export,
}

/// Accounts that are to be changed.
#[derive(Debug, clap::Args)]
pub struct Accounts {
    /// Print one JSON object per account: {"address": "…", "outcome": "…", "sessions": "…"}
    #[arg(long)]
    json: bool,
    /// Which
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<Address>,
}

const LIST_AFTER_HELP: &str = "\
Examples:
    doveauth accounts list | wc -l
    doveauth accounts list --json | jq -r 'select(.state == \"blocked\") | .address'

States are active, blocked, and locked (nobody can log in: the password file holds no hash).
Exit status: 0 done, 70 the accounts cannot be read, 78 configuration error.";

const SHOW_AFTER_HELP: &str = "\
Examples:
    doveauth accounts show abc123def@chat.example
    doveauth accounts show --json abc123def@chat.example | jq .bytes_used

Last logins are known by the day (UTC). `cleartext` tells whether it takes unencrypted mail from outside.
Exit status: 0 done, 1 there is no such account, 70 it cannot be read, 78 configuration error.";

const CREATE_AFTER_HELP: &str = "\
Examples:
    doveauth accounts create
    doveauth accounts create support@chat.example
    pwgen 20 1 | doveauth accounts create --stdin support@chat.example

Neither `registration`, the length of the name nor reserved names stand in the way of an operator.
Exit status: 0 done, 1 there is such an account, 2 the name or password cannot be one, 70 the account cannot
be made, 78 configuration error.";

const BLOCK_AFTER_HELP: &str = "\
Examples:
    doveauth accounts block abc123def@chat.example

The mailbox stays, and so does the password, for `unblock`. Open IMAP sessions are ended, also on other hosts, or a
warning names the backend that is away: then run it again. In an open SMTP session the next message is refused. A blocked account that nobody logs in to expires like any other.
Exit status: 0 all are blocked, 1 some are no accounts, 70 an account cannot be changed, 78 configuration error.";

const UNBLOCK_AFTER_HELP: &str = "\
Examples:
    doveauth accounts list --json | jq -r 'select(.state == \"blocked\") | .address' | xargs doveauth accounts unblock

Exit status: 0 none is blocked, 1 some are no accounts, 70 an account cannot be changed, 78 configuration error.";

const DELETE_AFTER_HELP: &str = "\
Examples:
    doveauth accounts delete abc123def@chat.example

Sessions are ended as by `block`. For `tombstone_days` (chatmail.ini) nobody gets an account with the address by logging in;
`doveauth accounts create` makes one, with nothing in it.
Exit status: 0 all are deleted, 1 some were no accounts, 70 a mailbox cannot be deleted (try again), 78
configuration error.";

const MOVE_AFTER_HELP: &str = "\
Examples:
    doveauth accounts move abc123def@chat.example b2

To be run on the backend that has the mailbox. It copies the mailbox (doveadm backup, port 24245 of the other backend),
ends the sessions, copies what is new, and removes the mailbox here. From the end of the sessions on logins are told to
try again, and mail waits. What was killed goes on when it is run again; with this backend for a target, it is given up.
Exit status: 0 done, 1 there is no such account, 2 it cannot be moved so, 70 it stays where it is, or has to be run again,
78 configuration error.";

const PASSWD_AFTER_HELP: &str = "\
Examples:
    doveauth accounts passwd abc123def@chat.example
    pwgen 20 1 | doveauth accounts passwd --stdin abc123def@chat.example

Sessions are ended as by `block`, so that whoever has the old password is out. A blocked account stays blocked.
Exit status: 0 done, 1 there is no such account, 2 the password cannot be one, 70 the account cannot be
changed, 78 configuration error.";

const IMPORT_AFTER_HELP: &str = "\
Examples:
    doveauth accounts import && systemctl daemon-reload && systemctl restart doveauth

Set database_url and backend_name, run it, have systemd read its units again (a database over the network is one that the
nightly job has to be let to), and restart doveauth. With accounts go invites, block list and tombstones; mailboxes stay
where they are. Logins go on all the time. From its start until doveauth is restarted nobody can make an account, so that
no address can be taken twice: whoever tries is told to try again. An account that is in the database already stays as it
is there. A run that was killed is followed by another.
Exit status: 0 done, 2 it cannot be done here, 70 it is not done (try again), 78 configuration error.";

const EXPORT_AFTER_HELP: &str = "\
Examples:
    doveauth accounts export

Run it, empty database_url, restart doveauth. It is for a relay whose mailboxes are all on this host. Logins go on all
the time. From its start until doveauth is restarted nobody can make an account. Accounts in the directories become
what they are in the database. A run that was killed is followed by another.
Exit status: 0 done, 2 it cannot be done here, 70 it is not done (try again), 78 configuration error.";

impl AccountsCommand {
    /// Does it, and writes what came of it. `input` is standard input.
    ///
    /// # Errors
    /// [`Wrong`] when an argument cannot be; else the accounts cannot be read or changed, or `out` cannot be
    /// written.
    pub fn run(
        &self,
        config: &Config,
        input: impl BufRead,
        out: &mut impl Write,
    ) -> anyhow::Result<Done> {
        let desk = Desk::new(config)?;
        let done = match self {
            Self::List { json } => show::list(&desk, *json, out)?,
            Self::Show { address, json } => show::one(&desk, config, address, *json, out)?,
            Self::Create {
                address,
                stdin,
                json,
            } => {
                let password = password(*stdin, input)?;
                change::create(&desk, address.as_ref(), password.as_deref(), *json, out)?
            }
            Self::Block { accounts } => change::block(&desk, config, accounts, out)?,
            Self::Unblock { accounts } => change::unblock(&desk, accounts, out)?,
            Self::Delete { accounts } => change::delete(&desk, config, accounts, out)?,
            Self::Import => moving::import(&desk, config, out)?,
            Self::Export => moving::export(&desk, config, out)?,
            Self::Move {
                address,
                backend,
                json,
            } => relocate::relocate(config, address, backend, *json, out)?,
            Self::Passwd {
                address,
                stdin,
                json,
            } => {
                let password = password(*stdin, input)?;
                change::passwd(&desk, config, address, password.as_deref(), *json, out)?
            }
        };
        out.flush()?;
        Ok(done)
    }
}

/// The first line of standard input, if it is asked for.
fn password(wanted: bool, mut input: impl BufRead) -> anyhow::Result<Option<String>> {
    if !wanted {
        return Ok(None);
    }
    let mut line = String::new();
    let read = input.read_line(&mut line);
    read.map_err(|error| anyhow!("cannot read the password from standard input: {error}"))?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    match password {
        "" => Err(Wrong("standard input holds no password".into()).into()),
        password => Ok(Some(password.to_owned())),
    }
}
