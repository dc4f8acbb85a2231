//! What an account takes on disk: its mailbox with nothing in it but what a login makes, and its row.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::crowd::Crowd;
use crate::cluster::Cluster;

/// How many mailboxes are looked at.
const SAMPLE: usize = 200;

/// Octets of a block, as `st_blocks` counts them.
const BLOCK: u64 = 512;

/// What each account takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disk {
    /// Bytes of a mailbox on its backend, and how many files and folders it is.
    pub(super) mailbox: f64,
    pub(super) files: f64,
    /// Bytes of a row, of its part of the indexes, and of both.
    pub(super) row: f64,
    pub(super) index: f64,
    pub(super) account: f64,
}

/// Looks at a cluster's.
///
/// # Errors
/// A client has no mailbox, or PostgreSQL does not answer.
pub(super) fn of_accounts(cluster: &Cluster, crowd: &Crowd) -> anyhow::Result<Disk> {
    let (mut blocks, mut files) = (0, 0);
    let sample = SAMPLE.min(crowd.len());
    for number in 0..sample {
        let address = crowd.address(number);
        let mut folders = cluster.backends.iter();
        let folder = folders
            .find_map(|backend| {
                let folder = backend.mailboxes_dir.join(&address);
                folder.exists().then_some(folder)
            })
            .context("a client without a mailbox")?;
        let (more_blocks, more_files) = walk(&folder)?;
        blocks += more_blocks;
        files += more_files;
    }
    ensure!(sample > 0, "no clients");
    let database = cluster.database()?;
    let of_each = |function: &str| -> anyhow::Result<f64> {
        let query = format!("SELECT {function}('accounts')::float8 / count(*) FROM accounts");
        Ok(database.sql(&query)?.parse()?)
    };
    Ok(Disk {
        mailbox: (blocks * BLOCK) as f64 / sample as f64,
        files: files as f64 / sample as f64,
        row: of_each("pg_table_size")?,
        index: of_each("pg_indexes_size")?,
        account: of_each("pg_total_relation_size")?,
    })
}

/// Blocks and entries of a folder, itself included.
fn walk(folder: &Path) -> anyhow::Result<(u64, u64)> {
    let (mut blocks, mut files) = (fs::symlink_metadata(folder)?.blocks(), 1);
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let (more_blocks, more_files) = walk(&entry.path())?;
            blocks += more_blocks;
            files += more_files;
        } else {
            blocks += entry.metadata()?.blocks();
            files += 1;
        }
    }
    Ok((blocks, files))
}
