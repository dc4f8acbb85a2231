//! The report for Prometheus: a file for node_exporter's textfile collector, with the names of metrics
//! that a classic relay's `fsreport` writes.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Accounts, Active, Report};

/// The file in a folder.
const FILE_NAME: &str = "fsreport.prom";

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}", path = path.display())]
pub struct TextfileError {
    path: PathBuf,
    source: io::Error,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MinSize {
    min_size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Days {
    days: u32,
}

/// Writes `fsreport.prom` in a folder, or a file of another name. The file is replaced as a whole:
/// whoever reads it never sees half of it. Everybody may read it.
///
/// # Errors
/// See [`TextfileError`].
pub fn write_textfile(report: &Report, path: &Path) -> Result<(), TextfileError> {
    let path = match path.is_dir() {
        true => path.join(FILE_NAME),
        false => path.to_owned(),
    };
    let text = text(report).map_err(io::Error::other);
    text.and_then(|text| replace(&path, &text))
        .map_err(|source| TextfileError { path, source })
}

fn text(report: &Report) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    let storage = Family::<Kind, Gauge>::default();
    let (messages, other) = (report.storage.messages, report.storage.other);
    for (kind, bytes) in [
        ("messages", messages),
        ("extra", other),
        ("total", messages + other),
    ] {
        set(&storage, Kind { kind }, bytes);
    }
    registry.register(
        "chatmail_storage_bytes",
        "Octets stored in mailboxes",
        storage,
    );

    let (bytes, count) = (
        Family::<MinSize, Gauge>::default(),
        Family::<MinSize, Gauge>::default(),
    );
    for sizes in &report.messages {
        let min_size = sizes.min_size;
        set(&bytes, MinSize { min_size }, sizes.bytes);
        set(&count, MinSize { min_size }, sizes.count);
    }
    registry.register(
        "chatmail_messages_bytes",
        "Octets in messages of a size and above",
        bytes,
    );
    registry.register(
        "chatmail_messages_count",
        "Messages of a size and above",
        count,
    );

    // Else the metrics are absent, and whoever watches them is told.
    if let Some(accounts) = &report.accounts {
        register_accounts(accounts, &mut registry);
    }

    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn register_accounts(accounts: &Accounts, registry: &mut Registry) {
    let numbers = Family::<Kind, Gauge>::default();
    for (kind, number) in [
        ("all", accounts.all),
        ("ci", accounts.ci),
        ("user", accounts.user),
    ] {
        set(&numbers, Kind { kind }, number);
    }
    registry.register("chatmail_accounts", "Accounts", numbers);

    let active = Family::<Days, Gauge>::default();
    for Active { days, accounts } in &accounts.active {
        set(&active, Days { days: *days }, *accounts);
    }
    registry.register(
        "chatmail_accounts_active",
        "Accounts used within so many days, without those of tests",
        active,
    );
}

fn set<Labels>(family: &Family<Labels, Gauge>, labels: Labels, value: u64)
where
    Labels: Clone + std::hash::Hash + Eq,
{
    let gauge = family.get_or_create(&labels);
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // The collector reads names that end with `.prom` only.
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| std::fs::rename(&temporary, path));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    replaced
}
