//! What the fuzz targets share.
//!
//! A target states a law, not only that nothing panics. The laws need messages around the octets
//! that a fuzzer makes ([`message`]), ways to cut them ([`pieces`]), a description of packets that
//! a fuzzer can mutate without breaking every length in it ([`recipe`]), and readers that share no
//! code with what they are compared to ([`packets`], [`rpgp`]).
//!
//! The octets of an input are the input: a message, a header value, a stream. What else a target
//! needs, such as where to cut, follows from them. So whatever a fuzzer finds can be kept as a seed,
//! and whatever is in a file can be tried.

#![forbid(unsafe_code)]
#![allow(
    clippy::missing_panics_doc,
    reason = "a fuzz target reports what it finds by a panic"
)]

pub mod message;
pub mod noise;
pub mod packets;
pub mod pieces;
pub mod ready;
pub mod recipe;
pub mod rpgp;
