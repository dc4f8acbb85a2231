//! `filtermail dkim check`.

use std::io::Write;

use chatmail::Config;
use serde_json::json;

use super::{CommandError, Status, existing_key};
use crate::dkim::{DkimFailure, KeyCache, PrivateKey, record_name};

/// How to print what DNS says.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// Print one JSON object per key
    #[arg(long)]
    json: bool,
}

/// What DNS says of one key.
enum Finding {
    Published,
    /// There is a key, but not ours.
    Different,
    Failure(DkimFailure),
}

impl CheckArgs {
    pub(super) fn run(
        &self,
        config: &Config,
        out: &mut impl Write,
    ) -> Result<Status, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.ask(config, out))
    }

    async fn ask(&self, config: &Config, out: &mut impl Write) -> Result<Status, CommandError> {
        let dns = KeyCache::new(config)?;
        let mut status = Status::Good;
        for selector in &config.dkim_selectors.0 {
            let key = existing_key(config, selector)?;
            let name = record_name(selector, config.mail_domain.as_str());
            let finding = find(&dns, &name, &key).await?;
            if self.json {
                writeln!(out, "{}", finding.to_json(&name))?;
            } else {
                writeln!(out, "{name}: {}", finding.text())?;
            }
            status = status.max(finding.status());
        }
        Ok(status)
    }
}

async fn find(dns: &KeyCache, name: &str, key: &PrivateKey) -> Result<Finding, CommandError> {
    let info = key.public_info()?;
    let published = match dns.keys(name.to_owned()).await {
        Ok(published) => published,
        Err(failure) => return Ok(Finding::Failure(failure)),
    };
    let ours = published
        .iter()
        .any(|published| published.is(key.key_type(), &info));
    Ok(if ours {
        Finding::Published
    } else {
        Finding::Different
    })
}

impl Finding {
    fn status(&self) -> Status {
        match self {
            Self::Published => Status::Good,
            Self::Failure(failure) if failure.is_temporary() => Status::Unknown,
            Self::Different | Self::Failure(_) => Status::Bad,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Published => "published".to_owned(),
            Self::Different => "key-different".to_owned(),
            Self::Failure(failure) => failure.to_string(),
        }
    }

    fn text(&self) -> String {
        const SHOW: &str = "filtermail dkim show-record prints what should be there";
        match self {
            Self::Published => "published".to_owned(),
            Self::Different => format!("DNS has another key; {SHOW}"),
            Self::Failure(failure) if failure.is_temporary() => {
                let why = failure.explanation();
                format!("cannot be known now: {why}; is dns_servers right?")
            }
            Self::Failure(failure) => format!("{}; {SHOW}", failure.explanation()),
        }
    }

    fn to_json(&self, name: &str) -> serde_json::Value {
        json!({ "record": name, "published": matches!(self, Self::Published), "result": self.name() })
    }
}
