//! Accounts: who has one, how one comes to be, when it was last used.
//!
//! The store is the mailboxes directory itself, laid out as classic relays have it, so that a relay
//! can change from one software to the other and back:
//!
//! ```text
//! MAILBOXES/name@domain/password              {SHA512-CRYPT}$6$…, mtime: day of the last login
//! MAILBOXES/name@domain/enforceE2EEincoming   there: cleartext mail from outside is refused
//! MAILBOXES/name@domain/maildirsize           Dovecot's quota file
//! ```
//!
//! An account exists when its `password` file does. A mailbox directory without one is not an
//! account: the next login with its name creates the account and finds the mail that is there. A
//! `password` file without a usable hash is an account that takes mail and nobody can log in to.
//!
//! - [`Store`]: the files
//! - [`AccountService`]: logins, and the rules by which a first login creates an account

mod hash;
mod host;
mod quota;
mod rules;
mod service;
mod store;

pub use hash::{HashError, PasswordHash};
pub use host::{Host, HostError, HostLimits};
pub use rules::{NewAccountRules, Refusal};
pub use service::{AccountService, LoginError, LoginOutcome};
pub use store::{Account, Store, StoreError};

#[cfg(test)]
mod tests;
