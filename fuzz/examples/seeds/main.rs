//! Writes the seeds: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.
//!
//! Everything is made here and is the same at each run, but for signatures, which are made only where
//! there are none: their keys are random. What a fuzzer found, and is worth keeping, is checked in
//! beside the seeds under another name; this program removes nothing.

use std::fs;
use std::io;
use std::path::Path;

mod dkim;
mod encrypted;
mod texts;

/// Target, file name, content.
type Seed = (&'static str, String, Vec<u8>);

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let seeds = encrypted::seeds().into_iter().chain(texts::seeds());
    for seed in seeds.chain(dkim::records()) {
        write(&folder, &seed)?;
    }
    let scratch = std::env::temp_dir().join(format!("seeds-{}", std::process::id()));
    fs::create_dir(&scratch)?;
    let signed = dkim::signed(&scratch);
    fs::remove_dir_all(&scratch)?;
    for seed in signed? {
        if !folder.join(seed.0).join(&seed.1).exists() {
            write(&folder, &seed)?;
        }
    }
    Ok(())
}

fn write(folder: &Path, (target, name, content): &Seed) -> io::Result<()> {
    let folder = folder.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), content)
}
