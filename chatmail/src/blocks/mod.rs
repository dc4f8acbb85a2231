//! The relay's block list: who may not send to its accounts.
//!
//! An [`Entry`] names an address, a domain or a network. Mail is refused when the list names
//!
//! - its sender: the address itself, with its `+tag` or without;
//! - the domain of its sender: exactly that one, not those below it (`spam.example` does not block
//!   `mail.spam.example`, which may belong to somebody else; both can be on the list);
//! - a network that holds the client, or the sender's address literal (`user@[192.0.2.1]`).
//!
//! An account of the relay itself is blocked when the list names its *address*: it neither gets nor
//! sends mail, but can still log in. That the relay's own domain is on the list blocks none of its
//! accounts, only mail from outside in their name.
//!
//! The list is a table in the file at `database_path`; one that is not there is an empty list.
//!
//! - [`BlockTable`]: the table, for those who change it
//! - [`BlockList`]: all of it in memory
//! - [`LiveBlockList`]: the same, always as the table is now
//! - [`remote`]: the table over a socket of doveauth's, for those who may not touch the file
//! - [`arguments`]: what the command lines that show and change the list have in common

pub mod arguments;
mod entry;
mod list;
mod live;
mod network;
mod ranges;
pub mod remote;
mod table;

pub use entry::{Entry, EntryError, NOTE_MAX, Note, NoteError};
pub use list::{BlockList, Counts};
pub use live::{LiveBlockList, Observer, Outcome};
pub use network::{Network, NetworkError};
pub use table::{Addition, BlockTable, BlocksError, ENTRIES_MAX, Listed};
