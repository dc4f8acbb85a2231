//! Whole Debian machines with systemd, as relays are installed on: that they are what they seem, and leave nothing.
//!
//! It needs root and some Debian packages: `cargo testbed test` sees to it. The first run makes an image.

mod boots;
mod classic;
mod drop_in;
mod hosts;
mod linted;
mod migration;
mod network;
mod operator;
mod package;
mod package_cache;
mod packages;
mod patched;
mod people;
mod provision;
mod relays;
mod releases;
mod runs;
mod sandbox;
mod switching;
mod trixie;
