//! What peers post, over real sockets. doveauth, Dovecot, Postfix and DNS are stand-ins that speak the
//! real protocols and do on demand what the real ones cannot be made to; the end-to-end tests of the
//! testbed have the real programs, and nginx.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test program: a failure is a panic, and its modules are its own"
)]

#[path = "../../../filtermail/tests/common/dns.rs"]
#[allow(dead_code, reason = "each program uses a part of it")]
mod dns;

mod bridge;
mod doveauth;
mod http;
mod mail_server;
mod message;

mod deliveries;
mod faults;
mod limits;
mod new_account;
mod origin;
mod returns;
mod statuses;
mod wire;
