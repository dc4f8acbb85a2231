//! `filtermail dkim`: makes the keys that sign, says what DNS must say of them, and asks DNS.

mod check;
mod generate;
mod record;

use std::io::{self, Write};
use std::path::PathBuf;

use chatmail::Config;

pub use check::CheckArgs;
pub use generate::GenerateArgs;
pub use record::ShowRecordArgs;

use super::signer::{key_path, load_key};
use super::{KeyCacheError, PrivateKey, PrivateKeyError, SignerError};

/// Arguments of `filtermail dkim`.
#[derive(Clone, Debug, clap::Args)]
pub struct DkimArgs {
    #[command(subcommand)]
    command: DkimCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum DkimCommand {
    /// Make a new key and print the DNS record that publishes it
    #[command(after_help = GENERATE_AFTER_HELP)]
    Generate(GenerateArgs),
    /// Print the DNS records of the keys, as lines of a zone file
    #[command(after_help = SHOW_RECORD_AFTER_HELP)]
    ShowRecord(ShowRecordArgs),
    /// Ask DNS whether the keys are published
    #[command(after_help = CHECK_AFTER_HELP)]
    Check(CheckArgs),
}

const GENERATE_AFTER_HELP: &str = "\
Keys are never overwritten. To change to a new key: generate it under a new name, publish its
record, wait until `check` finds it, put its name first in dkim_selectors, restart filtermail; a week
later take the old name out and delete its record.

Examples:
    filtermail dkim generate
    filtermail dkim generate --selector 2027a
    filtermail dkim generate --selector ed2027 --ed25519

Exit status: 0 made, 1 not made, 78 bad configuration.";

const SHOW_RECORD_AFTER_HELP: &str = "\
Examples:
    filtermail dkim show-record
    filtermail dkim show-record --selector 2027a

Exit status: 0 printed, 1 a key is missing or cannot be used, 78 bad configuration.";

const CHECK_AFTER_HELP: &str = "\
Asks the servers of dns_servers, or those of /etc/resolv.conf, as for the keys of other relays.

Examples:
    filtermail dkim check
    filtermail dkim check --json

Exit status: 0 all keys are published, 1 some are not, 2 DNS does not say, 78 bad configuration.";

/// What to tell the shell; its number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// All is well.
    Good = 0,
    /// Something is to be done.
    Bad = 1,
    /// It cannot be known now.
    Unknown = 2,
}

/// Why a command cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no DNS below an address.
    #[error("mail_domain is an IP address: such relays have no DKIM")]
    AddressLiteral,
    /// A selector or a key file that cannot be used.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// No key file.
    #[error("no DKIM key {path}; run filtermail dkim generate", path = .0.display())]
    NoKey(PathBuf),
    /// The key was there before.
    #[error(
        "{path} is there already and stays; choose another name with --selector",
        path = .0.display()
    )]
    KeyExists(PathBuf),
    /// Each of `dkim_selectors` has its key.
    #[error("all of dkim_selectors have keys; choose a new name with --selector")]
    AllKeysExist,
    /// The file cannot be written.
    #[error(
        "cannot write {path}: {source}; filtermail's user must own the folder, with mode 0700",
        path = path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The key cannot be made or encoded.
    #[error("the key cannot be made: {0}")]
    Key(#[from] PrivateKeyError),
    /// There is no DNS server to ask.
    #[error(transparent)]
    KeyCache(#[from] KeyCacheError),
    /// Nothing can be printed, or no DNS asked.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl DkimArgs {
    /// Runs the command; results go to `out`.
    ///
    /// # Errors
    /// It cannot do its work.
    pub fn run(&self, config: &Config, out: &mut impl Write) -> Result<Status, CommandError> {
        if config.mail_domain.ip().is_some() {
            return Err(CommandError::AddressLiteral);
        }
        match &self.command {
            DkimCommand::Generate(generate) => generate.run(config, out),
            DkimCommand::ShowRecord(show) => show.run(config, out),
            DkimCommand::Check(check) => check.run(config, out),
        }
    }
}

/// The private key of a selector, which must be there.
fn existing_key(config: &Config, selector: &str) -> Result<PrivateKey, CommandError> {
    match load_key(config, selector)? {
        Some(key) => Ok(key),
        None => Err(CommandError::NoKey(key_path(config, selector)?)),
    }
}
