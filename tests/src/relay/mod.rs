//! One relay: a private Postfix and Dovecot, and our daemons between them.

mod chatmail_ini;
mod coturn;
mod daemons;
mod dovecot;
mod iroh_relay;
mod layout;
mod nginx;
mod opendkim;
mod options;
mod postfix;
mod ready;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use chatmail::Config;

pub(crate) use dovecot::shipped;
pub use layout::Layout;
pub use options::{
    DomainKind, PLAIN_PASSWORD, RelayKind, RelayOptions, ServerSetting, Setting, Variant,
};

use crate::authority::{Authority, Certificate};
use crate::dns::{Dns, DnsServer};
use crate::host::addresses::{Port, RelayAddress};
use crate::host::network::Network;
use crate::supervisor::Program;
use crate::target::{Endpoint, Limits, Process, Target};

/// A relay that is about to run, or runs.
#[derive(Debug)]
pub struct Relay {
    name: String,
    layout: Layout,
    address: RelayAddress,
    options: RelayOptions,
    kind: RelayKind,
    host: Host,
    network: Network,
    dns: Dns,
    config: Config,
    chatmail_ini: String,
}

/// What a host has of a relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Host {
    /// All of it.
    #[default]
    Whole,
    /// What clients and other relays talk to, under this name, and no mailboxes.
    Front(String),
    /// Mailboxes, and nothing that clients or other relays could talk to; with the addresses of the fronts.
    Backend(Vec<Ipv4Addr>),
}

impl Host {
    /// Whether it is one of those that clients do not talk to.
    fn is_backend(&self) -> bool {
        matches!(self, Self::Backend(_))
    }
}

impl Relay {
    /// Takes an address and settles the configuration of relay `number` (from 1), which trusts this
    /// authority. Nothing is written yet.
    ///
    /// # Errors
    /// No address is free, or an option is not allowed.
    pub fn plan(
        name: String,
        folder: PathBuf,
        options: &RelayOptions,
        kind: RelayKind,
        number: usize,
        dns: &Dns,
        authority: &Authority,
    ) -> anyhow::Result<Self> {
        let address = RelayAddress::take()?;
        let domain = mail_domain(kind.domain, number, &address);
        let layout = Layout::new(folder);
        let own = (Host::Whole, address, Network::Own);
        Self::planned(name, layout, options, kind, domain, own, dns, authority)
    }

    /// Settles the configuration of a host of a relay that has several, each with an address on a network that
    /// nobody else uses. Nothing is written yet.
    ///
    /// # Errors
    /// An option is not allowed.
    pub fn plan_host(
        name: String,
        folder: PathBuf,
        options: &RelayOptions,
        (host, ip, network): (Host, Ipv4Addr, Network),
        dns: &Dns,
        authority: &Authority,
    ) -> anyhow::Result<Self> {
        let kind = options.kind;
        let address = RelayAddress::on_own_network(ip);
        let domain = mail_domain(kind.domain, 1, &address);
        let layout = Layout::new(folder);
        let own = (host, address, network);
        Self::planned(name, layout, options, kind, domain, own, dns, authority)
    }

    #[expect(clippy::too_many_arguments, reason = "all that a relay is made of")]
    fn planned(
        name: String,
        layout: Layout,
        options: &RelayOptions,
        kind: RelayKind,
        domain: String,
        (host, address, network): (Host, RelayAddress, Network),
        dns: &Dns,
        authority: &Authority,
    ) -> anyhow::Result<Self> {
        let (chatmail_ini, config) = chatmail_ini::compose(
            &layout,
            &address,
            domain,
            dns.server,
            authority.file(),
            has_calls(options, kind),
            &options.config,
        )?;
        Ok(Self {
            name,
            layout,
            address,
            options: options.clone(),
            kind,
            host,
            network,
            dns: dns.clone(),
            config,
            chatmail_ini,
        })
    }

    /// Tells the DNS what the others need to know of this relay, which was configured. One that is
    /// known by its address needs no DNS.
    ///
    /// # Errors
    /// Its domain is no name for the testbed's DNS, or filtermail does not tell its keys.
    pub fn publish(&self, dns: &mut DnsServer) -> anyhow::Result<()> {
        if self.config.mail_domain.ip().is_some() {
            return Ok(());
        }
        self.publish_keys(dns)?;
        dns.add_relay(&self.domain(), self.address.ip())
    }

    /// Tells the DNS what signatures are checked with.
    ///
    /// # Errors
    /// filtermail does not tell its keys.
    pub fn publish_keys(&self, dns: &mut DnsServer) -> anyhow::Result<()> {
        for record in daemons::dkim_records(self)?.lines() {
            dns.add_line(record)?;
        }
        Ok(())
    }

    /// Signs with the keys of another host, which was configured as this one was.
    ///
    /// # Errors
    /// A key cannot be copied.
    pub fn share_keys_of(&self, other: &Self) -> anyhow::Result<()> {
        for key in fs::read_dir(other.layout.dkim_keys())? {
            let key = key?;
            // Into the file that is there, which has the owner and the mode it needs.
            let to = self.layout.dkim_keys().join(key.file_name());
            fs::copy(key.path(), &to).with_context(|| format!("writing {}", to.display()))?;
        }
        Ok(())
    }

    /// The domain of its addresses.
    pub fn mail_domain(&self) -> &str {
        self.config.mail_domain.as_str()
    }

    /// Makes the relay's folders and writes its configuration.
    ///
    /// # Errors
    /// A file cannot be written, or something is not installed.
    pub fn configure(&self, authority: &Authority) -> anyhow::Result<()> {
        self.layout.create(&self.config.mailboxes_dir)?;
        self.certify(authority)?;
        daemons::configure(self)?;
        if self.host.is_backend() {
            return dovecot::configure(self, authority.file());
        }
        if self.options.variant == Variant::OpenDkim {
            opendkim::configure(self)?;
        }
        if self.has_bridge() {
            nginx::configure(self)?;
        }
        if self.has_calls() {
            coturn::configure(self)?;
            iroh_relay::configure(self)?;
        }
        dovecot::configure(self, authority.file())?;
        postfix::configure(self, authority.file())
    }

    fn certify(&self, authority: &Authority) -> anyhow::Result<()> {
        let named = self.config.mail_domain.ip().is_none();
        let host_name = match &self.host {
            Host::Front(name) => Some(name.clone()),
            Host::Whole | Host::Backend(_) => None,
        };
        let names = named
            .then(|| self.domain())
            .into_iter()
            .chain(host_name)
            .chain([self.address.ip().to_string()])
            .collect();
        // No public authority knows the other kinds of relays.
        let certificate = match (self.kind.certificate, self.kind.domain) {
            (Certificate::Right, DomainKind::Underscore | DomainKind::IpLiteral) => {
                Certificate::SelfSigned
            }
            (certificate, _) => certificate,
        };
        let layout = &self.layout;
        authority.write(certificate, names, &layout.certificate(), &layout.key())
    }

    /// What to run, in the order to start it.
    ///
    /// # Errors
    /// A program is not installed or not built.
    pub fn programs(&self) -> anyhow::Result<Vec<Program>> {
        let mut programs = daemons::programs(self)?;
        if self.options.variant == Variant::OpenDkim {
            programs.push(opendkim::program(self));
        }
        if self.has_bridge() {
            programs.push(nginx::program(self));
        }
        if self.has_calls() {
            programs.push(coturn::program(self));
            programs.push(iroh_relay::program(self));
        }
        if !self.host.is_backend() {
            programs.push(postfix::program(self)?);
        }
        programs.push(dovecot::program(self)?);
        Ok(programs)
    }

    /// Waits until every service of the relay answers.
    ///
    /// # Errors
    /// One of them does not in time; the message names it.
    pub async fn ready(&self) -> anyhow::Result<()> {
        ready::wait(self).await
    }

    /// The relay's address card.
    pub fn target(&self) -> Target {
        let endpoint = |port| Endpoint::from(self.socket(port));
        let process = |pidfile, tree| Process { pidfile, tree };
        let mut procs = BTreeMap::from([(
            "dovecot".to_owned(),
            process(self.layout.dovecot_base().join("master.pid"), true),
        )]);
        if !self.host.is_backend() {
            let pidfile = self.layout.queue().join("pid/master.pid");
            procs.insert("postfix".to_owned(), process(pidfile, true));
        }
        if self.has_bridge() {
            let pidfile = self.layout.pidfile(nginx::NAME);
            procs.insert(nginx::NAME.to_owned(), process(pidfile, true));
        }
        let daemons = daemons::of(self).iter();
        let daemons = daemons.map(|(name, _)| *name);
        let opendkim = (self.options.variant == Variant::OpenDkim).then_some(opendkim::NAME);
        let calls = self.has_calls().then_some([coturn::NAME, iroh_relay::NAME]);
        for name in daemons.chain(opendkim).chain(calls.into_iter().flatten()) {
            let pidfile = self.layout.pidfile(name);
            procs.insert(name.to_owned(), process(pidfile, false));
        }
        Target {
            name: self.name.clone(),
            domain: self.domain(),
            imap: endpoint(Port::Imaps),
            smtps: endpoint(Port::Smtps),
            submission: endpoint(Port::Submission),
            mx: endpoint(Port::Mx),
            https: self.has_bridge().then(|| endpoint(Port::Https)),
            limits: Limits {
                burst: self.config.max_user_send_burst_size.get(),
                per_minute: self.config.max_user_send_per_minute.get(),
                max_message_size: self.config.max_message_size.bytes(),
            },
            mailboxes_dir: self.config.mailboxes_dir.clone(),
            chatmail_ini: self.layout.chatmail_ini(),
            state_dir: self.layout.root().to_owned(),
            dns: Some(self.dns.clone()),
            network: match &self.network {
                Network::Own => None,
                namespace => Some(namespace.clone()),
            },
            procs,
        }
    }

    /// An address and password that an app can log in with; the account need not exist yet.
    pub fn new_account(&self) -> (String, String) {
        let shortest = self.config.username_min_length.get() as usize;
        let name = random_letters(shortest.clamp(1, 64));
        let password = match self.options.variant {
            Variant::Full => random_letters((self.config.password_min_length as usize).max(20)),
            _ => PLAIN_PASSWORD.to_owned(),
        };
        (format!("{name}@{}", self.domain()), password)
    }

    /// Whether it exchanges mail with peers over HTTPS.
    fn has_bridge(&self) -> bool {
        !self.host.is_backend() && has_bridge(&self.options, self.kind)
    }

    /// Whether it has servers for calls and realtime data.
    fn has_calls(&self) -> bool {
        !self.host.is_backend() && has_calls(&self.options, self.kind)
    }

    /// Where it listens for something. Fronts find a backend's services at the usual ports: what Dovecot is told of a
    /// backend is a host, and no port.
    fn socket(&self, port: Port) -> SocketAddr {
        let mut socket = self.address.socket(port);
        if self.host.is_backend() {
            match port {
                Port::Imap => socket.set_port(143),
                Port::Imaps => socket.set_port(993),
                _ => {}
            }
        }
        socket
    }

    fn domain(&self) -> String {
        self.config.mail_domain.as_str().to_owned()
    }
}

fn has_bridge(options: &RelayOptions, kind: RelayKind) -> bool {
    options.variant == Variant::Full && !kind.smtp_only
}

/// iroh-relay is behind nginx, which comes with the bridge.
fn has_calls(options: &RelayOptions, kind: RelayKind) -> bool {
    options.calls && has_bridge(options, kind)
}

fn mail_domain(kind: DomainKind, number: usize, address: &RelayAddress) -> String {
    let number = match number {
        1 => String::new(),
        _ => number.to_string(),
    };
    match kind {
        DomainKind::Name => format!("chat{number}.test"),
        DomainKind::Underscore => format!("_chat{number}.test"),
        DomainKind::IpLiteral => address.ip().to_string(),
    }
}

fn random_letters(count: usize) -> String {
    use rand::Rng as _;

    let mut random = rand::rng();
    (0..count).map(|_| random.random_range('a'..='z')).collect()
}
