//! Whole relays, as their users and operators meet them: real Postfix and Dovecot, our daemons as
//! release binaries, real sockets.
//!
//! One test binary, so that the tests share a relay where they can and build once. It needs root,
//! the Debian packages and the release binaries: `cargo testbed test` sees to all of it.

mod accounts;
mod accounts_command;
mod announcements;
mod bad_input;
mod blocks;
mod broken_store;
mod calls;
mod cluster;
mod cluster_failures;
mod cluster_moves;
mod cluster_sessions;
mod command_line;
mod corpus;
mod delta_chat;
mod dkim;
mod dkim_keys;
mod expiry;
mod faults;
mod federation;
mod fixture;
mod gate;
mod headers;
mod identity;
mod incoming;
mod kills;
mod line_endings;
mod message_size;
mod metadata;
mod mxdeliv;
mod mxdeliv_fallback;
mod mxdeliv_faults;
mod mxdeliv_hostile;
mod mxdeliv_http2;
mod mxdeliv_peers;
mod mxdeliv_reports;
mod new_account;
mod operator;
mod profile_links;
mod push;
mod rate_limits;
mod realtime;
mod recipients;
mod registration;
mod smuggling;
mod testbed_command;
mod testbed_dns;
mod traffic;
mod undeliverable;
mod units;
mod ways;
mod web_browser;
mod web_pages;
