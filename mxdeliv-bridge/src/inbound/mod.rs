//! What peers post.
//!
//! nginx has TLS and hands requests over. A message passes the same rules as on port 25, in the same code
//! (`filtermail::incoming`), piece by piece as it comes; Dovecot gets it by LMTP before the peer gets its
//! 200. What stands in for the queue that is not there:
//! - `clients`, `content`: limits for each client, and memory for all messages together
//! - `duplicates`: peers that have not heard our answer send again
//! - `delivery`, `returns`: recipients that fail when others do not

mod answer;
mod client_header;
mod clients;
mod connection;
mod content;
mod delivery;
mod delivery_headers;
mod door;
mod duplicates;
mod envelope;
mod metrics;
mod returns;
mod server;

use std::sync::Arc;

use chatmail::Config;
use chatmail::dns::Dns;
use chatmail::log_limit::LogLimit;
use filtermail::dkim::{KeyCache, KeyCacheError};
use filtermail::incoming::Policy;
use filtermail::metrics::{Door as MetricsDoor, Metrics as RuleMetrics};
use prometheus_client::registry::Registry;

use crate::budget::Budget;
use crate::daemon::{Serving, StartError, Stop};
use crate::new_account;
use crate::outbound::lmtp;
use crate::statistics::Statistics;
pub(crate) use client_header::ClientHeader;
use clients::Clients;
use delivery::Delivery;
use door::{Door, UnderWay};
use duplicates::Duplicates;
use metrics::Metrics;
use returns::Returns;
use server::{SOCKET_MODE, Socket};

/// What a message may take beyond `max_message_size`, in octets.
const SPARE: u64 = 4096;

/// Binds the socket for nginx and the one for mail that comes back from Postfix.
///
/// # Errors
/// One of them cannot be listened on, or `mxdeliv_client_header` names no header field.
pub fn bind(
    config: &Config,
    keys: KeyCache,
    statistics: &Statistics,
    registry: &mut Registry,
    stop: &Stop,
) -> Result<Vec<Serving>, StartError> {
    let size_max = config.max_message_size.bytes();
    // A message of the largest size must fit, with the line end that may be added.
    let memory = config.mxdeliv_memory.bytes().max(size_max + SPARE);
    let budget = Budget::new(memory);
    let metrics = Metrics::default();
    metrics.register(&budget, registry);
    let rule_metrics = RuleMetrics::default();
    rule_metrics.register(registry);

    let http = Socket::bind(&config.mxdeliv_listen)?;
    tracing::info!("POST /mxdeliv: {}", config.mxdeliv_listen);
    let returned = chatmail::listen::unix(&config.mxdeliv_return_socket, SOCKET_MODE);
    let returned = returned.map_err(StartError::bind(config.mxdeliv_return_socket.display()))?;
    tracing::info!(
        "mail that comes back: {}",
        config.mxdeliv_return_socket.display()
    );

    let returns = Returns {
        policy: Arc::new(Policy::new(
            config,
            keys.clone(),
            rule_metrics.at(MetricsDoor::Return),
        )),
        budget: budget.clone(),
        dovecot: delivery::dovecot(config),
        complaints: LogLimit::new(),
    };
    let dns = Dns::new(config).map_err(KeyCacheError::from)?;
    let policy = Policy::new(config, keys, rule_metrics.at(MetricsDoor::Mxdeliv))
        .accept_unsigned(config.mxdeliv_accept_unsigned, dns);
    let under_way = UnderWay::default();
    let door = Door {
        policy: Arc::new(policy),
        clients: Arc::new(Clients::new(config, (memory / 2).max(size_max + SPARE))),
        budget,
        delivery: Arc::new(Delivery::new(config, metrics.clone())),
        duplicates: Duplicates::default(),
        statistics: statistics.clone(),
        metrics,
        client_header: ClientHeader::from_config(config)?,
        size_max,
        under_way: under_way.clone(),
    };
    let router = new_account::router(config, registry)?.merge(Arc::new(door).router());
    let returns = Arc::new(returns);
    let (stop_http, stop_returns) = (stop.clone(), stop.clone());
    Ok(vec![
        Box::pin(async move {
            server::serve(http, router, stop_http).await;
            under_way.none().await;
        }),
        Box::pin(lmtp::serve(
            "mail that comes back",
            returned,
            returns,
            size_max,
            stop_returns,
        )),
    ])
}
