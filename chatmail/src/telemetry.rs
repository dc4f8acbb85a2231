//! Log lines: to journald when systemd started the daemon, else to stderr.
//!
//! What may be logged is decided where it is logged; see "Privacy" in ARCHITECTURE.md.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The variable with the filter: a level (`debug`) or `target=level` pairs separated by commas.
pub const FILTER_VARIABLE: &str = "RUST_LOG";

/// Begins logging for this daemon, at level info unless `RUST_LOG` says otherwise.
///
/// Does nothing when the process logs already, as in tests.
pub fn init(daemon: &str) {
    let wanted = std::env::var(FILTER_VARIABLE).ok();
    let parsed = wanted.as_deref().map(str::parse::<Targets>);
    let filter = match &parsed {
        Some(Ok(filter)) => filter.clone(),
        _ => Targets::new().with_default(LevelFilter::INFO),
    };
    let registry = tracing_subscriber::registry().with(filter);
    // systemd sets the variable when stderr is the journal; then levels and fields arrive whole.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let begun = match journal {
        Some(layer) => {
            let layer = layer
                .with_syslog_identifier(daemon.to_owned())
                .with_field_prefix(None);
            registry.with(layer).try_init()
        }
        None => {
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                .with_target(false);
            registry.with(layer).try_init()
        }
    };
    if let (Ok(()), Some(Err(error))) = (begun, parsed) {
        tracing::warn!("{FILTER_VARIABLE} is ignored: {error}");
    }
}
