//! DKIM: verification, keys from DNS, our own signatures, and the commands for operators.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod command;
#[path = "../common/dns.rs"]
#[allow(dead_code, reason = "each program uses a part of it")]
mod dns;
mod fixture;
mod forge;
mod keys_in_dns;
mod message;
#[allow(dead_code, reason = "the benchmark uses the rest")]
mod oracle;
mod rfc8463;
mod signing;
mod verification;
