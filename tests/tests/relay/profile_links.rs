//! Delta Chat makes a profile from nothing but the link that the relay gives out: it asks DNS for the relay and
//! looks for it at the usual ports, as anywhere.
//!
//! The relays have names that begin with `_`. Delta Chat knows by the name that no authority vouches for them;
//! of all others it wants a certificate of one of the authorities on the list it was built with, which
//! no setting extends. So the `dcaccount:` link of a relay like `chat.test` cannot be followed here, and the same
//! link of `_chat.test` stands in: what the client and the relay do is the same, up to the certificate.

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use testbed::deltachat::{Account, DeltaChat, PATIENCE, make_contact};
use testbed::usual_ports::UsualPorts;
use testbed::{DomainKind, RelayOptions, TestRelay};

use crate::new_account::post;

/// A relay at the usual ports, and clients that find it there.
struct Somewhere {
    relay: TestRelay,
    clients: DeltaChat,
    _ports: UsualPorts,
    _folder: TempDir,
}

impl Somewhere {
    async fn new(kind: DomainKind) -> anyhow::Result<Self> {
        let relay = TestRelay::start(RelayOptions {
            kind: kind.into(),
            ..RelayOptions::default()
        })?;
        let folder = tempfile::tempdir()?;
        Ok(Self {
            clients: DeltaChat::start_with_names(folder.path(), relay.dns()?).await?,
            _ports: UsualPorts::open(&relay.target).await?,
            _folder: folder,
            relay,
        })
    }

    async fn by_link(&self, link: &str) -> anyhow::Result<Account> {
        let mut account = self.clients.add_account().await?;
        account.login_by_link(link).await?;
        Ok(account)
    }

    /// Makes a profile by the `dclogin:` link in the relay's answer, as a page or a QR code hands it over.
    async fn by_answer(&self) -> anyhow::Result<Account> {
        let answer = post(&self.relay.target, "/new").await?;
        let address = answer.person()?.address.to_string();
        let link = answer.body["dclogin_url"].as_str();
        let account = self.by_link(link.context("no link")?).await?;
        ensure!(account.address().await? == address, "not {address}");
        Ok(account)
    }
}

/// The two of them make contact and exchange a text each.
async fn talk(alice: &mut Account, bob: &mut Account) -> anyhow::Result<()> {
    let (alices_chat, bobs_chat) = make_contact(alice, bob, PATIENCE).await?;
    alice.send_text(alices_chat, "Hello").await?;
    ensure!(bob.receive(PATIENCE).await?.text == "Hello");
    bob.send_text(bobs_chat, "Hello back").await?;
    ensure!(alice.receive(PATIENCE).await?.text == "Hello back");
    Ok(())
}

#[tokio::test]
async fn links_of_a_name_that_begins_with_an_underscore() -> anyhow::Result<()> {
    let here = Somewhere::new(DomainKind::Underscore).await?;
    let target = &here.relay.target;
    let mut alice = here.by_answer().await?;

    // This client asks `/new` itself.
    let link = format!("dcaccount:https://{}/new", target.domain);
    let mut bob = here.by_link(&link).await?;
    let home = target.mailboxes_dir.join(bob.address().await?);
    ensure!(home.join("password").exists());
    talk(&mut alice, &mut bob).await?;

    // And this one does not even do that: it makes up an address and a password.
    let link = format!("dcaccount:{}", target.domain);
    let mut carol = here.by_link(&link).await?;
    talk(&mut alice, &mut carol).await?;
    here.relay.stop()
}

/// The link once named no hosts, and Delta Chat asked DNS for `[127.0.0.1]`.
#[tokio::test]
async fn the_link_of_a_relay_that_is_known_by_its_address() -> anyhow::Result<()> {
    let here = Somewhere::new(DomainKind::IpLiteral).await?;
    let mut alice = here.by_answer().await?;
    let mut bob = here.by_answer().await?;
    talk(&mut alice, &mut bob).await?;
    here.relay.stop()
}
