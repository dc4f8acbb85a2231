//! What every daemon of chatmail-suite shares.
//!
//! - [`accounts`] - the account store, and who may register
//! - [`address`] - mail addresses, parsed once at the edge
//! - [`blocks`] - who may not send to us
//! - [`cli`] - `--config` and `check-config`
//! - [`config`] - `chatmail.ini`
//! - [`database`] - the file of the small tables
//! - [`dict`] - Dovecot's dict protocol
//! - [`dns`] - who takes a domain's mail, and where hosts are
//! - [`documents`] - manual pages and shell completions
//! - [`invites`] - who may make an account on a relay that is not open
//! - [`lifecycle`] - readiness, signals, exit statuses
//! - [`listen`] - listening sockets
//! - [`log_limit`] - one log line for a flood of them
//! - [`metrics`] - OpenMetrics over HTTP
//! - [`pace`] - when reads of small files go to threads of their own
//! - [`policy`] - what the daemons may know of an account
//! - [`postgres`] - accounts and small tables of a relay of several hosts
//! - [`qr_code`] - QR codes for a terminal
//! - [`random`] - random texts that people may have to type
//! - [`registration`] - whether accounts can be made
//! - [`reply`] - SMTP replies as values
//! - [`smtp`] - SMTP and LMTP as octets
//! - [`telemetry`] - log lines
//! - [`tombstones`] - addresses of deleted accounts

pub mod accounts;
pub mod address;
pub mod blocks;
pub mod cli;
pub mod config;
pub mod database;
pub mod dict;
pub mod dns;
pub mod documents;
pub mod invites;
pub mod lifecycle;
pub mod listen;
pub mod log_limit;
pub mod metrics;
pub mod pace;
pub mod policy;
pub mod postgres;
pub mod qr_code;
pub mod random;
pub mod registration;
pub mod reply;
pub mod smtp;
pub mod telemetry;
pub mod tls;
pub mod tombstones;

pub use address::{Address, AddressError, Domain, LocalPart};
pub use config::Config;
pub use reply::Reply;
