//! `filtermail dkim show-record`.

use std::io::Write;

use chatmail::Config;

use super::{CommandError, Status, existing_key};
use crate::dkim::{PrivateKey, PrivateKeyError, record_name};

/// The longest string of a TXT record in octets (RFC 1035 section 3.3).
const STRING_MAX: usize = 255;

/// Seconds that others may remember the record: a revoked key is gone an hour later.
const TTL: u32 = 3600;

/// Which records to print.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowRecordArgs {
    /// Print the record of this key only [default: all of dkim_selectors]
    #[arg(long, value_name = "NAME")]
    selector: Option<String>,
}

impl ShowRecordArgs {
    pub(super) fn run(
        &self,
        config: &Config,
        out: &mut impl Write,
    ) -> Result<Status, CommandError> {
        let selectors = match &self.selector {
            Some(selector) => std::slice::from_ref(selector),
            None => &config.dkim_selectors.0,
        };
        for selector in selectors {
            let key = existing_key(config, selector)?;
            writeln!(out, "{}", zone_line(config, selector, &key)?)?;
        }
        Ok(Status::Good)
    }
}

/// The record of a key as a line of a zone file (RFC 1035 section 5.1).
pub(super) fn zone_line(
    config: &Config,
    selector: &str,
    key: &PrivateKey,
) -> Result<String, PrivateKeyError> {
    let name = record_name(selector, config.mail_domain.as_str());
    let record = key.record()?;
    // ASCII throughout, so that octets and letters are the same.
    let letters: Vec<char> = record.chars().collect();
    let strings = letters.chunks(STRING_MAX);
    let strings: Vec<String> = strings
        .map(|string| format!("\"{}\"", string.iter().collect::<String>()))
        .collect();
    Ok(format!("{name}. {TTL} IN TXT {}", strings.join(" ")))
}
