//! Lets the units of this program reach a database over the network, and none that has no need of it.
//!
//! Strangers choose the names that the nightly job works with, so its units have no network. With a `database_url` that
//! leads to another machine they need one. systemd asks for that at each boot and `daemon-reload`, by way of a generator
//! (systemd.generator(7)), so that what holds follows from `chatmail.ini` and from nothing else that somebody would have
//! to keep in mind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chatmail::Config;

/// The units that ask the database.
const UNITS: [&str; 2] = ["expiry-cron.service", "expiry-cron-report.service"];

/// What they get: sockets of the internet, and the machine's network.
const DROP_IN: &str = "\
# database_url of chatmail.ini leads over the network (written by systemd's generator chatmail-suite).
[Service]
PrivateNetwork=no
IPAddressDeny=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
";

/// A drop-in cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}", path = path.display())]
pub struct UnitsError {
    path: PathBuf,
    source: io::Error,
}

/// Writes drop-ins into the folder of a generator, if they are needed.
///
/// # Errors
/// See [`UnitsError`].
pub fn write_drop_ins(config: &Config, folder: &Path) -> Result<(), UnitsError> {
    let url = config.database_url.as_ref();
    if !url.is_some_and(chatmail::postgres::DatabaseUrl::leads_over_network) {
        return Ok(());
    }
    for unit in UNITS {
        let folder = folder.join(format!("{unit}.d"));
        let path = folder.join("database-over-network.conf");
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, DROP_IN));
        written.map_err(|source| UnitsError { path, source })?;
    }
    Ok(())
}
