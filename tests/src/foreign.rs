//! Domains on the other side: with a DKIM key in the testbed's DNS, and no relay. Who sends in their
//! name is a plain SMTP client at port 25 ([`connect`]).

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use chatmail::Config;
use filtermail::dkim::{PrivateKey, Signer};
use filtermail::session::Edit;
use tempfile::TempDir;

use crate::client::{ClientError, Security, SmtpClient, TlsVersion};
use crate::dns::{Data, Dns};
use crate::mail::Message;
use crate::target::Target;

/// The selector of every foreign key.
pub const SELECTOR: &str = "key";

/// A key that is not about to change is good for an hour.
const TTL: u32 = 3600;

/// A domain with an RSA key of 2048 bits, whose mail we can sign.
pub struct ForeignDomain {
    name: String,
    dns: Dns,
    record: String,
    signer: Signer,
    // Holds the private key.
    folder: TempDir,
}

impl ForeignDomain {
    /// Makes a key for a domain and publishes it in this DNS.
    ///
    /// # Errors
    /// The name is none, or the DNS does not take it.
    pub fn new(dns: &Dns, name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let key = PrivateKey::generate_rsa()?;
        let file = key_file(&folder);
        fs::write(&file, key.to_pem()?).with_context(|| format!("writing {}", file.display()))?;
        let foreign = Self {
            name: name.to_owned(),
            dns: dns.clone(),
            record: key.record()?,
            signer: signer(name, &folder)?,
            folder,
        };
        foreign.publish(TTL)?;
        Ok(foreign)
    }

    /// The domain.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its key stands in the DNS.
    pub fn key_name(&self) -> String {
        format!("{SELECTOR}._domainkey.{}", self.name)
    }

    /// What stands there.
    pub fn record(&self) -> &str {
        &self.record
    }

    /// The file of the private key: PEM with PKCS#8.
    pub fn key_file(&self) -> PathBuf {
        key_file(&self.folder)
    }

    /// Publishes the key, good for so many seconds.
    ///
    /// # Errors
    /// The DNS does not take it.
    pub fn publish(&self, ttl: u32) -> anyhow::Result<()> {
        let record = Data::txt(&self.record);
        self.dns.set(&self.key_name(), ttl, &[record])
    }

    /// Revokes the key (RFC 6376 section 3.6.1: an empty `p=`).
    ///
    /// # Errors
    /// The DNS does not take it.
    pub fn revoke(&self) -> anyhow::Result<()> {
        let record = Data::txt("v=DKIM1; k=rsa; p=");
        self.dns.set(&self.key_name(), TTL, &[record])
    }

    /// The message with this domain's signature in front.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn sign(&self, message: &Message) -> anyhow::Result<Message> {
        let mut signing = self.signer.begin();
        for (name, value) in &message.headers {
            // As a milter hands it on.
            let value = format!(" {}", value.replace("\r\n", "\n"));
            signing.header(name.as_bytes(), value.as_bytes());
        }
        signing.body(&message.body);
        let edits = signing.finish(&[])?;
        ensure!(!edits.is_empty(), "the message was not signed");
        edits
            .into_iter()
            .try_fold(message.clone(), |message, edit| match edit {
                Edit::Insert { name, value } => {
                    let value = value.replace("\r\n", "\n").replace('\n', "\r\n");
                    Ok(message.with_first(&name, value.trim_start()))
                }
                other => anyhow::bail!("a signature is inserted, not {other:?}"),
            })
    }
}

/// Connects to a relay as another relay would: to port 25, with TLS.
///
/// # Errors
/// The relay is not there, or does not speak TLS.
pub async fn connect(target: &Target) -> Result<SmtpClient, ClientError> {
    let security = Security::StartTls(TlsVersion::Any);
    let mut client = SmtpClient::connect(&target.mx, security).await?;
    client.hello().await?;
    Ok(client)
}

fn key_file(folder: &TempDir) -> PathBuf {
    folder.path().join(format!("{SELECTOR}.private"))
}

fn signer(name: &str, folder: &TempDir) -> anyhow::Result<Signer> {
    let keys = folder.path().display();
    let text = format!(
        "[params]\nmail_domain = {name}\ndkim_selectors = {SELECTOR}\ndkim_keys_dir = {keys}\n"
    );
    let (config, _) = Config::parse(&text, &folder.path().join("chatmail.ini"))?;
    Signer::load(&config)?.context("the key that was just written is not there")
}
