//! What one `up` starts: a DNS server, an authority for certificates, and relays.

use std::path::Path;

use anyhow::ensure;

use crate::authority::Authority;
use crate::dns::DnsServer;
use crate::relay::{Relay, RelayOptions};
use crate::supervisor::Supervisor;
use crate::target::Target;

/// A testbed that is about to run, or runs.
pub(super) struct Testbed {
    dns: DnsServer,
    pub(super) relays: Vec<Relay>,
}

impl Testbed {
    /// Takes addresses and writes all configuration below `folder`. The first relay gets the
    /// testbed's name.
    ///
    /// # Errors
    /// An address or a file cannot be had, or an option is not allowed.
    pub(super) fn configure(
        name: &str,
        folder: &Path,
        options: &RelayOptions,
    ) -> anyhow::Result<Self> {
        let mail_domain = |setting: &crate::relay::Setting| setting.key == "mail_domain";
        ensure!(
            options.peers.is_empty() || !options.config.iter().any(mail_domain),
            "several relays cannot share one mail_domain"
        );
        let authority = Authority::new(folder)?;
        let mut dns = DnsServer::plan(folder.join("dns"))?;
        let mut relays = Vec::new();
        for (kind, number) in options.kinds().zip(1..) {
            let name = match number {
                1 => name.to_owned(),
                _ => format!("{name}-{number}"),
            };
            let folder = folder.join(number.to_string());
            let relay = Relay::plan(name, folder, options, kind, number, dns.dns(), &authority)?;
            relay.configure(&authority)?;
            relay.publish(&mut dns)?;
            relays.push(relay);
        }
        dns.configure()?;
        Ok(Self { dns, relays })
    }

    /// Starts everything and waits until it answers.
    ///
    /// # Errors
    /// A program cannot be started, or dies, or does not answer in time.
    pub(super) async fn start(&self, supervisor: &mut Supervisor) -> anyhow::Result<()> {
        supervisor.start(self.dns.program())?;
        for relay in &self.relays {
            for program in relay.programs()? {
                supervisor.start(program)?;
            }
        }
        let ready = async {
            self.dns.ready().await?;
            for relay in &self.relays {
                relay.ready().await?;
            }
            Ok(())
        };
        tokio::select! {
            ready = ready => ready,
            error = supervisor.failure() => Err(error),
        }
    }

    /// The relays' address cards.
    pub(super) fn targets(&self) -> Vec<Target> {
        self.relays.iter().map(Relay::target).collect()
    }
}
