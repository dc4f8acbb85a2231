//! Invites: who may make an account on a relay with `registration = invite`.
//!
//! An invite is a random [`Token`] that is good for some accounts, until a time. It is given to people as
//! `https://DOMAIN/new?t=TOKEN`, and redeemed by the first login with a password that begins with it:
//!
//! ```text
//! PASSWORD = TOKEN "-" SECRET
//! ```
//!
//! The whole of it is the account's password, then and later; `SECRET` must by itself be as long as a
//! password has to be, since everybody who has the invite knows the rest. `/new?t=TOKEN` hands out such a
//! password. So both ways are one, nothing about a person is kept between the page and the first login,
//! and a page that is opened and not used costs nobody a use.
//!
//! Which account came by which invite is not kept.
//!
//! - [`Token`]: what people have; the table holds its SHA-256 only
//! - [`InviteTable`]: the invites; [`InviteTable::claim`] tells how a use is taken exactly once

mod claim;
mod table;
mod token;

pub(crate) use table::{judge, lifetime_end, seconds};

pub use claim::{Claim, Settled};
pub use table::{Invite, InviteTable, InvitesError, NewInvite};
pub use token::{InviteId, Token, TokenError};

/// Why an invite is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoGood {
    /// There is no such invite, or it was revoked.
    #[error("unknown invite")]
    Unknown,
    /// Its time is over.
    #[error("expired invite")]
    Expired,
    /// All its uses are taken.
    #[error("used up invite")]
    UsedUp,
}

#[cfg(test)]
mod tests;
