//! The Debian package of the suite: no code, but what turns the binaries into services of a machine.
//!
//! One package for all of it. The daemons come from one workspace and speak protocols with each other that
//! nobody else does: parts of different versions side by side would be a combination that no test has seen,
//! and an upgrade that moves them one by one would pass through several.
//!
//! - `systemd/` - the units. Sockets belong to systemd: a daemon that is restarted leaves those who connect
//!   waiting, not refused. Nothing starts before there is an `/etc/chatmail/chatmail.ini`.
//! - `systemd-generators/` - what units get by what `chatmail.ini` says: a network for expiry-cron, if the database is
//!   over the network.
//! - `sysusers.conf`, `tmpfiles.conf` - users and folders. What is there already, as on a classic relay,
//!   stays as it is.
//! - `debian/` - the maintainer scripts. An upgrade restarts the daemons that run, and keeps the sockets. A
//!   removal stops them; a purge takes away what they know of peers, and the small tables (blocks, invites,
//!   tombstones), but neither mail, accounts, DKIM keys nor the configuration.
//!
//! `cargo testbed package` builds it.
