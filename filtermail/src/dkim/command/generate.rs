//! `filtermail dkim generate`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use chatmail::Config;

use super::record::zone_line;
use super::{CommandError, Status, key_path};
use crate::dkim::PrivateKey;

/// Permissions of a key file: whoever reads it signs in the relay's name.
const KEY_MODE: u32 = 0o600;

/// Which key to make.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArgs {
    /// The name of the key [default: the first of dkim_selectors without a key]
    #[arg(long, value_name = "NAME")]
    selector: Option<String>,
    /// Make an Ed25519 key, which signs beside the RSA key, instead of an RSA key
    #[arg(long)]
    ed25519: bool,
}

impl GenerateArgs {
    pub(super) fn run(
        &self,
        config: &Config,
        out: &mut impl Write,
    ) -> Result<Status, CommandError> {
        let (selector, path) = self.selector(config)?;
        // Before the key, whose making takes a moment.
        let mut file = create(&path)?;
        let made = self.make(&mut file, &path);
        let key = made.inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        eprintln!("Wrote {}. Publish this DNS record:", path.display());
        writeln!(out, "{}", zone_line(config, &selector, &key)?)?;
        let listed = config.dkim_selectors.0.contains(&selector);
        let then = if listed {
            "restart filtermail".to_owned()
        } else {
            format!("add {selector} to dkim_selectors and restart filtermail")
        };
        eprintln!("When `filtermail dkim check` finds it, {then}.");
        Ok(Status::Good)
    }

    /// The key's name and file.
    fn selector(&self, config: &Config) -> Result<(String, PathBuf), CommandError> {
        if let Some(selector) = &self.selector {
            return Ok((selector.clone(), key_path(config, selector)?));
        }
        for selector in &config.dkim_selectors.0 {
            let path = key_path(config, selector)?;
            if !path.exists() {
                return Ok((selector.clone(), path));
            }
        }
        Err(CommandError::AllKeysExist)
    }

    fn make(&self, file: &mut File, path: &Path) -> Result<PrivateKey, CommandError> {
        let key = if self.ed25519 {
            PrivateKey::generate_ed25519()?
        } else {
            PrivateKey::generate_rsa()?
        };
        let text = key.to_pem()?;
        write(file, path, &text).map_err(|source| CommandError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(key)
    }
}

fn create(path: &Path) -> Result<File, CommandError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(KEY_MODE);
    file.open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CommandError::KeyExists(path.to_owned()),
        _ => CommandError::Write {
            path: path.to_owned(),
            source,
        },
    })
}

fn write(file: &mut File, path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        // Root makes the key, the folder's owner reads it.
        let (folder, own) = (std::fs::metadata(folder)?, file.metadata()?);
        if (folder.uid(), folder.gid()) != (own.uid(), own.gid()) && own.uid() == 0 {
            fchown(&*file, Some(folder.uid()), Some(folder.gid()))?;
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
