//! Who signs the certificates of a testbed's relays, as a public authority would for relays with a
//! public name.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// What a relay shows to its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// What its kind of domain needs: signed by the authority for a name, by itself for others.
    #[default]
    Right,
    /// Signed by itself.
    SelfSigned,
    /// Signed by the authority, for another name.
    WrongName,
    /// Signed by the authority, a long time ago.
    Expired,
}

/// An authority that the relays of one testbed trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    /// Makes an authority and writes its certificate into `folder`, and its key for peers that join later.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let file = folder.join("authority.pem");
        write_key(&key_file(&file), &key)?;
        let issuer =
            CertifiedIssuer::self_signed(Self::params(), key).context("making an authority")?;
        fs::write(&file, issuer.pem()).with_context(|| format!("writing {}", file.display()))?;
        Self::open(&file)
    }

    /// The authority of a running testbed, by the file that its relays trust.
    ///
    /// # Errors
    /// Its key is not there.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let key = key_file(file);
        let key = fs::read_to_string(&key).with_context(|| format!("reading {}", key.display()))?;
        Ok(Self {
            issuer: Issuer::new(Self::params(), KeyPair::from_pem(&key)?),
            file: file.to_owned(),
        })
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of a chatmail testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }

    /// The PEM file that a relay takes for its list of authorities.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Writes a new key and a certificate for these names (domains or IP addresses) to two PEM files.
    ///
    /// # Errors
    /// A name is neither, or the files cannot be written.
    pub fn write(
        &self,
        certificate: Certificate,
        mut names: Vec<String>,
        certificate_file: &Path,
        key_file: &Path,
    ) -> anyhow::Result<()> {
        if certificate == Certificate::WrongName {
            names = vec!["somebody-else.test".into()];
        }
        let mut params = CertificateParams::new(names).context("making a certificate")?;
        if certificate == Certificate::Expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate()?;
        let signed = match certificate {
            Certificate::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.issuer),
        }
        .context("signing a certificate")?;
        fs::write(certificate_file, signed.pem())?;
        write_key(key_file, &key)
    }
}

/// Where the key lies that belongs to an authority's certificate.
fn key_file(certificate: &Path) -> PathBuf {
    certificate.with_extension("key")
}

fn write_key(file: &Path, key: &KeyPair) -> anyhow::Result<()> {
    fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("writing {}", file.display()))?
        .write_all(key.serialize_pem().as_bytes())?;
    Ok(())
}
