//! What every daemon of chatmail-suite shares.
//!
//! - [`address`]: mail addresses, parsed once at the edge
//! - [`config`]: `chatmail.ini`
//! - [`reply`]: SMTP replies as values

pub mod address;
pub mod config;
pub mod reply;

pub use address::{Address, AddressError, Domain, LocalPart};
pub use config::Config;
pub use reply::Reply;
