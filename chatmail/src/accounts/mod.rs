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
//! While an account is being deleted its password file has other names; see [`deletion`].
//!
//! A blocked account has `{BLOCKED}` in front of what its `password` file held: nobody can log in to it, and
//! it neither gets nor sends mail. No server knows such a password scheme, so that classic relays let nobody
//! in either; and since the file is there, no first login makes the account anew.
//!
//! - [`Store`]: the files
//! - [`AccountService`]: logins, and the rules by which a first login creates an account
//! - [`Operator`]: what operators do with accounts
//! - [`NetworkRate`]: how many accounts the clients of one network may make

pub mod deletion;
mod hash;
mod host;
mod network_rate;
mod operator;
mod quota;
mod rules;
mod service;
mod store;
mod suggestion;

/// Marks an account: holds its hash, and the day of its last login as modification time.
pub const PASSWORD_FILE: &str = "password";

/// Dovecot's count of what is in the mailbox. Dovecot counts anew when it is not there.
pub const QUOTA_FILE: &str = "maildirsize";

pub use hash::{HashError, PasswordHash};
pub use host::{Host, HostError, HostLimits};
pub use network_rate::NetworkRate;
pub use operator::{Operator, OperatorError};
pub use rules::{NewAccountRules, Refusal};
pub use service::{AccountService, Found, Login, LoginError, LoginOutcome};
pub use store::{Account, AccountRecord, Change, Details, Store, StoreError};
pub use suggestion::Suggestion;

#[cfg(test)]
mod tests;
