//! Whole chatmail relays on loopback: real Postfix, real Dovecot, our daemons, real clients.
//!
//! - [`ansible`]: the program that runs the playbook
//! - [`app_login`]: how a Delta Chat app gets an account
//! - [`authority`]: who signs the relays' certificates
//! - [`bench`]: measurements of whole relays
//! - [`binaries`]: building and finding what a relay runs
//! - [`browser`]: a headless Chromium
//! - [`cargo_test`]: running every test
//! - [`cli`]: the command line
//! - [`client`]: SMTP and IMAP clients
//! - [`cluster`]: one relay on several machines
//! - [`deltachat`]: real Delta Chat clients
//! - [`demo`]: the main job of a relay, shown to a newcomer
//! - [`dns`]: the DNS that relays ask, and tests change
//! - [`foreign`]: domains without a relay, whose mail we sign
//! - [`host`]: what is needed from the machine
//! - [`iroh_relay`]: getting the server of realtime data
//! - [`machine`]: whole Debian machines, for what needs systemd
//! - [`mail`]: messages as chat clients send them, and what can be wrong with them
//! - [`measured_run`]: time and memory of a program
//! - [`notifications`]: the server of push notifications, played
//! - [`null_milter`]: the least that a milter costs
//! - [`package`]: the Debian package
//! - [`patched_dovecot`]: Debian's Dovecot with our patch
//! - [`peers`]: other implementations, played
//! - [`relay`]: a private Postfix, Dovecot and our daemons
//! - [`supervisor`]: running them
//! - [`target`]: the address card of a running relay
//! - [`template`]: configuration files with gaps
//! - [`test_relay`]: a relay for a test
//! - [`up`]: relays that run until somebody says stop
//! - [`usual_ports`]: the ports of a public relay

pub mod ansible;
pub mod app_login;
pub mod authority;
pub mod bench;
pub mod binaries;
pub mod browser;
pub mod cargo_test;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod deltachat;
pub mod demo;
pub mod dns;
pub mod foreign;
pub mod host;
pub mod iroh_relay;
pub mod machine;
pub mod mail;
pub mod measured_run;
pub mod notifications;
pub mod null_milter;
pub mod package;
pub mod patched_dovecot;
pub mod peers;
pub mod relay;
pub mod supervisor;
pub mod target;
pub mod template;
pub mod test_relay;
pub mod up;
pub mod usual_ports;

pub use relay::{DomainKind, PLAIN_PASSWORD, RelayKind, RelayOptions, Variant};
pub use target::{Endpoint, Limits, Process, Target};
pub use test_relay::TestRelay;
