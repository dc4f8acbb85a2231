//! The operator's commands: the real binary, asked by itself. DNS, `postqueue` and peers are stand-ins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    missing_docs,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

mod block_list;
mod bridge;
mod commands;
#[path = "../../../filtermail/tests/common/dns.rs"]
#[allow(dead_code, reason = "each program uses a part of it")]
mod dns;
mod figures;
mod probe;
mod socket;
