//! The server process, from the supervisor's side.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Context as _;

use super::{Data, Dns, Failure, SERVFAIL, TIMEOUT, Zone};
use crate::host::addresses::LoopbackAddress;
use crate::host::network::Network;
use crate::supervisor::{Program, Stage};
use crate::target::Process;

/// Run as a copy: Debian's AppArmor profile lets a program at this path read its own configuration
/// folder only.
const PROGRAM: &str = "/usr/sbin/unbound";

/// The user that Debian's package makes.
const USER: &str = "unbound";

/// Port 53.
const PORT: u16 = 53;

/// A record of a testbed does not change by itself.
const TTL: u32 = 60;

/// The DNS server of a testbed that is about to run, or runs.
#[derive(Debug)]
pub struct DnsServer {
    dns: Dns,
    zone: Zone,
    // Ours as long as this lives. On a network of our own all addresses are.
    _address: Option<LoopbackAddress>,
}

impl DnsServer {
    /// Takes an address. Nothing is written yet.
    ///
    /// # Errors
    /// No address is free on port 53.
    pub fn plan(folder: PathBuf) -> anyhow::Result<Self> {
        let address = LoopbackAddress::take(&[PORT])?;
        let planned = Self::plan_at(address.ip(), Network::default(), folder)?;
        Ok(Self {
            _address: Some(address),
            ..planned
        })
    }

    /// A server at an address of a network that nobody else uses. Nothing is written yet.
    ///
    /// # Errors
    /// None is known.
    pub fn plan_at(ip: Ipv4Addr, network: Network, folder: PathBuf) -> anyhow::Result<Self> {
        let dns = Dns {
            server: (ip, PORT).into(),
            network,
            process: Process {
                pidfile: folder.join("unbound.pid"),
                tree: false,
            },
            folder,
        };
        let mut zone = Zone::default();
        zone.set("nullmx.test", TTL, &[Data::Mx(0, String::new())])?;
        // Nobody listens there on a mail port.
        zone.set("nomx.test", TTL, &[Data::A(ip)])?;
        zone.fail(SERVFAIL, Failure::ServFail)?;
        zone.fail(TIMEOUT, Failure::Timeout)?;
        Ok(Self {
            dns,
            zone,
            _address: None,
        })
    }

    /// The server, for those who ask it and those who change records.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Adds a domain that takes mail at this address.
    ///
    /// # Errors
    /// It is no name.
    pub fn add_relay(&mut self, domain: &str, ip: Ipv4Addr) -> anyhow::Result<()> {
        self.zone.set(domain, TTL, &[Data::Mx(10, domain.into())])?;
        self.zone.set(domain, TTL, &[Data::A(ip)])
    }

    /// Adds a domain with several hosts, each of which takes mail and has a name and an address.
    ///
    /// # Errors
    /// It or one of them is no name.
    pub fn add_relay_of(&mut self, domain: &str, hosts: &[(&str, Ipv4Addr)]) -> anyhow::Result<()> {
        for (host, ip) in hosts {
            self.zone.set(host, TTL, &[Data::A(*ip)])?;
        }
        let exchangers: Vec<_> = hosts
            .iter()
            .map(|(host, _)| Data::Mx(10, (*host).into()))
            .collect();
        let addresses: Vec<_> = hosts.iter().map(|(_, ip)| Data::A(*ip)).collect();
        self.zone.set(domain, TTL, &exchangers)?;
        self.zone.set(domain, TTL, &addresses)
    }

    /// Adds a TXT record as a line of a zone file.
    ///
    /// # Errors
    /// As [`Zone::set_line`].
    pub fn add_line(&mut self, line: &str) -> anyhow::Result<()> {
        self.zone.set_line(line)
    }

    /// Makes the server's folder and writes its configuration.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn configure(&self) -> anyhow::Result<()> {
        let folder = &self.dns.folder;
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        fs::write(self.dns.empty_zone(), "; A zone without anything.\n")?;
        fs::copy(PROGRAM, self.dns.folder.join("unbound"))
            .with_context(|| format!("copying {PROGRAM}"))?;
        self.dns.write(&self.zone)
    }

    /// unbound in the foreground.
    pub fn program(&self) -> Program {
        Program {
            name: "unbound",
            stage: Stage::Daemons,
            command: vec![
                self.dns.folder.join("unbound").into(),
                "-d".into(),
                "-c".into(),
                self.dns.unbound_conf().into(),
            ],
            user: Some(USER),
            low_ports: true,
            network: Network::Own,
            environment: Vec::new(),
            sockets: Vec::new(),
            log: self.dns.log(),
            pidfile: Some(self.dns.process.pidfile.clone()),
            restart: true,
        }
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let (dns, generation) = (self.dns.clone(), self.zone.generation());
        tokio::task::spawn_blocking(move || dns.wait_for(generation)).await?
    }

    /// Waits until it answers, on this thread.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait(&self) -> anyhow::Result<()> {
        self.dns.wait_for(self.zone.generation())
    }
}
