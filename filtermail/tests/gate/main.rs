//! The gate on whole messages: real ones by rPGP, tricks, and random damage.

mod data;
mod message;
mod properties;
mod real_messages;
mod rules;
