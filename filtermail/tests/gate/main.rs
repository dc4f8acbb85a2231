//! The gate on whole messages: real ones by rPGP, tricks, and random damage.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod data;
mod message;
mod properties;
mod real_messages;
mod rules;
mod tricks;
mod tricks_with_mime;
mod tricks_with_packets;
mod tricks_with_session_keys;
