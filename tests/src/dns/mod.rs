//! The DNS of a testbed: a real server (unbound) that knows its relays' domains and what tests add,
//! and says of everything else that it does not exist. No question leaves the machine.
//!
//! [`Dns`] changes records while the relays run:
//!
//! ```no_run
//! use testbed::dns::{Data, Dns, Failure};
//!
//! # fn example(dns: &Dns) -> anyhow::Result<()> {
//! dns.set("peer.test", 60, &[Data::Mx(10, "mail.peer.test".into())])?;
//! dns.set("key._domainkey.peer.test", 1, &[Data::txt("v=DKIM1; p=")])?;
//! dns.fail("peer.test", Failure::Timeout)?;
//! dns.recover("peer.test")?;
//! # Ok(())
//! # }
//! ```
//!
//! From the start there are `nullmx.test` (takes no mail, RFC 7505), `nomx.test` (an address and no
//! MX), [`SERVFAIL`] and [`TIMEOUT`], and below them whatever name one likes.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

mod question;
mod server;
mod zone;

pub use server::DnsServer;
pub use zone::{Data, Failure, Zone};

use crate::host::network::Network;
use crate::target::Process;
use crate::template::render;

/// A domain that the server cannot answer for.
pub const SERVFAIL: &str = "servfail.test";

/// A domain that the server is silent about.
pub const TIMEOUT: &str = "timeout.test";

const UNBOUND_CONF: &str = include_str!("../../config/unbound/unbound.conf");

/// How long the server may take to see a change; it needs less than a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one question waits for its answer.
const ANSWER: Duration = Duration::from_millis(500);

/// How long after a signal that seems to have had no effect it is sent again.
const SIGNAL_AGAIN: Duration = Duration::from_secs(2);

/// The DNS of a running testbed. All its relays share it, and clones are the same server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Where it answers, over UDP and TCP.
    pub server: SocketAddr,
    /// Where that address is.
    #[serde(default)]
    pub network: Network,
    /// Its process.
    pub process: Process,
    folder: PathBuf,
}

impl Dns {
    /// Its address.
    ///
    /// # Errors
    /// It is none of IPv4.
    pub fn ipv4(&self) -> anyhow::Result<Ipv4Addr> {
        match self.server.ip() {
            IpAddr::V4(ip) => Ok(ip),
            IpAddr::V6(ip) => anyhow::bail!("the DNS is at {ip}"),
        }
    }

    /// Replaces all records of a name that are of the same kind as `data`. `ttl` is in seconds.
    /// Returns when the server answers with them.
    ///
    /// # Errors
    /// The name or a record is not what a zone file can hold, `data` is empty or of several kinds,
    /// or the server does not see the change.
    pub fn set(&self, name: &str, ttl: u32, data: &[Data]) -> anyhow::Result<()> {
        self.change(|zone| zone.set(name, ttl, data))
    }

    /// Removes all records of a name.
    ///
    /// # Errors
    /// The server does not see the change.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.change(|zone| {
            zone.remove(name);
            Ok(())
        })
    }

    /// Lets all questions about a domain and names below it fail. Its records are kept.
    ///
    /// # Errors
    /// The name is none, or the server does not see the change.
    pub fn fail(&self, domain: &str, failure: Failure) -> anyhow::Result<()> {
        self.change(|zone| zone.fail(domain, failure))
    }

    /// Ends what [`Dns::fail`] began.
    ///
    /// # Errors
    /// The server does not see the change.
    pub fn recover(&self, domain: &str) -> anyhow::Result<()> {
        self.change(|zone| {
            zone.recover(domain);
            Ok(())
        })
    }

    /// Makes several changes at once.
    ///
    /// # Errors
    /// `edit` fails, and nothing is changed; or the server does not see the change.
    pub fn change(&self, edit: impl FnOnce(&mut Zone) -> anyhow::Result<()>) -> anyhow::Result<()> {
        // Tests of several processes may share a testbed.
        let lock = File::create(self.folder.join("lock")).context("the lock of the DNS")?;
        lock.lock()?;
        let mut zone: Zone = serde_json::from_slice(&fs::read(self.zone_file())?)?;
        edit(&mut zone)?;
        zone.renew();
        self.write(&zone)?;
        self.reload(zone.generation())
    }

    /// Sends a signal to the server: one that is stopped (`SIGSTOP`) answers nobody.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.process.pid()?);
        kill(pid, signal).with_context(|| format!("sending {signal} to the DNS server"))
    }

    fn write(&self, zone: &Zone) -> anyhow::Result<()> {
        // On a LAN there is nobody but those who may ask.
        let clients = match self.server.ip().is_loopback() {
            true => "127.0.0.0/8",
            false => "0.0.0.0/0",
        };
        let values = [
            ("ip", self.server.ip().to_string().into()),
            ("clients", clients.into()),
            ("folder", self.folder.display().to_string().into()),
            ("silent", zone.failing(Failure::Timeout).into()),
            ("broken", zone.failing(Failure::ServFail).into()),
        ];
        let write = |path: &Path, text: &[u8]| {
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))
        };
        write(
            &self.unbound_conf(),
            render(UNBOUND_CONF, &values)?.as_bytes(),
        )?;
        write(
            &self.folder.join("records.zone"),
            zone.records()?.as_bytes(),
        )?;
        write(&self.zone_file(), &serde_json::to_vec(zone)?)
    }

    fn reload(&self, generation: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // It may be about to be started again by its supervisor, and has no process then.
            let signalled = self.signal(Signal::SIGHUP);
            let again = Instant::now() + SIGNAL_AGAIN;
            while Instant::now() < again {
                if self.generation()? == Some(generation) {
                    return Ok(());
                }
                if signalled.is_err() {
                    break;
                }
            }
        }
        anyhow::bail!(
            "the DNS server at {} does not see a change; see {}",
            self.server,
            self.log().display()
        )
    }

    /// The generation that the server has read, `None` when it does not answer.
    fn generation(&self) -> anyhow::Result<Option<u64>> {
        let asked = || question::generation(self.server, ANSWER);
        Ok(self.network.enter(asked)??)
    }

    /// Waits until the server answers with what was written last.
    fn wait_for(&self, generation: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.generation()? != Some(generation) {
            ensure!(
                Instant::now() < deadline,
                "the DNS server at {} does not answer after {} seconds; see {}",
                self.server,
                PATIENCE.as_secs(),
                self.log().display()
            );
        }
        Ok(())
    }

    /// All that [`Zone`] knows, as JSON; unbound does not read it.
    fn zone_file(&self) -> PathBuf {
        self.folder.join("zone.json")
    }

    fn unbound_conf(&self) -> PathBuf {
        self.folder.join("unbound.conf")
    }

    fn empty_zone(&self) -> PathBuf {
        self.folder.join("empty.zone")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("unbound.log")
    }
}
