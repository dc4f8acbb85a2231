//! What every daemon of chatmail-suite shares.
//!
//! - [`address`] - mail addresses, parsed once at the edge
//! - [`cli`] - `--config` and `check-config`
//! - [`config`] - `chatmail.ini`
//! - [`lifecycle`] - readiness, signals, exit statuses
//! - [`listen`] - listening sockets
//! - [`metrics`] - OpenMetrics over HTTP
//! - [`reply`] - SMTP replies as values
//! - [`telemetry`] - log lines

pub mod address;
pub mod cli;
pub mod config;
pub mod lifecycle;
pub mod listen;
pub mod metrics;
pub mod reply;
pub mod telemetry;

pub use address::{Address, AddressError, Domain, LocalPart};
pub use config::Config;
pub use reply::Reply;
