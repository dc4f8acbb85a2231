//! The gate on whole messages: real ones by rPGP, the corpus, and random damage.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod corpus_messages;
mod message;
mod properties;
mod real_messages;
mod rules;
