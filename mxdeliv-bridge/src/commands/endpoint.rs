//! `mxdeliv-bridge endpoint`: which way mail for a peer is to go, whatever it says of itself.

use clap::Subcommand;

use super::{CommandError, Daemon, Done, show};
use crate::admin::OverrideRow;
use crate::admin::protocol::Request;

/// What to do with decisions.
#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// Print all decisions
    List {
        /// Print one JSON object per decision and line
        #[arg(long)]
        json: bool,
    },
    /// Decide where a domain's mail goes; holds at once, and until it is unset
    #[command(after_help = SET_AFTER_HELP)]
    Set {
        /// A domain, or an address for a relay that is known by its address only
        domain: String,
        /// smtp, or https://HOST[:PORT]
        endpoint: String,
        /// Take any certificate of that host: whoever is between you and it can then read and change mail
        #[arg(long)]
        lax_tls: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take a decision back
    Unset {
        /// The domain
        domain: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

const SET_AFTER_HELP: &str = "\
Examples:
    mxdeliv-bridge endpoint set example.org smtp
    mxdeliv-bridge endpoint set example.org https://mx.example.org
    mxdeliv-bridge endpoint set 192.0.2.1 https://192.0.2.1:8443 --lax-tls

Mail that an https endpoint does not take goes by SMTP all the same.
Exit status: 0 done, 64 wrong usage, 69 the daemon is away, 70 failure, 78 configuration error.";

impl EndpointCommand {
    /// Does it, and prints what came of it.
    pub(super) fn ask(self, daemon: &Daemon<'_>) -> Result<Done, CommandError> {
        match self {
            Self::List { json } => {
                let line = |row: OverrideRow| vec![show::decision(&row)];
                daemon.table(&Request::EndpointList, json, show::DECISIONS, line)
            }
            Self::Set {
                domain,
                endpoint,
                lax_tls: lax,
                json,
            } => {
                let row = serde_json::json!({
                    "domain": domain, "endpoint": endpoint, "lax_tls": lax,
                });
                let shown = format!("set {domain} {endpoint}");
                let request = Request::EndpointSet {
                    domain,
                    endpoint,
                    lax,
                };
                daemon.ask(&request, |_| Ok(()))?;
                print(json, &row, &shown)
            }
            Self::Unset { domain, json } => {
                let mut was_set = false;
                let request = Request::EndpointUnset {
                    domain: domain.clone(),
                };
                daemon.ask(&request, |row| {
                    was_set = row.as_bool().unwrap_or_default();
                    Ok(())
                })?;
                let outcome = chatmail::blocks::arguments::removal(was_set);
                let row = serde_json::json!({ "domain": domain, "outcome": outcome });
                print(json, &row, &format!("{outcome} {domain}"))?;
                Ok(if was_set { Done::All } else { Done::Missing })
            }
        }
    }
}

fn print(json: bool, row: &serde_json::Value, text: &str) -> Result<Done, CommandError> {
    match json {
        true => println!("{row}"),
        false => println!("{text}"),
    }
    Ok(Done::All)
}
