//! The file of what the bridge knows of peers (`mxdeliv_database_path`, SQLite).
//!
//! The daemon alone opens it, once for each part that has a table in it. Whoever writes waits for
//! another writer at most [`PATIENCE`].

use std::time::Duration;

use chatmail::Config;
use chatmail::database::{Database, DatabaseError, Schema};

/// How long a part waits for another one that writes.
pub const PATIENCE: Duration = Duration::from_secs(5);

const SCHEMA: Schema = Schema {
    application_id: 0x6d78_646c, // "mxdl"
    migrations: &[include_str!("1_routes.sql"), include_str!("2_traffic.sql")],
    key: "mxdeliv_database_path",
};

/// Opens the file, which is made if there is none.
///
/// # Errors
/// See [`DatabaseError`]; its text says which file, and what to do.
pub fn open(config: &Config) -> Result<Database, DatabaseError> {
    Database::open_or_create(&SCHEMA, &config.mxdeliv_database_path, PATIENCE, None)
}
