//! A certificate that the relay signs itself.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;

use super::Layout;

/// Writes a new key and a certificate for these names (domains or IP addresses).
///
/// # Errors
/// A name is neither, or the files cannot be written.
pub(super) fn write(layout: &Layout, names: Vec<String>) -> anyhow::Result<()> {
    let pair = rcgen::generate_simple_self_signed(names).context("making a certificate")?;
    fs::write(layout.certificate(), pair.cert.pem())?;
    fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(layout.key())?
        .write_all(pair.signing_key.serialize_pem().as_bytes())?;
    Ok(())
}
