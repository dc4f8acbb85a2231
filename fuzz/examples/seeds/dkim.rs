//! Key records, and messages signed with them.

use std::fs;
use std::io;
use std::path::Path;

use chatmail::Config;
use filtermail::dkim::{PrivateKey, Signer};
use filtermail::session::Edit;

use crate::Seed;

const TARGET: &str = "dkim_key_record";

const BODY: &[u8] = b"One line,  and \tblanks \r\n\r\nand another.\r\n\r\n\r\n";

const RECORDS: &[(&str, &str)] = &[
    ("revoked", "v=DKIM1; k=rsa; p="),
    (
        "no-version",
        "k=ed25519; p=EaSgFxQAxo8gcnNTMZwhZTNYEUWaCCKhT0kaDvvQqrk=",
    ),
    (
        "all-tags",
        "v=DKIM1; h=sha256; k=ed25519; n=note=20; s=email:*; t=y:s; \
         p=EaSgFxQAxo8gcnNTMZwhZTNYEUWaCCKhT0kaDvvQqrk=;",
    ),
    ("unknown-kind", "v=DKIM1; k=dsa; p=YQ=="),
    ("not-a-record", "v=spf1 -all"),
];

/// The seeds that are the same at each run.
pub(crate) fn records() -> Vec<Seed> {
    let seed =
        |(name, record): &(&str, &str)| (TARGET, (*name).to_owned(), record.as_bytes().to_vec());
    RECORDS.iter().map(seed).collect()
}

/// Signed messages. Their keys are made here and forgotten.
pub(crate) fn signed(scratch: &Path) -> io::Result<Vec<Seed>> {
    let keys = [
        ("signed-ed25519", PrivateKey::generate_ed25519()),
        ("signed-rsa", PrivateKey::generate_rsa()),
    ];
    let mut seeds = Vec::new();
    for (name, key) in keys {
        let key = key.map_err(io::Error::other)?;
        fs::write(
            scratch.join("k.private"),
            key.to_pem().map_err(io::Error::other)?,
        )?;
        let record = key.record().map_err(io::Error::other)?;
        for edit in sign(scratch)? {
            let Edit::Insert { value, .. } = edit else {
                continue;
            };
            let head = format!("{record}\n {value}\n\n");
            seeds.push((TARGET, name.to_owned(), [head.as_bytes(), BODY].concat()));
        }
    }
    Ok(seeds)
}

fn sign(keys: &Path) -> io::Result<Vec<Edit>> {
    let keys = keys.display();
    let text = format!(
        "[params]\nmail_domain = example.org\ndkim_selectors = k\ndkim_keys_dir = {keys}\n"
    );
    let (config, _) = Config::parse(&text, Path::new("seeds")).map_err(io::Error::other)?;
    let signer = Signer::load(&config).map_err(io::Error::other)?;
    let mut signing = signer.ok_or_else(|| io::Error::other("no key"))?.begin();
    signing.header(b"From", b" <a@example.org>");
    signing.header(b"Subject", b" [...]");
    signing.body(BODY);
    signing.finish(&[]).map_err(io::Error::other)
}
