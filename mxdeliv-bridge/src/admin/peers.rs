//! `peers`: which way mail for each peer goes, and how it fares.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use chatmail::Domain;
use serde::{Deserialize, Serialize};

use super::Context;
use super::answers::Answers;
use super::protocol::Failure;
use crate::queue::{self, Summary};
use crate::routes::{PeerState, PeerView};
use crate::statistics::{PeerFigures, Transport, WayFigures};

/// A peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerRow {
    /// Its domain.
    pub domain: String,
    /// Which way mail for it goes.
    pub path: PathInUse,
    /// The last message from it or for it, in seconds since 1970; none, when that is not known.
    pub last_contact: Option<i64>,
    /// How many messages for it wait in Postfix's queue; none, when Postfix does not say.
    pub queued: Option<u64>,
    /// How mail has fared, by direction and transport.
    pub ways: Vec<WayFigures>,
}

/// Which way mail for a peer goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathInUse {
    /// What Postfix is told.
    pub transport: Transport,
    /// Where it is posted, if it is.
    pub endpoint: Option<String>,
    /// What the operator has decided: `smtp` or a URL.
    pub decided: Option<String>,
    /// What is known of the endpoint: `unknown`, `speaks`, `silent` or `failing`.
    pub state: String,
    /// Since when, in seconds since 1970.
    pub since: Option<i64>,
    /// When it is tried again, in seconds since 1970, if that is to be waited for.
    pub next_try: Option<i64>,
}

/// Sends all peers in the order of their names, or one.
pub(super) async fn answer(
    context: &Context,
    domain: Option<String>,
    answers: &mut Answers,
) -> Result<(), Failure> {
    let only = domain.as_deref().map(parse_domain).transpose()?;
    // Without Postfix's answer the rest is worth showing.
    let queue = queue::ask(&context.config.postfix_config_dir).await.ok();
    let views = match &only {
        Some(domain) => vec![context.routes.peer(domain)],
        None => context.routes.peers(),
    };
    let mut views: BTreeMap<String, PeerView> = views
        .into_iter()
        .map(|view| (view.domain.to_string(), view))
        .collect();
    let mut peers = context.statistics.peers(only);
    while let Some(figures) = peers.recv().await {
        let figures = figures.map_err(Failure::failed)?;
        // What routes know of and statistics do not comes where its name belongs.
        let later = views.split_off(&figures.domain);
        for view in std::mem::replace(&mut views, later).into_values() {
            answers.row(&row(view, None, queue.as_ref())).await?;
        }
        let Some(view) = views.remove(&figures.domain).or_else(|| {
            let domain = figures.domain.parse().ok()?;
            Some(context.routes.peer(&domain))
        }) else {
            continue;
        };
        let row = row(view, Some(figures), queue.as_ref());
        answers.row(&row).await?;
    }
    for view in views.into_values() {
        answers.row(&row(view, None, queue.as_ref())).await?;
    }
    Ok(())
}

/// A domain as an operator writes it; an address may stand without brackets.
pub(super) fn parse_domain(text: &str) -> Result<Domain, Failure> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Domain::literal(address));
    }
    text.parse().map_err(Failure::usage)
}

fn row(view: PeerView, figures: Option<PeerFigures>, queue: Option<&Summary>) -> PeerRow {
    let domain = view.domain.to_string();
    let queued = queue.map(|queue| queue.messages(&domain));
    let (last_contact, ways) = match figures {
        Some(figures) => (Some(figures.last_contact), figures.ways),
        None => (None, Vec::new()),
    };
    PeerRow {
        path: path(view),
        domain,
        last_contact,
        queued,
        ways,
    }
}

fn path(view: PeerView) -> PathInUse {
    let state = match view.state {
        PeerState::Unknown => "unknown",
        PeerState::Speaks => "speaks",
        PeerState::Silent => "silent",
        PeerState::Failing => "failing",
    };
    PathInUse {
        transport: view.transport,
        endpoint: view.endpoint.map(|endpoint| endpoint.to_string()),
        decided: view.decided.map(|decided| decided.to_string()),
        state: state.to_owned(),
        since: view.since.map(seconds),
        next_try: view.next_try.map(seconds),
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
