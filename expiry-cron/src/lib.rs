//! The nightly job of a chatmail relay: old and large mail goes, unused accounts go, full mailboxes get
//! room; and a report of what is stored.
//!
//! It works on the directory of all mailboxes (`mailboxes_dir`) while Dovecot and doveauth do, as the user
//! that they run as.
//!
//! - [`rules`]: what goes and what stays
//! - [`run`]: goes through all mailboxes; [`last_run`]: whether the clock can be believed
//! - [`quota`]: makes room in one mailbox, for Dovecot
//! - [`report`]: tells what is stored
//! - [`units`]: whether systemd gives it a network
//! - [`mailboxes`], [`mailbox`]: the walk; [`directory`]: directories by their descriptors
//! - [`trim`]: the oldest messages of a mailbox; [`removal`]: all of a mailbox; [`account`]: whose it is

pub mod account;
pub mod directory;
pub mod last_run;
pub mod mailbox;
pub mod mailboxes;
pub mod narrator;
pub mod progress;
pub mod quota;
pub mod removal;
pub mod report;
pub mod rules;
pub mod run;
pub mod stamp;
pub mod time;
pub mod trim;
pub mod units;
