//! `endpoint list|set|unset`: what the operator decides about peers.

use chatmail::Domain;
use serde::{Deserialize, Serialize};

use super::Context;
use super::answers::Answers;
use super::peers::parse_domain;
use super::protocol::Failure;
use crate::routes::Override;

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideRow {
    /// The domain that it is about.
    pub domain: String,
    /// `smtp`, or the URL of a host.
    pub endpoint: String,
    /// Whether any certificate will do there.
    pub lax_tls: bool,
}

/// Sends all decisions in the order of their domains.
pub(super) async fn list(context: &Context, answers: &mut Answers) -> Result<(), Failure> {
    let decided = context.routes.overrides().into_iter();
    let row = |(domain, decision): (Domain, Override)| OverrideRow {
        domain: domain.to_string(),
        endpoint: decision.to_string(),
        lax_tls: decision.is_lax(),
    };
    let mut rows: Vec<_> = decided.map(row).collect();
    rows.sort_by(|a, b| a.domain.cmp(&b.domain));
    for row in rows {
        answers.row(&row).await?;
    }
    Ok(())
}

/// Decides about a domain.
pub(super) async fn set(
    context: &Context,
    domain: &str,
    endpoint: &str,
    lax: bool,
) -> Result<(), Failure> {
    let domain = parse_domain(domain)?;
    let decision = Override::parse(endpoint, lax).map_err(Failure::usage)?;
    let set = context.routes.set_override(domain, decision).await;
    set.map_err(not_written)
}

/// Takes a decision back; sends whether there was one.
pub(super) async fn unset(
    context: &Context,
    domain: &str,
    answers: &mut Answers,
) -> Result<(), Failure> {
    let domain = parse_domain(domain)?;
    let unset = context.routes.unset_override(&domain).await;
    answers.row(&unset.map_err(not_written)?).await
}

fn not_written(error: chatmail::database::DatabaseError) -> Failure {
    Failure::failed(format!(
        "{error}; it holds until the daemon ends, and is not written down"
    ))
}
