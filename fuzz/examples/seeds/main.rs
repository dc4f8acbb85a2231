//! Writes the seeds: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.
//!
//! Everything is made here and is the same at each run. What a fuzzer found, and is worth keeping,
//! is checked in beside it under another name; this program removes nothing.

use std::fs;
use std::io;
use std::path::Path;

mod encrypted;
mod texts;

fn main() -> io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (target, name, content) in encrypted::seeds().into_iter().chain(texts::seeds()) {
        let folder = seeds.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}

/// Target, file name, content.
type Seed = (&'static str, String, Vec<u8>);
